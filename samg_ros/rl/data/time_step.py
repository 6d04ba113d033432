# SPDX-License-Identifier: Apache-2.0
"""What the environment returns after an action."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from samg_ros.errors import InvalidInputError
from samg_ros.observation import Observation
from samg_ros.step_types import FIRST, LAST, MID


class TimeStep(NamedTuple):
    """What the environment says after an action, as in dm_env."""

    observation: Observation
    """From an Observer with the run's ObservationSpec."""
    reward: float
    """Reward of the action before; 0 on the first step."""
    discount: float
    """0 if the episode ended in a terminal state, else 1."""
    step_type: int
    """FIRST, MID or LAST."""
    mask_iou: float | None = None
    """How well this frame's mask fits the truth, where known; logged, never learned from."""
    expert: NDArray[np.float64] | None = None
    """(A,) action that an expert takes here, within the limits; None where there is no expert."""


def check_time_step(time_step: TimeStep) -> None:
    """Check what a learner cannot use.

    Raises:
        InvalidInputError: if reward, discount, joint positions or step type are not usable.
    """
    if not (np.isfinite(time_step.reward) and np.isfinite(time_step.discount)):
        raise InvalidInputError(
            f'reward {time_step.reward} and discount {time_step.discount} must be finite; '
            'the time step was dropped'
        )
    joints = time_step.observation.get('proprioception')
    if joints is not None and not np.isfinite(joints).all():
        raise InvalidInputError(
            f'joint positions must be finite, got {joints.tolist()}; the time step was dropped'
        )
    if time_step.expert is not None and not np.isfinite(time_step.expert).all():
        raise InvalidInputError("an expert's action must be finite, got "
                                f'{time_step.expert.tolist()}; the time step was dropped')
    if time_step.step_type not in (FIRST, MID, LAST):
        raise InvalidInputError(f'step type must be 0, 1 or 2, got {time_step.step_type}')
