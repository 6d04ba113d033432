# SPDX-License-Identifier: Apache-2.0
"""The simulator as the learner meets it: a stream of time steps, masked as the spec says.

A run that was interrupted goes on in the episode in which its checkpoint was written: the
simulator takes that episode's commands once more and is then where it was. The run ends with the
weights that it would have had without the interruption.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from samg_ros.observation import Observation, ObservationSpec, Observer
from samg_ros.rl.data.frame_masker import FrameMasker
from samg_ros.rl.data.time_step import TimeStep
from samg_ros.rl.training.learner import Learner
from samg_ros.step_types import FIRST, LAST

if TYPE_CHECKING:
    from samg_ros.masking import Masker
    from samg_ros.sim.env import SimEnv
    from samg_ros.sim.sim_step import SimStep


class Rollout:
    """One simulator, and the observations of its episodes."""

    def __init__(self, env: 'SimEnv', spec: ObservationSpec, masker: 'Masker | None') -> None:
        """Begin with nothing shown.

        Args:
            env: the simulator, fresh from its seed.
            spec: what the policy sees.
            masker: fitted to the run's reference; needed if the policy sees masked frames.

        Raises:
            ConfigError: as of `FrameMasker`.
        """
        self._env = env
        self._mask = FrameMasker(spec, masker)
        self._observer = Observer(spec)
        self._over = True

    def begin(self, learner: Learner) -> TimeStep:
        """Return the time step that a learner, new or resumed, waits for."""
        commands = learner.continue_episode()
        self._env.skip_episodes(learner.episodes_begun - bool(len(commands)))
        step = before = self._show(self._env.reset())
        for command in commands:
            before, step = step, self.answer(command)
        if len(commands) and not learner.remembers(before.observation):
            # Other frames than those of the checkpoint, as after training over ROS or on another
            # machine: that episode cannot go on, so the next one begins.
            step = self._show(self._env.reset())
        return step

    def answer(self, action: NDArray[np.float64]) -> TimeStep:
        """Give an action to the simulator, or begin the next episode after a last step."""
        return self._show(self._env.reset() if self._over else self._env.step(action))

    def _show(self, step: 'SimStep') -> TimeStep:
        self._over = step.step_type == LAST
        frame, iou = self._mask(step.frame, step.mask)
        see = self._observer.reset if step.step_type == FIRST else self._observer.push
        observation: Observation = see(
            frame, self._observer.spec.select_joints(step.joint_names, step.joint_positions)
        )
        return TimeStep(observation, step.reward, step.discount, step.step_type, iou)
