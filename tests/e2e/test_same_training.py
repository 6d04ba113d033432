# SPDX-License-Identifier: Apache-2.0
"""Training over ROS in lockstep and training without ROS are one computation."""

import numpy as np
import pytest
import torch

from samg_ros.graphs.sim_train import make_plan, prepare_reference
from samg_ros.graphs.spec import CAMERA_REMAPPINGS
from samg_ros.masking import Masker, MaskerSettings, Reference
from samg_ros.nodes.mujoco_bridge_node import MujocoBridge
from samg_ros.nodes.perception_node import Perception
from samg_ros.nodes.trainer_node import Trainer
from samg_ros.rl.agents.drqv2 import DrQv2Agent
from samg_ros.rl.agents.imitation import Imitator
from samg_ros.rl.data.demonstrations import DemonstrationWriter, Episode, Info
from samg_ros.rl.experts import early_end
from samg_ros.rl.experts.early_end import LOW_REWARD_STEPS
from samg_ros.rl.presets import TRAINING_MASKS
from samg_ros.rl.training.checkpoint import load_checkpoint
from samg_ros.rl.training.direct import train_direct

STEPS = 40
OVERRIDES = ('{"batch_size": 8, "hidden_dim": 16, "random_steps": 10, "update_after": 10, '
             '"action_repeat": 60, "checkpoint_every": 25}')
QUICK = {'fit_steps': 10, 'passes': 1}


@pytest.fixture
def train_both_ways(graph, tmp_path, reference, weights):
    """Train over ROS and without it; return progress, plan and both checkpoints.

    The replays are compared here: they must be equal to the byte.
    """
    def train(method, demonstrations=''):
        plan = make_plan('cartpole_swingup', method=method, seed=3, steps=STEPS,
                         reference=reference, overrides=OVERRIDES, run_dir=tmp_path / 'ros',
                         demonstrations=demonstrations)
        prepare_reference(plan)
        graph.add(MujocoBridge, plan.parameters('mujoco_bridge'))
        graph.add(Perception, {**plan.parameters('perception'), 'weights': str(weights), **QUICK},
                  CAMERA_REMAPPINGS)
        trainer = graph.add(Trainer, plan.parameters('trainer'))
        graph.until(lambda: trainer.finished, 300)
        masker = Masker.load('mini', MaskerSettings(**QUICK, **TRAINING_MASKS), weights=weights)
        masker.fit(Reference.load(plan.reference))
        progress = train_direct(plan.config, tmp_path / 'direct', masker=masker,
                                demonstrations=demonstrations or None)
        ros, direct = (load_checkpoint(tmp_path / name) for name in ('ros', 'direct'))
        assert progress['updates'] == ros.counters['updates'] == 31
        assert parts_that_differ(ros.agent, direct.agent) == []
        assert (ros.replay, ros.masker) == (direct.replay, direct.masker)
        for name in ('frames.npy', 'steps.npy'):
            assert (tmp_path / 'ros' / 'replay' / name).read_bytes() == (
                tmp_path / 'direct' / 'replay' / name).read_bytes()
        return progress, plan, ros, direct

    return train


def test_the_trainer_node_learns_what_the_direct_trainer_learns_bit_for_bit(
        train_both_ways, tmp_path):
    progress, plan, ros, direct = train_both_ways('rl', demonstrate(tmp_path / 'demonstrations'))
    assert progress['episode'] == ros.counters['episodes'] == 2
    assert ros.counters['demonstrated'] == direct.counters['demonstrated'] == 5
    fresh = DrQv2Agent(plan.config, 1).state_dict()
    assert len(parts_that_differ(ros.agent, fresh)) > 20


def test_a_clone_over_ros_is_that_of_samg_train_clone_bit_for_bit(train_both_ways):
    _, plan, ros, direct = train_both_ways('clone')
    fresh = Imitator(plan.config, 1).state_dict()
    assert len(parts_that_differ(ros.agent, fresh)) > 10
    assert ros.counters['expert'] == direct.counters['expert'] != ''


def test_a_clone_whose_episodes_end_early_is_the_same_over_ros_and_without_it(
        train_both_ways, monkeypatch):
    monkeypatch.setitem(LOW_REWARD_STEPS, 'cartpole', 5)
    monkeypatch.setattr(early_end, '_LOW_REWARD', np.inf)
    _, _, ros, direct = train_both_ways('clone')
    assert ros.counters['episodes'] == direct.counters['episodes'] == STEPS // 5


def demonstrate(folder):
    """Write four actions with pictures of nothing in particular."""
    rng = np.random.default_rng(0)
    info = Info('cartpole_swingup', 60, (-1.0,), (1.0,), (84, 84), has_masks=False)
    with DemonstrationWriter(folder, info) as writer:
        writer.add(Episode(rng.integers(0, 256, (5, 84, 84, 3), dtype=np.uint8),
                           rng.uniform(-1, 1, (4, 1)), rng.uniform(0, 1, 4)))
    return folder


def parts_that_differ(ours, theirs, name=''):
    """Names of the tensors and values of two nested states that are not equal to the bit."""
    if isinstance(ours, dict) and isinstance(theirs, dict) and ours.keys() == theirs.keys():
        return [part for key in ours
                for part in parts_that_differ(ours[key], theirs[key], f'{name}.{key}')]
    same = torch.equal(ours, theirs) if isinstance(ours, torch.Tensor) else ours == theirs
    return [] if same else [name]
