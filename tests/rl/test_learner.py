# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
import torch

from samg_ros.errors import CheckpointError, InvalidInputError
from samg_ros.rl.checkpoint import load_checkpoint
from samg_ros.rl.learner import Learner
from samg_ros.rl.metrics import read_metrics

LOW, HIGH = [-1.0], [1.0]


def networks(folder):
    agent = load_checkpoint(folder).agent
    return {
        f'{part}.{name}': value
        for part in ('encoder', 'actor', 'critic', 'critic_target')
        for name, value in agent[part].items()
    }


def test_a_run_ends_after_its_steps_and_is_saved(tmp_path, small, world, train):
    config = small()
    learner = Learner(config, LOW, HIGH, tmp_path)
    train(learner, world(config))
    learner.close()
    progress = learner.progress
    assert (progress['step'], progress['done'], progress['episode']) == (60, True, 5)
    assert progress['updates'] == 51  # after steps 10 to 60
    assert progress['frames'] == 60 * config.action_repeat
    assert progress['mask_iou'] == 0.5
    counters = load_checkpoint(tmp_path).counters
    assert (counters['steps'], counters['updates'], counters['done']) == (60, 51, True)
    rows = read_metrics(tmp_path)
    assert [row['step'] for row in rows] == [12, 24, 36, 48, 60]
    assert all(math.isfinite(row['critic_loss']) for row in rows)
    assert list((tmp_path / 'tensorboard').glob('events.*'))


def test_same_seed_gives_the_same_bits_however_the_update_thread_runs(
    tmp_path, small, world, train
):
    config = small(steps=40)
    for name in ('a', 'b'):
        learner = Learner(config, LOW, HIGH, tmp_path / name)
        stream = world(config)
        for i in range(10**6):
            if learner.done:
                break
            if name == 'b' and i % 7 == 0:
                learner._wait()  # here the update has ended before the frame comes
            stream.step(learner.step(stream.now))
        learner.close()
    first, second = networks(tmp_path / 'a'), networks(tmp_path / 'b')
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_actions_are_within_the_limits(tmp_path, small, world):
    config = small(steps=30)
    learner = Learner(config, [2.0], [5.0], tmp_path)
    stream, seen = world(config), []
    while not learner.done:
        action = learner.step(stream.now)
        seen.append(action)
        stream.step(action - 3)
    learner.close()
    assert np.min(seen) >= 2.0
    assert np.max(seen) <= 5.0
    assert np.ptp(seen) > 1.0


def test_an_interrupted_run_goes_on(tmp_path, small, world, train):
    config = small()
    learner = Learner(config, LOW, HIGH, tmp_path)
    train(learner, world(config), calls=37)
    learner.save()
    before, count = learner.progress, learner.replay.count
    learner.close()

    again = Learner(config, LOW, HIGH, tmp_path)
    assert again.progress['step'] == before['step'] == 35  # two of the calls were last steps
    assert again.progress['updates'] == before['updates']
    assert again.progress['episode'] == before['episode']
    assert again.progress['seconds'] == pytest.approx(before['seconds'])
    assert again.replay.count == count
    saved, here = networks(tmp_path), again.agent.state_dict()
    assert all(
        torch.equal(value, here[name.split('.')[0]][name.split('.', 1)[1]])
        for name, value in saved.items()
    )
    saved = load_checkpoint(tmp_path).agent
    moments = [agent['value_optimiser']['state'][0]['exp_avg'] for agent in (saved, here)]
    assert moments[0].abs().sum() > 0
    assert torch.equal(*moments)
    train(again, world(config, seed=1))
    again.close()
    assert again.progress['step'] == 60
    assert again.progress['updates'] == 51


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path, small, world, train):
    config = small()
    learner = Learner(config, LOW, HIGH, tmp_path)
    train(learner, world(config), calls=57)
    learner.close()  # without saving: what a kill leaves behind
    assert learner.progress['step'] == 53
    again = Learner(config, LOW, HIGH, tmp_path)
    assert again.progress['step'] == 40
    assert [row['step'] for row in read_metrics(tmp_path)] == [12, 24, 36]
    train(again, world(config, seed=1))
    again.close()
    rows = [row['step'] for row in read_metrics(tmp_path)]
    assert again.progress['step'] == 60
    assert rows == sorted(rows)
    numbers = again.replay._steps['number'][: again.replay.count]
    np.testing.assert_array_equal(numbers, np.arange(again.replay.count))


def test_a_finished_run_stays_finished_unless_it_gets_more_steps(tmp_path, small, world, train):
    config = small(steps=30)
    learner = Learner(config, LOW, HIGH, tmp_path)
    train(learner, world(config))
    learner.close()
    again = Learner(config, LOW, HIGH, tmp_path)
    assert again.done
    np.testing.assert_array_equal(again.step(world(config).now), [0.0])
    again.close()
    longer = Learner(small(steps=45), LOW, HIGH, tmp_path)
    assert not longer.done
    train(longer, world(config))
    longer.close()
    assert longer.progress['step'] == 45


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'task': 'walker_walk'}, "task 'cartpole_swingup', not 'walker_walk'"),
        ({'batch_size': 9}, 'batch_size 8, not 9'),
        ({'observation': {'size': 20, 'source': 'truth'}}, 'observation'),
    ],
)
def test_a_folder_with_another_run_is_refused_and_left_alone(
    tmp_path, small, world, train, changes, message
):
    config = small(steps=20)
    learner = Learner(config, LOW, HIGH, tmp_path)
    train(learner, world(config))
    learner.close()
    before = {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()}
    with pytest.raises(CheckpointError, match=message):
        Learner(small(**{'steps': 20, **changes}), LOW, HIGH, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()} == before


def test_a_cut_checkpoint_is_refused_and_left_alone(tmp_path, small, world, train):
    config = small(steps=20)
    learner = Learner(config, LOW, HIGH, tmp_path)
    train(learner, world(config))
    learner.close()
    path = tmp_path / 'checkpoint.pt'
    path.write_bytes(path.read_bytes()[:-100])
    cut = path.read_bytes()
    with pytest.raises(CheckpointError, match='cut short'):
        Learner(config, LOW, HIGH, tmp_path)
    assert path.read_bytes() == cut


@pytest.mark.parametrize(
    'change', [{'reward': math.nan}, {'reward': math.inf}, {'discount': math.nan}, {'step_type': 3}]
)
def test_unusable_time_steps_are_refused_and_nothing_is_stored(tmp_path, small, world, change):
    config = small()
    learner = Learner(config, LOW, HIGH, tmp_path)
    stream = world(config)
    stream.step(learner.step(stream.now))
    count = learner.replay.count
    with pytest.raises(InvalidInputError, match=next(iter(change)).replace('_', ' ')):
        learner.step(stream.now._replace(**change))
    assert learner.replay.count == count
    learner.step(stream.now)
    assert learner.replay.count == count + 1
    learner.close()


def test_joining_in_the_middle_of_an_episode_begins_one(tmp_path, small, world):
    config = small()
    learner = Learner(config, LOW, HIGH, tmp_path)
    stream = world(config)
    stream.step(np.zeros(1))
    stream.step(learner.step(stream.now))
    stream.step(learner.step(stream.now))
    assert learner.replay.count == 2
    assert learner.replay._steps['start'][:2].tolist() == [0, 0]
    assert learner.replay._steps['action'][0] == 0
    learner.close()
