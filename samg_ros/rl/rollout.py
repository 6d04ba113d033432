# SPDX-License-Identifier: Apache-2.0
"""The simulator as the learner meets it: a stream of time steps, masked as the spec says.

A run that was interrupted goes on in the episode in which its checkpoint was written: the
simulator takes that episode's commands once more and is then where it was. The run ends with the
weights that it would have had without the interruption.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samg_ros.errors import ConfigError, InvalidInputError
from samg_ros.evaluation.metrics import mask_iou
from samg_ros.masking import apply_mask
from samg_ros.observation import Observation, ObservationSpec, Observer
from samg_ros.rl.learner import FIRST, LAST, Learner, TimeStep

if TYPE_CHECKING:
    from samg_ros.masking import Masker
    from samg_ros.sim.env import SimEnv, SimStep


class FrameMasker:
    """Cuts out what the policy is to see, by the masker, by the truth, or not at all."""

    def __init__(self, spec: ObservationSpec, masker: 'Masker | None') -> None:
        """Take a masker fitted to the run's reference; needed if the source is 'masked'.

        Raises:
            ConfigError: if it is missing, or fitted to more than a checkpoint carries.
        """
        if spec.source == 'masked':
            if masker is None or masker.reference is None:
                raise ConfigError('training on masked frames needs a masker fitted to a reference')
            references = sum(map(len, masker.objects.values()))
            if references > 1:
                raise ConfigError(
                    'a checkpoint carries one reference of one object, but the masker is fitted '
                    f'to {references}, of {", ".join(masker.objects)}; fit it to one'
                )
        self._spec = spec
        self._masker = masker

    def __call__(
        self, frame: NDArray[np.uint8], truth: NDArray[Any] | None
    ) -> tuple[NDArray[np.uint8], float | None]:
        """Mask a frame.

        Args:
            frame: (H, W, 3) uint8 RGB camera frame.
            truth: (H, W) bool true mask, None where nobody knows it.

        Returns:
            The frame as the spec wants it, and how well the masker's mask fits the truth: IoU in
            0 to 1, None where there is no masker or no truth.

        Raises:
            InvalidInputError: if the spec wants the truth and there is none.
        """
        if self._spec.source == 'raw':
            return frame, None
        if self._spec.source == 'truth':
            if truth is None:
                raise InvalidInputError(
                    "frames without true masks cannot be masked by them; choose the source "
                    "'masked' or 'raw'"
                )
            return apply_mask(frame, truth, self._spec.fill), None
        assert self._masker is not None
        mask = self._masker(frame[None])[0]
        iou = None if truth is None else float(mask_iou(mask, truth))
        return apply_mask(frame, mask, self._spec.fill), iou


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
