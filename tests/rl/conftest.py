# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from samg_ros.observation import Observer
from samg_ros.rl.data.time_step import TimeStep
from samg_ros.rl.presets import preset
from samg_ros.rl.training.learner import Learner
from samg_ros.step_types import FIRST, LAST, MID


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def small():
    """A configuration whose updates take a few milliseconds."""

    def make(**changes):
        values = {
            'steps': 60,
            'random_steps': 10,
            'update_after': 10,
            'batch_size': 8,
            'hidden_dim': 16,
            'feature_dim': 8,
            'convolutions': [[4, 3, 2], [4, 3, 2]],
            'checkpoint_every': 20,
            'observation': {'size': 16, 'source': 'truth'},
        }
        task = changes.pop('task', 'cartpole_swingup')
        return preset('quick', task, **{**values, **changes})

    return make


class World:
    """A stream of time steps that depends on the actions: episodes of a fixed length."""

    def __init__(self, config, length=12, seed=0):
        self.observer = Observer(config.observation)
        self.length = length
        self.rng = np.random.default_rng(seed)
        self.start()

    def start(self):
        """Begin an episode."""
        self.index = 0
        self.now = TimeStep(self.observer.reset(self._frame(0.0)), 0.0, 1.0, FIRST)

    def step(self, action):
        """Advance, or begin the next episode after a last step."""
        if self.now.step_type == LAST:
            self.start()
            return
        self.index += 1
        kind = LAST if self.index == self.length else MID
        reward = float(-np.sum(np.square(action - 0.3)))
        observation = self.observer.push(self._frame(float(action[0])))
        self.now = TimeStep(observation, reward, 1.0, kind, mask_iou=0.5)

    def _frame(self, action):
        frame = self.rng.integers(0, 200, (16, 16, 3), dtype=np.uint8)
        frame[:8] += np.uint8((action + 1) * 25)
        return frame


@pytest.fixture
def world():
    return World


@pytest.fixture
def train():
    """Run a learner in a world until it is done, or for some calls."""

    def run(learner: Learner, world: World, calls=10**6):
        for _ in range(calls):
            if learner.done:
                break
            world.step(learner.step(world.now))

    return run
