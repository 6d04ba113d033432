# SPDX-License-Identifier: Apache-2.0
"""True masks made as imperfect as a masker's.

The true mask costs a tenth of a masker's, so many frames can be had with it; a policy that has
seen nothing else is lost behind a masker. These errors are of no particular masker: outlines that
wander, holes, and pieces of a background, which may look like anything.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

_WANDER_PX = 1.0
_BLOTS = 4
_BLOT_RADIUS = (0.02, 0.1)
"""Shares of the frame's side."""


def show_imperfectly(
    frame: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    fill: tuple[int, int, int],
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Cut the object out of a frame along a mask with random errors.

    Args:
        frame: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, the truth.
        fill: RGB colour outside the mask.
        rng: source of the errors.

    Returns:
        (H, W, 3) uint8. What it shows beside the object is not the frame's own background but
        random colours.
    """
    height, width = mask.shape
    seen = _wander(mask, rng.uniform(0, _WANDER_PX), rng)
    for _ in range(rng.integers(_BLOTS + 1)):
        blot = np.zeros(mask.shape, np.uint8)
        axes = (rng.uniform(*_BLOT_RADIUS, 2) * height).round().astype(int)
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.ellipse(blot, centre, tuple(axes.tolist()), rng.uniform(0, 180), 0, 360, 1, -1)
        if rng.random() < 0.5:
            seen |= blot > 0
        else:
            seen &= blot == 0
    colours = rng.integers(0, 256, (rng.integers(1, 9), rng.integers(1, 9), 3), dtype=np.uint8)
    behind = cv2.resize(colours, (width, height), interpolation=cv2.INTER_LINEAR)
    shown = np.where(mask[..., None], frame, behind)
    result: NDArray[np.uint8] = np.where(seen[..., None], shown, np.array(fill, np.uint8))
    return result


def _wander(
    mask: NDArray[np.bool_], amount_px: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Move the outline in and out by a smooth noise of this standard deviation."""
    inside = mask.astype(np.uint8)
    signed = cv2.distanceTransform(inside, cv2.DIST_L2, 3) - cv2.distanceTransform(
        1 - inside, cv2.DIST_L2, 3
    )
    height, width = mask.shape
    coarse = rng.normal(size=(max(2, height // 8), max(2, width // 8)))
    noise = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    result: NDArray[np.bool_] = signed + amount_px * noise > 0
    return result
