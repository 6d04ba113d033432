# SPDX-License-Identifier: Apache-2.0
"""Pieces of photographs as objects: real texture, whose place is known in every picture.

A piece is cut out of a background along a random outline, and turned, stretched, brought nearer and
moved before others. Its parts are the cells of a grid on it, so that matching has a truth too.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from samg_ros.pretraining.dataset import BACKGROUND_SIZE, FRAME_SIZE

Images = npt.NDArray[np.uint8]
PART_CELLS = 5  # a side; labels stay below SECOND_BODY of `bodies`
HARMONICS = 6


def _outline(rng: np.random.Generator, radius: float) -> npt.NDArray[np.float64]:
    """Return (60, 2) points of a closed random curve around 0."""
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    reach = np.ones_like(angles)
    for order in range(1, HARMONICS):
        reach += rng.normal(0, 0.35 / order) * np.cos(order * angles + rng.uniform(0, 2 * np.pi))
    reach = reach.clip(0.15, 2.2) * radius
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * reach[:, None]
    return points * np.exp(rng.normal(0, 0.3, 2))


def _labels(rng: np.random.Generator) -> Images:
    """Return (224, 224) uint8: a random piece, 1 .. 25 by the cell of a grid over it, 0 beside."""
    middle = BACKGROUND_SIZE * rng.uniform(0.35, 0.65, 2)
    corners = _outline(rng, BACKGROUND_SIZE * rng.uniform(0.08, 0.3)) + middle
    inside = np.zeros((BACKGROUND_SIZE,) * 2, np.uint8)
    cv2.fillPoly(inside, [corners.round().astype(np.int32)], 1)
    low, high = corners.min(axis=0), corners.max(axis=0) + 1e-6
    axes = [((np.arange(BACKGROUND_SIZE) - low[axis]) / (high - low)[axis] * PART_CELLS)
            .clip(0, PART_CELLS - 1).astype(np.uint8) for axis in range(2)]
    return inside * (1 + axes[0][None, :] + PART_CELLS * axes[1][:, None])


def _placement(rng: np.random.Generator, middle: npt.NDArray[np.float64], side: float,
               still: bool) -> npt.NDArray[np.float64]:
    """Return (2, 3): how a piece of a size lies in a frame."""
    size = FRAME_SIZE * (rng.uniform(0.25, 0.5) if still else np.exp(rng.uniform(
        np.log(0.12), np.log(0.75))))
    angle = 0.0 if still else rng.normal(0, 0.5)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shear = np.eye(2) if still else np.eye(2) + rng.normal(0, 0.12, (2, 2))
    linear = turn @ shear * (size / side)
    goal = FRAME_SIZE * rng.uniform(0.25, 0.75, 2)
    return np.concatenate([linear, (goal - linear @ middle)[:, None]], axis=1)


def draw_piece(rng: np.random.Generator, backgrounds: Images, targets: int,
               absent_share: float) -> list[tuple[Images, Images]]:
    """Return pictures (192, 192, 3) and labels (192, 192): a reference, then targets.

    Args:
        rng: source of randomness.
        backgrounds: (M, 224, 224, 3) uint8 RGB.
        targets: how many.
        absent_share: share of targets without the piece.
    """
    source = backgrounds[int(rng.integers(len(backgrounds)))]
    labels = _labels(rng)
    places = np.argwhere(labels)[:, ::-1].astype(np.float64)
    if not len(places):
        places = np.array([[0.0, 0.0], [1.0, 1.0]])
    low, high = places.min(axis=0), places.max(axis=0) + 1
    middle, side = (low + high) / 2, float((high - low).max())
    drawn = []
    for index in range(1 + targets):
        canvas = _background(rng, backgrounds)
        if index and rng.random() < absent_share:
            drawn.append((canvas, np.zeros(canvas.shape[:2], np.uint8)))
            continue
        how = _placement(rng, middle, side, still=index == 0)
        size = (FRAME_SIZE, FRAME_SIZE)
        piece = cv2.warpAffine(source, how, size, flags=cv2.INTER_LINEAR,
                               borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
        if index:
            piece *= np.exp(rng.normal(0, 0.15)) * np.exp(rng.normal(0, 0.04, 3))
        alpha = cv2.warpAffine((labels > 0).astype(np.float32), how, size,
                               flags=cv2.INTER_LINEAR)[..., None]
        where = cv2.warpAffine(labels, how, size, flags=cv2.INTER_NEAREST)
        picture = np.clip(canvas + (piece - canvas) * alpha, 0, 255).astype(np.uint8)
        drawn.append((picture, np.asarray(where, np.uint8)))
    return drawn


def _background(rng: np.random.Generator, backgrounds: Images) -> Images:
    picture = backgrounds[int(rng.integers(len(backgrounds)))]
    side = int(rng.integers(BACKGROUND_SIZE // 2, BACKGROUND_SIZE + 1))
    top, left = rng.integers(0, BACKGROUND_SIZE - side + 1, 2)
    return np.asarray(cv2.resize(picture[top:top + side, left:left + side],
                                 (FRAME_SIZE, FRAME_SIZE), interpolation=cv2.INTER_LINEAR),
                      np.uint8)
