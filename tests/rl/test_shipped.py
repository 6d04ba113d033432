# SPDX-License-Identifier: Apache-2.0
"""Policies that come with the package: found by name, small, and acting as the run they are of."""

import numpy as np
import pytest

from samg_ros.errors import CheckpointError
from samg_ros.rl.evaluation import shipped
from samg_ros.rl.evaluation.episodes import evaluate_policy
from samg_ros.rl.evaluation.policy import load_policy
from samg_ros.rl.training.checkpoint import CHECKPOINT_NAME, load_checkpoint, save_checkpoint
from samg_ros.rl.training.learner import Learner


@pytest.fixture
def run(tmp_path, small, world, train):
    """The folder of a run of some updates."""
    config = small(steps=20)
    learner = Learner(config, [-1.0], [1.0], tmp_path / 'run')
    train(learner, world(config))
    learner.close()
    return tmp_path / 'run'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder in place of the package's."""
    monkeypatch.setattr(shipped, 'FOLDER', tmp_path / 'policies')
    return tmp_path / 'policies'


def test_a_shipped_policy_acts_as_its_run_and_is_smaller(run, folder):
    path = shipped.write_acting_policy(run, folder / 'cartpole_swingup.pt')
    assert shipped.shipped_policies() == ('cartpole_swingup',)
    ours, theirs = load_policy('cartpole_swingup'), load_policy(run)
    pixels = np.random.default_rng(0).integers(0, 256, ours.spec.pixels_shape, dtype=np.uint8)
    np.testing.assert_allclose(ours.act({'pixels': pixels}), theirs.act({'pixels': pixels}),
                               atol=0.004)  # of a range of 2: stored in float16
    assert ours.config == theirs.config and ours.counters == theirs.counters
    assert path.stat().st_size < 0.3 * (run / CHECKPOINT_NAME).stat().st_size


def test_only_a_policy_of_true_masks_can_be_given_a_masker(run, folder):
    with pytest.raises(CheckpointError, match='was trained behind a masker'):
        shipped.write_acting_policy(run, folder / 'cartpole_swingup.pt', {'model': 'mini'})
    learned = load_checkpoint(run)
    learned.counters['masks'] = 'truth'
    save_checkpoint(run / CHECKPOINT_NAME, learned)
    shipped.write_acting_policy(run, folder / 'cartpole_swingup.pt', {'model': 'mini'})
    assert load_policy('cartpole_swingup').masker_description == {'model': 'mini'}


def test_a_file_or_folder_comes_before_a_shipped_policy_of_its_name(run, folder, monkeypatch):
    shipped.write_acting_policy(run, folder / 'run.pt')
    monkeypatch.chdir(run.parent)
    assert shipped.find_checkpoint('run').is_dir()
    monkeypatch.chdir(run)
    assert shipped.find_checkpoint('run') == folder / 'run.pt'


def test_an_unknown_name_is_told_what_there_is(run, folder):
    with pytest.raises(CheckpointError, match='give a checkpoint file or a run folder'):
        load_policy('finger_spin')
    shipped.write_acting_policy(run, folder / 'finger_spin.pt')
    with pytest.raises(CheckpointError, match='did you mean finger_spin'):
        load_policy('finger_spinn')
    with pytest.raises(CheckpointError, match='has policies for finger_spin'):
        load_policy('walker_walk')


@pytest.mark.parametrize('name', shipped.shipped_policies())
def test_what_the_package_ships_is_small_and_loads(name):
    path = shipped.find_checkpoint(name)
    assert path.stat().st_size <= 500_000
    policy = load_policy(path)
    assert policy.task == name and policy.spec.source == 'masked'
    assert policy.reference is not None and policy.masker_description is not None


def test_two_tasks_have_a_policy_and_it_does_them():
    assert {'ball_in_cup_catch', 'cartpole_swingup'} <= set(shipped.shipped_policies())
    policy = load_policy('cartpole_swingup')
    result = evaluate_policy(policy, policy.task, 'train', episodes=1)
    assert result.mean_return > 400  # 121 by random actions, 601 at least in ten episodes
