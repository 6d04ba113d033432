# SPDX-License-Identifier: Apache-2.0
"""What a run keeps when it goes on, also when somebody else, or another reference, comes along."""

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from samg_ros.errors import CheckpointError
from samg_ros.masking import Reference
from samg_ros.rl.agents.drqv2 import DrQv2Agent
from samg_ros.rl.training.checkpoint import Checkpoint, save_checkpoint
from samg_ros.rl.training.direct import run_reference
from samg_ros.rl.training.learner import Learner
from samg_ros.rl.training.metrics import read_metrics

LOW, HIGH = [-1.0], [1.0]


def contents(folder):
    """Every file of a folder, byte for byte."""
    return {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def noise(seed):
    """A reference of which there is no other."""
    image = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    mask = np.zeros((20, 24), bool)
    mask[4:9, 5 + seed:12] = True
    return Reference(image, mask, (mask,), np.array([[7.0, 6.5]]), f'noise {seed}')


@pytest.fixture
def masked_run(tmp_path, small):
    """A run folder with a checkpoint, its configuration, and another reference's folder."""
    config, run, other = small(observation={'source': 'masked'}), tmp_path / 'run', noise(1)
    given = noise(0).save(tmp_path / 'given')
    reference = run_reference(config, run, given)
    save_checkpoint(run / 'checkpoint.pt', Checkpoint(
        config, np.array(LOW), np.array(HIGH), DrQv2Agent(config, 1).state_dict(), reference))
    return config, run, given, other.save(tmp_path / 'other')


def test_another_reference_is_refused_and_the_runs_own_stays(masked_run):
    config, run, given, other = masked_run
    before = contents(run)
    with pytest.raises(CheckpointError, match='leave the reference out to take its own'):
        run_reference(config, run, other)
    assert contents(run) == before
    for reference in (given, None):
        np.testing.assert_array_equal(run_reference(config, run, reference).image, noise(0).image)
    assert contents(run) == before


def test_a_runs_own_reference_is_that_of_its_checkpoint(masked_run):
    config, run, _, other = masked_run
    Reference.load(other).save(run / 'reference', overwrite=True)
    np.testing.assert_array_equal(run_reference(config, run).image, noise(0).image)
    np.testing.assert_array_equal(Reference.load(run / 'reference').mask, noise(0).mask)


def test_with_more_steps_the_replay_remembers_as_many_as_a_new_one(tmp_path, small, world, train):
    def window(steps, name):
        config = small(steps=steps, update_after=190)
        learner = Learner(config, LOW, HIGH, tmp_path / name)
        train(learner, world(config))
        learner.close()
        return learner.replay.count - learner.replay.oldest

    window(20, 'run')
    assert window(200, 'run') == window(200, 'new') == 205


def test_a_run_is_trained_by_one_process_at_a_time(tmp_path, small, world, train):
    config = small()
    learner, stream = Learner(config, LOW, HIGH, tmp_path), world(config)
    train(learner, stream, calls=30)
    before = contents(tmp_path)
    with pytest.raises(CheckpointError, match='is being trained by another process'):
        Learner(config, LOW, HIGH, tmp_path)
    assert contents(tmp_path) == before
    train(learner, stream)
    learner.close()
    Learner(config, LOW, HIGH, tmp_path).close()


def test_a_run_that_could_not_be_opened_is_free(tmp_path, small):
    config = small()
    (tmp_path / 'metrics.csv').mkdir()
    with pytest.raises(CheckpointError, match='metrics') as caught:
        Learner(config, LOW, HIGH, tmp_path)
    (tmp_path / 'metrics.csv').rmdir()
    Learner(config, LOW, HIGH, tmp_path).close()
    assert caught  # until here, with the learner in its traceback


def test_an_episode_that_ended_at_the_checkpoints_step_has_one_line(tmp_path, small, world, train):
    config = small(checkpoint_every=12)
    learner = Learner(config, LOW, HIGH, tmp_path)
    stream = world(config, length=12)
    train(learner, stream, calls=13)  # the checkpoint was written one time step before the end
    assert [row['step'] for row in read_metrics(tmp_path)] == [12]
    learner.close()
    again = Learner(config, LOW, HIGH, tmp_path)
    assert read_metrics(tmp_path) == []
    train(again, world(config, length=12, seed=1))
    again.close()
    rows = read_metrics(tmp_path)
    assert [row['episode'] for row in rows] == [1, 2, 3, 4]
    events = EventAccumulator(str(tmp_path / 'tensorboard')).Reload()
    told = [event.step for event in events.Scalars('train/episode_return')]
    assert told == [row['step'] for row in rows]
