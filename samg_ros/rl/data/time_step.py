# SPDX-License-Identifier: Apache-2.0
"""What the environment returns after an action."""

from typing import NamedTuple

from samg_ros.observation import Observation


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
