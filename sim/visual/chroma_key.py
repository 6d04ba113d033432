# SPDX-License-Identifier: Apache-2.0
"""DMC-GB's green screen: paint what is to be replaced green, and replace what looks green.

Of the DMControl Generalization Benchmark (arXiv 2011.13389), fringes and all: pixels that blend
robot and screen, and the screen's reflections, go or stay by their colour. For comparisons with
published figures; the segmentation composite has no fringes.
"""

from __future__ import annotations

import numpy as np

SCREEN = (0.2, 0.8, 0.2)
"""Colour of the screen, RGB in 0..1."""

HUE_DEGREES = (100.0, 185.0)
SATURATION = (80.0, 255.0)
VALUE = (70.0, 255.0)
"""Limits, both ends inside; saturation and value on the scale of 0 to 255."""


def resize_behind_screen(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a video's frame as the benchmark resizes it: in single precision, cut to whole levels.

    torch's own bilinear resizing, with colours last in memory, because the last bit decides which
    level a value is cut to.

    Args:
        frame: (H, W, 3) uint8 RGB.
        size: width and height of the result.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    import torch
    width, height = size
    colours = torch.from_numpy(frame).permute(2, 0, 1).float()[None] / 255
    resized = torch.nn.functional.interpolate(colours, (height, width), mode='bilinear',
                                              align_corners=False)
    return (resized * 255).byte()[0].permute(1, 2, 0).numpy()


def is_screen(frame: np.ndarray) -> np.ndarray:
    """Return where a frame shows the screen, by hue, saturation and value.

    Args:
        frame: (H, W, 3) uint8 RGB.

    Returns:
        (H, W) bool.
    """
    colours = frame.astype(np.float64) / 255
    most, least = colours.max(axis=-1), colours.min(axis=-1)
    grey = most == least
    spread = np.where(grey, 1.0, most - least)
    # The operations of colorsys in their order, so that no rounding at a limit differs.
    red, green, blue = np.moveaxis((most[..., None] - colours) / spread[..., None], -1, 0)
    hue = np.where(red == 0, blue - green,
                   np.where(green == 0, 2.0 + red - blue, 4.0 + green - red))
    hue = np.where(grey, 0.0, hue / 6.0 % 1.0)
    saturation = np.where(grey, 0.0, spread / np.maximum(most, 1 / 255))
    return _within(hue * 360, HUE_DEGREES) & _within(saturation * 255, SATURATION) \
        & _within(most * 255, VALUE)


def _within(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    inside: np.ndarray = (values >= limits[0]) & (values <= limits[1])
    return inside
