# SPDX-License-Identifier: Apache-2.0
"""What is weak about a reference, in plain words, and what would help."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from samg_ros.masking import Reference

Mask = npt.NDArray[np.bool_]

FEWEST_CELLS = 16
"""Of the model's feature grid, 4 x 4: of anything smaller most cells lie on the rim, and their
features are half those of what is beside the object."""
BORDER_SHARE = 0.02
"""Of a mask's outline; less at the picture's border is a touch, not a cut."""
COLOUR_BINS = 8
"""Per channel of Lab, 512 colours: cells of 32 values, wider than noise and JPEG make colours."""
SHARED_COLOURS = 0.5
"""Histogram intersection (Swain and Ballard, 1991) from which more colours are shared than not."""
FOUND_AGAIN = 0.75
"""IoU below which a quarter or more of object and mask is wrong."""


def advice(reference: Reference, grid: int) -> list[str]:
    """Return what is weak about a reference, a sentence or two each; empty if nothing is.

    Args:
        reference: to be looked at.
        grid: side of the model's feature grid, in cells.
    """
    found = []
    cells = reference.mask.sum() * (grid / max(reference.mask.shape)) ** 2
    if cells < FEWEST_CELLS:
        found.append(f'The object is small: it covers {cells:.0f} of the {grid} x {grid} cells in '
                     f'which the model sees the picture, and {FEWEST_CELLS} or more are needed. '
                     'Take a picture from nearer, or crop this one.')
    if sides := cut_off_sides(reference.mask):
        found.append(f'The object is cut off at the {" and ".join(sides)} of the picture. Take one '
                     'in which all of it is in view, if the robot will see all of it.')
    shared = shared_colours(reference.image, reference.mask)
    if shared >= SHARED_COLOURS:
        found.append(f'{shared:.0%} of the object’s colours are also beside it, so colours say '
                     'little about where it is. Take the picture in front of something else, or '
                     'click points on what is special about the object.')
    return found


def advice_after_trial(reference: Reference, mask: Mask,
                       prompts: npt.NDArray[np.int_]) -> list[str]:
    """Return what looking for the object in its own picture says, as `advice`.

    Args:
        reference: that was looked for.
        mask: (H, W) bool, what was found in the reference's own picture.
        prompts: (K, 2) int [x, y], where the model thought the object to be.
    """
    found = []
    off = sum(not reference.mask[y, x] for x, y in prompts.tolist())
    if off:
        found.append(f'{off} of {len(prompts)} prompts lie off the object even in its own picture. '
                     'Click points on places that look like nothing else there, or take the '
                     'picture in front of something else.')
    iou = (mask & reference.mask).sum() / max(1, (mask | reference.mask).sum())
    if iou < FOUND_AGAIN:
        found.append(f'In its own picture the object is found with an IoU of {iou:.2f} (1 is '
                     'perfect). Add a picture from another side, mark its parts, or try a larger '
                     'model with --model.')
    return found


def cut_off_sides(mask: Mask) -> list[str]:
    """Return at which sides of the picture, 'left' and so on, a (H, W) bool mask is cut off."""
    inside = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    outline = int(np.count_nonzero(mask & ~inside))
    sides = {'left': mask[:, 0], 'right': mask[:, -1], 'top': mask[0], 'bottom': mask[-1]}
    return [name for name, line in sides.items() if line.sum() > BORDER_SHARE * outline]


def shared_colours(image: npt.NDArray[np.uint8], mask: Mask) -> float:
    """Return 0 .. 1: how much the colours of the object and of what is beside it are the same.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool.
    """
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    histograms = []
    for where in (mask, ~mask):
        counts = cv2.calcHist([lab], [0, 1, 2], where.astype(np.uint8), [COLOUR_BINS] * 3,
                              [0, 256] * 3)
        histograms.append(counts / max(1, where.sum()))
    return float(np.minimum(*histograms).sum())
