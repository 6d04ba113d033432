# SPDX-License-Identifier: Apache-2.0
"""The picture that shows people what is masked; nothing computes with it."""

from __future__ import annotations

import numpy as np

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
