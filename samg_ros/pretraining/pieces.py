# SPDX-License-Identifier: Apache-2.0
"""Pieces of photographs as objects: real texture, whose place is known in every picture.

A piece is a photographed object with an alpha channel, or cut out of a background along a random
outline; it is turned, stretched, brought nearer and moved before other pictures. Its parts are the
cells of a grid on it, so that matching has a truth too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from samg_ros.pretraining.dataset import (
    BACKGROUND_SIZE,
    FRAME_SIZE,
    is_cutout,
    load_backgrounds,
    load_cutouts,
    photograph_crops,
    split,
)

Images = npt.NDArray[np.uint8]
PART_CELLS = 5  # a side; labels stay below SECOND_BODY of `bodies`
HARMONICS = 6
CUTOUT_SHARE = 0.75
"""Of pieces, objects with an alpha channel where there are some: real outlines."""
CROWDED_SHARE = 0.35
"""Share of surroundings in which other objects stand: whatever stands out is not the object."""
ALPHA = 127


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
    """Return (224, 224) uint8: labels of a random piece."""
    middle = BACKGROUND_SIZE * rng.uniform(0.35, 0.65, 2)
    corners = _outline(rng, BACKGROUND_SIZE * rng.uniform(0.08, 0.3)) + middle
    inside = np.zeros((BACKGROUND_SIZE,) * 2, np.uint8)
    cv2.fillPoly(inside, [corners.round().astype(np.int32)], 1)
    return _in_parts(inside > 0)


def _in_parts(inside: npt.NDArray[np.bool_]) -> Images:
    """Return (224, 224) uint8: 1 .. 25 by the cell of a grid over a mask's box, 0 beside it."""
    axes = []
    for axis in (0, 1):
        found = np.flatnonzero(inside.any(axis=axis))
        low, high = (found[0], found[-1] + 1) if len(found) else (0, 1)
        axes.append(((np.arange(BACKGROUND_SIZE) - low) / (high - low) * PART_CELLS)
                    .clip(0, PART_CELLS - 1).astype(np.uint8))
    return (1 + axes[0][None, :] + PART_CELLS * axes[1][:, None]) * inside


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


@dataclass(frozen=True)
class Pictures:
    """Real and painted pictures: surroundings, and what pieces are cut from.

    Attributes:
        backgrounds: (M, 224, 224, 3) uint8 RGB.
        cutouts: (C, 224, 224, 4) uint8 RGB and alpha, photographs of single objects; C may be 0.
    """

    backgrounds: Images
    cutouts: Images

    def surroundings(self, rng: np.random.Generator) -> Images:
        """Return (192, 192, 3) uint8: a window of a background, now and then with other objects."""
        picture = window(rng, self.backgrounds[int(rng.integers(len(self.backgrounds)))])
        if rng.random() < CROWDED_SHARE:
            for _ in range(int(rng.integers(1, 4))):
                picture, _ = self.piece(rng).placed(rng, picture)
        return picture

    def piece(self, rng: np.random.Generator) -> Piece:
        """Return an object of a photograph, or a random part of one."""
        if len(self.cutouts) and rng.random() < CUTOUT_SHARE:
            source = self.cutouts[int(rng.integers(len(self.cutouts)))]
            return Piece.of(source[..., :3], _in_parts(source[..., 3] > ALPHA))
        source = self.backgrounds[int(rng.integers(len(self.backgrounds)))]
        return Piece.of(source, _labels(rng))


@dataclass(frozen=True)
class Piece:
    """What is stuck onto pictures.

    Attributes:
        picture: (224, 224, 3) uint8 RGB.
        labels: (224, 224) uint8, 0 outside of it.
        middle: (2,) pixels [x, y].
        side: of its box, pixels.
    """

    picture: Images
    labels: Images
    middle: npt.NDArray[np.float64]
    side: float

    @classmethod
    def of(cls, picture: Images, labels: Images) -> Piece:
        """Return the piece with the middle and side of its box, measured on its labels."""
        places = np.argwhere(labels)[:, ::-1].astype(np.float64)
        if not len(places):
            places = np.array([[0.0, 0.0], [1.0, 1.0]])
        low, high = places.min(axis=0), places.max(axis=0) + 1
        return cls(picture, labels, (low + high) / 2, float((high - low).max()))

    def placed(self, rng: np.random.Generator, canvas: Images,
               reference: bool = False) -> tuple[Images, Images]:
        """Return a picture with it and its labels, somewhere; `reference`: upright, in its light.

        Args:
            rng: source of randomness.
            canvas: (192, 192, 3) uint8 RGB.
            reference: of middling size, neither turned nor relit.
        """
        how = _placement(rng, self.middle, self.side, still=reference)
        size = (FRAME_SIZE, FRAME_SIZE)
        piece = cv2.warpAffine(self.picture, how, size, flags=cv2.INTER_LINEAR,
                               borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
        if not reference:
            piece *= np.exp(rng.normal(0, 0.15)) * np.exp(rng.normal(0, 0.04, 3))
        alpha = cv2.warpAffine((self.labels > 0).astype(np.float32), how, size,
                               flags=cv2.INTER_LINEAR)[..., None]
        where = cv2.warpAffine(self.labels, how, size, flags=cv2.INTER_NEAREST)
        picture = np.clip(canvas + (piece - canvas) * alpha, 0, 255).astype(np.uint8)
        return picture, np.asarray(where, np.uint8)


def load_pictures(data: Path, count: int, seed: int,
                  photographs: tuple[Path, ...]) -> tuple[Pictures, Pictures]:
    """Return the pictures for training and those for validation; no photograph is in both.

    Args:
        data: folder of the painted and rendered ones.
        count: of those.
        seed: of the places of crops.
        photographs: image files; those with transparent parts are objects.
    """
    alpha = [is_cutout(path) for path in photographs]
    both = []
    for part in split(len(photographs)):
        chosen = [(path, cut) for path, cut, wanted in zip(photographs, alpha, part, strict=True)
                  if wanted]
        both.append((tuple(path for path, cut in chosen if not cut),
                     load_cutouts([path for path, cut in chosen if cut])))
    painted = load_backgrounds(data, count)
    pictures = []
    for part, (photos, cutouts) in zip(split(len(painted)), both, strict=True):
        crops = photograph_crops(photos, 2 * int(part.sum()), seed)
        pictures.append(Pictures(np.concatenate([painted[part], crops]), cutouts))
    return pictures[0], pictures[1]


def draw_piece(rng: np.random.Generator, pictures: Pictures, targets: int,
               absent_share: float) -> list[tuple[Images, Images]]:
    """Return pictures (192, 192, 3) and labels (192, 192): a reference, then targets.

    Args:
        rng: source of randomness.
        pictures: pieces and what is behind them.
        targets: how many.
        absent_share: share of targets without the piece.
    """
    piece = pictures.piece(rng)
    drawn = []
    for index in range(1 + targets):
        canvas = pictures.surroundings(rng)
        if index and rng.random() < absent_share:
            drawn.append((canvas, np.zeros(canvas.shape[:2], np.uint8)))
        else:
            drawn.append(piece.placed(rng, canvas, reference=index == 0))
    return drawn


def window(rng: np.random.Generator, picture: Images) -> Images:
    """Return (192, 192, 3) uint8: a window of a background, sometimes in other light or colours."""
    side = int(rng.integers(FRAME_SIZE * 2 // 3, BACKGROUND_SIZE + 1))
    top, left = rng.integers(0, BACKGROUND_SIZE - side + 1, 2)
    window = picture[top:top + side, left:left + side]
    if rng.random() < 0.5:
        window = window[:, ::-1]
    if rng.random() < 0.15:
        window = window[..., rng.permutation(3)]
    window = cv2.resize(window, (FRAME_SIZE, FRAME_SIZE), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.3:
        window = cv2.convertScaleAbs(window, alpha=rng.uniform(0.5, 1.4), beta=rng.normal(0, 15))
    if rng.random() < 0.25:
        window = cv2.GaussianBlur(window, (0, 0), rng.uniform(0.4, 2))
    return np.asarray(window, np.uint8)
