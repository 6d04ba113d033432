# SPDX-License-Identifier: Apache-2.0
"""A frame of a camera, its mask, and the overlay of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from std_msgs.msg import Header

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Frame:
    """A frame to be masked."""

    header: Header
    pixels: npt.NDArray[np.uint8]
    """(H, W, 3) RGB."""
    received_at: float
    """When the middleware received it, in seconds of `time.perf_counter`."""

    @property
    def stamp_s(self) -> float:
        """When it was taken, seconds of the header's stamp."""
        return float(self.header.stamp.sec + self.header.stamp.nanosec / 1e9)


@dataclass(frozen=True)
class MaskResult:
    """The mask of a frame, and figures about it."""

    mask: npt.NDArray[Any]
    """(H, W) bool."""
    similarity: Tensor
    """(O, H, W) float, -1 to 1, on the masker's device."""
    predicted_iou: float
    """The lowest of all objects."""
    duration_s: float
    """Seconds of the masker's call."""
    batch: int
    """Frames in that call."""


_COLOUR = np.array([40, 220, 60], dtype=np.uint16)


def overlay(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the frame with what is outside the mask darkened and the object tinted.

    Args:
        frame: (H, W, 3) uint8 RGB.
        mask: (H, W) bool.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    wide = frame.astype(np.uint16)
    tinted = (2 * wide + _COLOUR) // 3
    return np.where(mask[..., None], tinted, wide // 3).astype(np.uint8)
