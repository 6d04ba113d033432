# SPDX-License-Identifier: Apache-2.0
"""The simulator as the learner meets it: a stream of time steps, masked as the spec says.

A run that was interrupted goes on in the episode in which its checkpoint was written: the
simulator takes that episode's commands once more and is then where it was. The run ends with the
weights that it would have had without the interruption.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from samg_ros.observation import Observation, Observer
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.data.frame_masker import FrameMasker
from samg_ros.rl.data.time_step import TimeStep
from samg_ros.rl.training.imperfect_masks import show_imperfectly
from samg_ros.rl.training.learner import Learner
from samg_ros.step_types import FIRST, LAST

if TYPE_CHECKING:
    from samg_ros.masking import Masker
    from samg_ros.rl.experts.advice import Advice
    from samg_ros.sim.env import SimEnv
    from samg_ros.sim.sim_step import SimStep


IOU_EVERY = 10
"""Agent steps between two frames whose masks are compared with the truth, which takes the simulator
a third rendering."""

MASKS = ('truth', 'masker', 'both')
"""What masks the frames that are learned from: the truth with errors, the masker itself, or the
truth for two thirds of the steps and then the masker."""

_TRUTH_SHARE = 2 / 3
"""Of the agent steps, with 'both'."""


class Rollout:
    """One simulator, and the observations of its episodes."""

    def __init__(self, env: 'SimEnv', config: TrainConfig, masker: 'Masker | None',
                 masks: str = 'masker', advice: 'Advice | None' = None) -> None:
        """Begin with nothing shown.

        Args:
            env: the simulator, fresh from its seed.
            config: of the run: what the policy sees, seed and steps.
            masker: fitted to the run's reference; needed if the policy sees masked frames.
            masks: one of MASKS, if it does.
            advice: of an expert, which then comes with every time step.

        Raises:
            ConfigError: as of `FrameMasker`.
        """
        self._env, self._config, self._masks, self._advice = env, config, masks, advice
        self._mask = FrameMasker(config.observation, masker)
        self._observer = Observer(config.observation)
        self._over = True
        self._steps = self._episodes = self._index = 0
        self._by_truth = False
        self._rng = np.random.default_rng()

    def begin(self, learner: Learner) -> TimeStep:
        """Return the time step that a learner, new or resumed, waits for."""
        commands = learner.continue_episode()
        self._episodes = learner.episodes_begun - bool(len(commands))
        self._steps = learner.steps - len(commands)
        self._env.skip_episodes(self._episodes)
        if self._advice is not None:
            self._advice.episodes = self._episodes
        step = before = self._reset()
        for command in commands:
            if self._over:  # it ends earlier than when the checkpoint was written
                break
            before, step = step, self.answer(command)
        if len(commands) and not learner.remembers(before.observation):
            # Other frames than those of the checkpoint, as after training over ROS or on another
            # machine: that episode cannot go on, so the next one begins.
            step = self._reset()
        return step

    def answer(self, action: NDArray[np.float64]) -> TimeStep:
        """Give an action to the simulator, or begin the next episode after a last step."""
        if self._over:
            return self._reset()
        self._steps += 1
        self._index += 1
        self._env.truth = self._needs_truth()
        return self._show(self._env.step(action))

    def _reset(self) -> TimeStep:
        config = self._config
        self._index = 0
        self._by_truth = config.observation.source == 'masked' and (
            self._masks == 'truth'
            or self._masks == 'both' and self._steps < _TRUTH_SHARE * config.steps)
        self._rng = np.random.default_rng((config.seed, self._episodes))
        self._episodes += 1
        self._env.truth = self._needs_truth()
        return self._show(self._env.reset())

    def _needs_truth(self) -> bool:
        source = self._config.observation.source
        return self._by_truth or source == 'truth' or (
            source == 'masked' and self._index % IOU_EVERY == 0)

    def _show(self, step: 'SimStep') -> TimeStep:
        expert = None
        if self._advice is not None:
            step, expert = self._advice.on(step)
        self._over = step.step_type == LAST
        if self._by_truth:
            assert step.mask is not None
            fill = self._config.observation.fill
            frame, iou = show_imperfectly(step.frame, step.mask, fill, self._rng), None
        else:
            frame, iou = self._mask(step.frame, step.mask, step.time_ns)
        see = self._observer.reset if step.step_type == FIRST else self._observer.push
        observation: Observation = see(
            frame, self._observer.spec.select_joints(step.joint_names, step.joint_positions)
        )
        return TimeStep(observation, step.reward, step.discount, step.step_type, iou, expert)
