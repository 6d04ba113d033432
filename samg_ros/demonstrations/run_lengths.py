# SPDX-License-Identifier: Apache-2.0
"""Masks as run lengths: a few hundred bytes for a mask of a million pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def run_lengths(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return the lengths of the runs of a mask, row by row, beginning with a run of false.

    This is the order of rows; COCO's run lengths go down the columns.

    Args:
        mask: (H, W) bool.

    Returns:
        (n,) int64 that add up to H * W; the first may be 0.
    """
    flat = mask.reshape(-1)
    changes = np.flatnonzero(np.diff(flat)) + 1
    edges = np.concatenate([[0], changes, [flat.size]])
    lengths = np.diff(edges)
    return np.concatenate([[0], lengths]) if flat.size and flat[0] else lengths


def mask_of(lengths: npt.ArrayLike, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return the (H, W) mask of run lengths, the inverse of `run_lengths`.

    Raises:
        ValueError: if they do not add up to the shape.
    """
    counts = np.asarray(lengths, np.int64)
    if (counts < 0).any() or counts.sum(dtype=float) != shape[0] * shape[1]:
        raise ValueError(f'the run lengths of a mask do not add up to {shape[0]} x {shape[1]}')
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(shape)


def to_text(mask: npt.NDArray[np.bool_]) -> str:
    """Return the run lengths of a mask as text: numbers with blanks between them."""
    return ' '.join(map(str, run_lengths(mask).tolist()))


def from_text(text: str, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return the (H, W) mask of `to_text`.

    Raises:
        ValueError: if the text is no run lengths of that shape.
    """
    return mask_of([int(number) for number in text.split()], shape)
