# SPDX-License-Identifier: Apache-2.0
"""What whole graphs need: the graph itself, a reference and a masker that is quick to make."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from samg_ros.masking import Reference
from samg_ros.masking.models.mini import Mini
from samg_ros.sim.env import SimEnv
from tests.nodes.conftest import graph  # noqa: F401  # a fixture

TASK = 'cartpole_swingup'

OVERRIDES = ('{"batch_size": 8, "hidden_dim": 16, "random_steps": 20, "update_after": 20, '
             '"update_every": 50, "action_repeat": 20, "checkpoint_every": 100000}')
"""A training that spends its time in the graph, not in the updates."""


@pytest.fixture(scope='session')
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of an untrained mini: masks mean nothing, but everything runs as it does later."""
    path = tmp_path_factory.mktemp('weights') / 'untrained.safetensors'
    torch.manual_seed(0)
    save_file(Mini().state_dict(), path)
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
