# SPDX-License-Identifier: Apache-2.0
"""How good a mask is: overlap with the truth, and how well its outline follows.

Whole stacks of masks at once, because an evaluation has hundreds.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from samg_ros.errors import InvalidInputError

Masks = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.float64]


def mask_iou(masks: Masks, truths: Masks) -> Scores:
    """Return the intersection over union of each mask with its truth.

    Args:
        masks: (..., H, W) bool.
        truths: the same shape.

    Returns:
        (...) float64 in 0..1; 1 where both are empty.

    Raises:
        InvalidInputError: if shapes differ or a dtype is not bool.
    """
    masks, truths = _checked(masks, truths)
    union = np.count_nonzero(masks | truths, axis=(-2, -1))
    both = np.count_nonzero(masks & truths, axis=(-2, -1))
    return np.where(union == 0, 1.0, both / np.maximum(union, 1))


def boundary_f(masks: Masks, truths: Masks) -> Scores:
    """Return the boundary F-measure of each mask with 1 pixel of tolerance.

    Of each outline, the share that lies within 1 pixel (up, down, left, right) of the other; the
    harmonic mean of the two shares. After the DAVIS benchmark's contour accuracy (Perazzi et al.,
    CVPR 2016). An outline is the pixels of a mask beside one outside it; the image's border is
    no outline.

    Args:
        masks: (..., H, W) bool.
        truths: the same shape.

    Returns:
        (...) float64 in 0..1; 1 where neither has an outline.

    Raises:
        InvalidInputError: if shapes differ or a dtype is not bool.
    """
    masks, truths = _checked(masks, truths)
    outline, true_outline = _outline(masks), _outline(truths)
    length = np.count_nonzero(outline, axis=(-2, -1))
    true_length = np.count_nonzero(true_outline, axis=(-2, -1))
    hits = np.count_nonzero(outline & _grow(true_outline), axis=(-2, -1))
    true_hits = np.count_nonzero(true_outline & _grow(outline), axis=(-2, -1))
    precision = hits / np.maximum(length, 1)
    recall = true_hits / np.maximum(true_length, 1)
    total = precision + recall
    score = 2 * precision * recall / np.where(total == 0, 1, total)
    return np.where(length + true_length == 0, 1.0, score)


def _outline(masks: Masks) -> Masks:
    return masks & _grow(~masks)


def _grow(masks: Masks) -> Masks:
    """Add the pixels above, below, left and right of those that are true."""
    grown = masks.copy()
    grown[..., 1:, :] |= masks[..., :-1, :]
    grown[..., :-1, :] |= masks[..., 1:, :]
    grown[..., 1:] |= masks[..., :-1]
    grown[..., :-1] |= masks[..., 1:]
    return grown


def _checked(masks: Masks, truths: Masks) -> tuple[Masks, Masks]:
    masks, truths = np.asarray(masks), np.asarray(truths)
    if masks.shape != truths.shape or masks.ndim < 2 \
            or masks.dtype != np.bool_ or truths.dtype != np.bool_:
        raise InvalidInputError(
            f'masks {masks.shape} {masks.dtype} and truths {truths.shape} {truths.dtype}; '
            'expected two bool arrays (..., H, W) of one shape')
    return masks, truths
