# SPDX-License-Identifier: Apache-2.0
import math
import os
import resource

import numpy as np
import pytest
import torch

from samg_ros.errors import CheckpointError, InvalidInputError
from samg_ros.rl.data.time_step import TimeStep
from samg_ros.rl.training.checkpoint import load_checkpoint
from samg_ros.rl.training.learner import Learner
from samg_ros.rl.training.metrics import read_metrics
from samg_ros.step_types import FIRST

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
        ({'checkpoint_every': 40}, 'checkpoint_every 20, not 40'),
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


def contents(folder):
    """Every file of a folder, byte for byte."""
    return {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def test_joints_that_are_not_finite_are_refused_and_nothing_is_stored(tmp_path, small, world):
    config = small(observation={'size': 16, 'source': 'truth', 'proprioception': ['slider']})
    learner = Learner(config, LOW, HIGH, tmp_path)
    pixels = np.zeros(config.observation.pixels_shape, np.uint8)
    for value in (math.nan, math.inf):
        joints = np.array([value], np.float32)
        with pytest.raises(InvalidInputError, match='joint positions must be finite'):
            learner.step(TimeStep({'pixels': pixels, 'proprioception': joints}, 0.0, 1.0, FIRST))
    assert learner.replay.count == 0
    learner.close()


def test_a_disk_that_fills_up_ends_the_run_and_leaves_what_was_saved(
    tmp_path, small, world, train
):
    config = small()
    learner = Learner(config, LOW, HIGH, tmp_path)
    stream = world(config)
    train(learner, stream, calls=30)
    before = (tmp_path / 'checkpoint.pt').read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(CheckpointError, match='previous one'):
            train(learner, stream)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    learner.close()
    assert (tmp_path / 'checkpoint.pt').read_bytes() == before
    again = Learner(config, LOW, HIGH, tmp_path)  # with room again, it goes on from there
    assert again.progress['step'] == 20
    train(again, world(config, seed=1))
    again.close()
    assert again.progress['done']


def test_metrics_that_cannot_be_written_are_named(tmp_path, small, world, train):
    config = small()
    learner = Learner(config, LOW, HIGH, tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(CheckpointError, match='cannot write the metrics'):
            train(learner, world(config), calls=15)  # an episode has ended by then
        with pytest.raises(CheckpointError, match='cannot write the metrics'):
            learner.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize('name', ['frames.npy', 'steps.npy'])
@pytest.mark.parametrize('damage', ['cut', 'header', 'locked', 'gone'])
def test_a_replay_that_cannot_be_read_is_named_and_left_alone(
    tmp_path, small, world, train, name, damage
):
    config = small(steps=20)
    learner = Learner(config, LOW, HIGH, tmp_path)
    train(learner, world(config))
    learner.close()
    path = tmp_path / 'replay' / name
    if damage == 'locked':
        if os.geteuid() == 0:
            path.unlink()  # root may read everything but a folder
            path.mkdir()
        else:
            path.chmod(0)
    elif damage == 'gone':
        path.unlink()
    else:
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] if damage == 'cut' else b'\0' * 64 + whole[64:])
    readable = damage != 'locked' or path.is_dir()
    before = contents(tmp_path) if readable else None
    with pytest.raises(CheckpointError, match=name.replace('.', r'\.')) as caught:
        Learner(config, LOW, HIGH, tmp_path)
    assert '\n' not in str(caught.value)
    if before is not None:
        assert contents(tmp_path) == before


def test_networks_that_are_no_longer_finite_are_not_saved(tmp_path, small, world, train):
    config = small()
    learner = Learner(config, LOW, HIGH, tmp_path)
    stream = world(config)
    train(learner, stream, calls=30)
    before = (tmp_path / 'checkpoint.pt').read_bytes()
    learner._wait()
    with torch.no_grad():
        next(learner.agent.critic.parameters())[0] = math.nan
    with pytest.raises(CheckpointError, match='diverged'):
        train(learner, stream)
    learner.close()
    assert (tmp_path / 'checkpoint.pt').read_bytes() == before


def test_in_the_same_world_an_interrupted_episode_goes_on_bit_for_bit(
    tmp_path, small, world, train
):
    config = small()
    whole = Learner(config, LOW, HIGH, tmp_path / 'whole')
    train(whole, world(config))
    whole.close()
    first, stream = Learner(config, LOW, HIGH, tmp_path / 'cut'), world(config)
    train(first, stream, calls=27)
    first.save()
    first.close()
    again = Learner(config, LOW, HIGH, tmp_path / 'cut')
    commands = again.continue_episode()
    assert commands.shape == (1, 1)  # the third episode's first
    train(again, stream)
    again.close()
    ours, theirs = networks(tmp_path / 'cut'), networks(tmp_path / 'whole')
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert again.progress['return'] == whole.progress['return']
