# SPDX-License-Identifier: Apache-2.0
"""What the environment returns after a reset or a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from samg_ros.step_types import FIRST, LAST


class CameraView(NamedTuple):
    """What one camera shows."""

    frame: np.ndarray
    """(H, W, 3) uint8 RGB."""
    mask: np.ndarray | None
    """(H, W) bool, true on the object; None when the environment keeps no truth."""
    parts: np.ndarray | None
    """(H, W) uint8, 0 for background and i for the task's i-th part; None as above."""


@dataclass(frozen=True, eq=False)
class SimStep:
    """What the environment shows after a reset or a step."""

    views: tuple[CameraView, ...]
    """What the cameras show, the task's own first."""
    reward: float
    """Summed over the action repeat; 0 at a reset."""
    discount: float
    step_type: int
    """`FIRST`, `MID` or `LAST`."""
    step_index: int
    """Agent steps since the reset, 0 at the reset."""
    time_ns: int
    """Simulation time. It starts one agent step after zero and goes on through resets, which take
    BETWEEN_EPISODES_NS."""
    joint_names: tuple[str, ...]
    """Hinge and slide joints, in the model's order."""
    joint_positions: np.ndarray
    """(J,) float64, radians or metres."""
    joint_velocities: np.ndarray
    """(J,) float64, per second."""
    success: bool | None
    """Whether the task is solved right now; None for tasks that only know rewards."""

    @property
    def frame(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB of the first camera."""
        return self.views[0].frame

    @property
    def mask(self) -> np.ndarray | None:
        """(H, W) bool of the first camera, see `CameraView`."""
        return self.views[0].mask

    @property
    def parts(self) -> np.ndarray | None:
        """(H, W) uint8 of the first camera, see `CameraView`."""
        return self.views[0].parts

    @property
    def first(self) -> bool:
        return self.step_type == FIRST

    @property
    def last(self) -> bool:
        return self.step_type == LAST
