# SPDX-License-Identifier: Apache-2.0
"""What whole graphs need: a plan, a reference, and a masker that is quick to make."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from samg_ros.graphs.sim_train import TrainPlan, make_plan, prepare_reference
from samg_ros.masking import Masker, MaskerSettings, Reference
from samg_ros.masking.models.mini.network import Mini
from samg_ros.observation import ObservationSpec
from samg_ros.rl.agents.drqv2 import DrQv2Agent
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.training.checkpoint import Checkpoint, save_checkpoint
from samg_ros.sim.env import SimEnv

# pytest shares fixtures downwards only, and the graph is that of the node tests.
_spec = importlib.util.spec_from_file_location(
    'samg_ros_graph_fixture', Path(__file__).parents[1] / 'nodes' / 'conftest.py')
assert _spec is not None and _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
graph = _module.graph

TASK = 'cartpole_swingup'

@pytest.fixture(scope='session')
def open_graph() -> Any:
    """What opens a graph for longer than one test."""
    return _module.open_graph


OVERRIDES = ('{"batch_size": 8, "hidden_dim": 16, "random_steps": 20, "update_after": 20, '
             '"update_every": 50, "action_repeat": 20, "checkpoint_every": 100000}')
"""A training that spends its time in the graph, not in the updates."""


@pytest.fixture(scope='session')
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of an untrained mini: masks mean nothing, but everything runs as it does later."""
    path = tmp_path_factory.mktemp('weights') / 'untrained.safetensors'
    torch.manual_seed(0)
    untrained = Mini()
    untrained.presence_threshold.fill_(-100)  # whatever is in the picture, there is a mask
    save_file(untrained.state_dict(), path)
    return path


@pytest.fixture(scope='session')
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reference folder of the task, from the simulator's truth."""
    folder = tmp_path_factory.mktemp('reference')
    env = SimEnv(TASK, seed=1)
    step = env.reset()
    assert step.mask is not None
    Reference(step.frame, np.array(step.mask)).save(folder)
    env.close()
    return folder


@pytest.fixture(scope='session')
def arm_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with an untrained policy that moves the simulated arm: its actions are large.

    An episode is 50 of its steps.
    """
    folder = tmp_path_factory.mktemp('arm')
    env = SimEnv('arm_reach')
    step = env.reset()
    assert step.mask is not None
    reference = Reference(step.frame, np.array(step.mask))
    low, high = env.action_spec
    config = TrainConfig(task='arm_reach', hidden_dim=16, action_repeat=5,
                         observation=ObservationSpec(proprioception=step.joint_names))
    env.close()
    masker = Masker.load('mini', MaskerSettings(fit_weights=False, passes=1))
    save_checkpoint(folder / 'checkpoint.pt', Checkpoint(
        config, 20 * low, 20 * high, DrQv2Agent(config, len(low)).state_dict(),
        reference=reference, masker=masker.describe()))
    return folder


@pytest.fixture
def plan(tmp_path: Path, reference: Path) -> TrainPlan:
    made = make_plan(TASK, method='rl', seed=2, steps=200, overrides=OVERRIDES,
                     run_dir=tmp_path / 'run', reference=reference)
    prepare_reference(made)
    return made
