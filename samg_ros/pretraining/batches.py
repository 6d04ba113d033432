# SPDX-License-Identifier: Apache-2.0
"""Training batches: references and targets, composited over backgrounds, as cameras show them."""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch

from samg_ros.masking.frames.second_look import MARGIN, crop_windows
from samg_ros.pretraining.dataset import FRAME_SIZE
from samg_ros.pretraining.faults import FAULTS, camera_picture
from samg_ros.pretraining.pieces import Pictures, draw_piece
from samg_ros.sim.procedural.bodies import FIRST_DISTRACTOR, FLOOR, SECOND_BODY, SKY

Images = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
MAX_EXTRAS = 3
SEEN_PIXELS = 60
"""A body with more pixels of 192 x 192 than this is seen well enough to be a reference."""
RECOLOURED_SHARE = 0.3
"""Share of targets whose object has other colours than in the reference."""
TINTED_SHARE = 0.35
"""Share of replaced surroundings that take on the object's own colour."""
PIECE_SHARE = 0.3
"""Share of references that are pieces of photographs instead of rendered bodies."""
FAULTY_REFERENCES, FAULTY_TARGETS = 0.25, 0.75
"""Shares of pictures that a camera took."""
SMALL, LARGE = (84, 84), (FRAME_SIZE, FRAME_SIZE)
SHAPES = (SMALL, LARGE, (FRAME_SIZE * 3 // 4, FRAME_SIZE))
SHAPE_ODDS = (0.45, 0.35, 0.2)
"""Rows and columns of a batch's pictures: as simulators and policies have them, and as cameras."""
OTHER_COLOURS = 'other_colours'
OPTIONAL = (*FAULTS, OTHER_COLOURS)
"""What batches can do without."""
CLOSE_SHARE = 0.6
"""Share of the batches of the size of a second look that are what it sees: crops around the object,
half of them of small pictures."""


@dataclass(frozen=True)
class Batch:
    """B references with T targets each.

    Attributes:
        references: (B, H, W, 3) uint8 RGB, H and W one of SHAPES.
        targets: (B, T, H, W, 3) uint8 RGB.
        reference_labels: (B, H, W) uint8 part labels of the object, 0 elsewhere.
        target_labels: (B, T, H, W) uint8, likewise; all 0 where the object is absent.
        parts: per reference, masks (H, W) bool of its parts; as many in every reference.
        points: (B, K, 2) int clicked points [x, y].
    """

    references: Images
    targets: Images
    reference_labels: Images
    target_labels: Images
    parts: list[list[Mask]]
    points: npt.NDArray[np.int64]


def composite(rng: np.random.Generator, image: Images, labels: Images, kept: Mask,
              pictures: Pictures, keep_share: float) -> Images:
    """Return the image with its surroundings replaced, as `video_*` settings do, or left.

    Args:
        rng: source of randomness.
        image: (192, 192, 3) uint8 RGB.
        labels: (192, 192) uint8 scene labels.
        kept: (192, 192) bool, never replaced.
        pictures: what is put there.
        keep_share: probability of leaving the surroundings as rendered.

    Returns:
        (192, 192, 3) uint8 RGB.
    """
    kind = rng.random()
    if kind >= keep_share:
        background = pictures.surroundings(rng)
        if kept.any() and rng.random() < TINTED_SHARE:
            background = _tinted(rng, background, image[kept].mean(axis=0))
        if kind < keep_share + 0.15:
            replaced = labels == SKY
        elif rng.random() < 0.5:
            replaced = labels >= FLOOR
        else:
            replaced = np.ones_like(kept)
        alpha = (replaced & ~kept).astype(np.float32)
        if rng.random() < 0.15:
            alpha = cv2.GaussianBlur(alpha, (3, 3), 0)
        image = (image + (background.astype(np.float32) - image) * alpha[..., None]
                 ).astype(np.uint8)
    return image


def _tinted(rng: np.random.Generator, picture: Images, colour: npt.NDArray[np.float64]) -> Images:
    """Pull a picture towards a colour: wood behind a wooden robot, the hardest surroundings."""
    grey = picture.mean(axis=2, keepdims=True)
    target = grey / max(1.0, float(grey.mean())) * colour * np.exp(rng.normal(0, 0.15, 3))
    share = rng.uniform(0.4, 1.0)
    return np.clip(picture + share * (target - picture), 0, 255).astype(np.uint8)


def _recoloured(rng: np.random.Generator, image: Images, kept: Mask) -> Images:
    """Give an object other colours, as `color_*` settings do: no colour can be relied upon."""
    values = image[kept][:, rng.permutation(3)] * np.exp(rng.normal(0, 0.5, 3))
    image = image.copy()
    image[kept] = np.clip(values, 0, 255)
    return image


def _placed(rng: np.random.Generator, shape: tuple[int, int], image: Images, labels: Images,
            faulty: float, left_out: Collection[str]) -> tuple[Images, Images]:
    """Return a picture and its labels cut and shrunk to a shape, by some camera.

    Simulators draw small pictures a point a pixel, cameras average what a pixel sees.
    """
    rows = shape[0] * FRAME_SIZE // shape[1]
    if rows < FRAME_SIZE:
        middle = int(np.argwhere(labels).mean(axis=0)[0]) if labels.any() else FRAME_SIZE // 2
        top = int(np.clip(middle - rows // 2 + rng.integers(-rows // 4, rows // 4 + 1), 0,
                          FRAME_SIZE - rows))
        image, labels = image[top:top + rows], labels[top:top + rows]
    if image.shape[:2] != shape:
        size = shape[::-1]
        way = cv2.INTER_NEAREST if rng.random() < 0.5 else cv2.INTER_AREA
        image = np.asarray(cv2.resize(image, size, interpolation=way), np.uint8)
        labels = np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    if rng.random() < faulty:
        image = camera_picture(rng, np.ascontiguousarray(image), left_out)
    return image, labels


def _closer(rng: np.random.Generator, image: Images, labels: Images,
            found: bool) -> tuple[Images, Images]:
    """Return what a second look sees of a picture, (192, 192).

    Args:
        rng: source of randomness.
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8; where they are all 0, the window is one around anything.
        found: the window is around a mask that was found, not around the true one.
    """
    if labels.any():
        x, y, side = crop_windows(torch.from_numpy(labels > 0)[None])[0].tolist()
    else:
        side = max(image.shape[:2]) * rng.uniform(0.25, 1)
        x, y = rng.uniform(0.2, 0.8, 2) * image.shape[1::-1]
    if found:  # a first mask lacks a limb, or has something beside the object
        side *= np.exp(rng.normal(0, 0.2))
        x, y = np.array([x, y]) + rng.normal(0, 0.08, 2) * side / MARGIN
    scale = FRAME_SIZE / side
    how = np.array([[scale, 0, FRAME_SIZE / 2 - 0.5 - scale * (x - 0.5)],
                    [0, scale, FRAME_SIZE / 2 - 0.5 - scale * (y - 0.5)]])
    shape = (FRAME_SIZE, FRAME_SIZE)
    return (np.asarray(cv2.warpAffine(image, how, shape, flags=cv2.INTER_LINEAR,
                                      borderMode=cv2.BORDER_REPLICATE), np.uint8),
            np.asarray(cv2.warpAffine(labels, how, shape, flags=cv2.INTER_NEAREST), np.uint8))


def _object_labels(labels: Images, wanted: str) -> Images:
    """Keep the labels of the wanted bodies ('first', 'second' or 'both'); 0 elsewhere."""
    low = SECOND_BODY if wanted == 'second' else 1
    high = SECOND_BODY if wanted == 'first' else FIRST_DISTRACTOR
    return np.where((labels >= low) & (labels < high), labels, 0).astype(np.uint8)


class BatchSource:
    """Draws batches; the generator alone is its state."""

    def __init__(self, images: Images, labels: Images, pictures: Pictures,
                 absent_share: float = 0.12) -> None:
        """Wrap the data.

        Args:
            images: (S, F, 192, 192, 3) uint8 frames of S scenes.
            labels: (S, F, 192, 192) uint8.
            pictures: what stands behind and beside the bodies, and the pieces.
            absent_share: share of targets that show something else instead, beside the frames of
                the scenes themselves that are without their bodies.
        """
        self._images, self._labels, self.pictures = images, labels, pictures
        self._absent_share = absent_share
        self._left_out: tuple[str, ...] = ()
        self._first_pixels = ((labels >= 1) & (labels < SECOND_BODY)).sum(axis=(2, 3))
        self._second_pixels = ((labels >= SECOND_BODY)
                               & (labels < FIRST_DISTRACTOR)).sum(axis=(2, 3))
        both = (self._first_pixels > SEEN_PIXELS) & (self._second_pixels > SEEN_PIXELS)
        self._any_pair = bool(both.any())

    def without(self, left_out: tuple[str, ...]) -> BatchSource:
        """Return a source of the same batches, but for what is left out, some of OPTIONAL.

        All else is drawn as it is here: scenes, places, surroundings and other faults.
        """
        source = copy.copy(self)
        source._left_out = left_out
        return source

    @property
    def first_frames(self) -> Images:
        """(S, 192, 192, 3) uint8: a frame of each scene."""
        return self._images[:, 0]

    def draw(self, rng: np.random.Generator, references: int, targets: int,
             keep_share: float = 0.3) -> Batch:
        """Return one batch.

        Args:
            rng: source of randomness.
            references: number of references.
            targets: targets of each.
            keep_share: share of targets whose surroundings stay as rendered.
        """
        extras = int(rng.integers(0, MAX_EXTRAS + 1))
        with_parts = extras >= 2 and rng.random() < 0.4 and self._any_pair
        shape = SHAPES[int(rng.choice(len(SHAPES), p=SHAPE_ODDS))]
        close = shape == LARGE and rng.random() < CLOSE_SHARE
        items = [self._draw_one(rng, shape, close, targets, keep_share, extras, with_parts)
                 for _ in range(references)]
        pictures, targets_, labels, truths, parts, points = zip(*items, strict=True)
        return Batch(np.stack(pictures), np.stack(targets_), np.stack(labels), np.stack(truths),
                     list(parts), np.stack(points))

    def _draw_one(self, rng: np.random.Generator, shape: tuple[int, int], close: bool,
                  targets: int, keep_share: float, extras: int, with_parts: bool,
                  ) -> tuple[Images, Images, Images, Images, list[Mask], npt.NDArray[np.int64]]:
        while True:
            drawn = draw_piece(rng, self.pictures, targets, self._absent_share) \
                if not with_parts and rng.random() < PIECE_SHARE \
                else self._draw_scene(rng, targets, keep_share, with_parts)
            mirror = slice(None, None, -1 if rng.random() < 0.5 else 1)
            taken = SMALL if close and rng.random() < 0.5 else shape
            placed = [_placed(rng, taken, image[:, mirror], labels[:, mirror],
                              FAULTY_TARGETS if index else FAULTY_REFERENCES, self._left_out)
                      for index, (image, labels) in enumerate(drawn)]
            if close:
                placed = [_closer(rng, image, labels, bool(index))
                          for index, (image, labels) in enumerate(placed)]
            pictures, truths = zip(*placed, strict=True)
            reference_labels = truths[0]
            parts: list[Mask] = []
            if with_parts:
                parts = [_object_labels(reference_labels, body) > 0 for body in ('first', 'second')]
            places = np.argwhere(reference_labels > 0)
            if len(places) > SEEN_PIXELS // 3 and all(part.any() for part in parts):
                break
        chosen = places[rng.integers(len(places), size=extras - len(parts))]
        return (pictures[0], np.stack(pictures[1:]), reference_labels, np.stack(truths[1:]), parts,
                np.ascontiguousarray(chosen[:, ::-1]))

    def _draw_scene(self, rng: np.random.Generator, targets: int, keep_share: float,
                    with_parts: bool) -> list[tuple[Images, Images]]:
        """Return pictures and object labels of 192 x 192: the reference, then the targets."""
        scene, wanted, frame = self._choose(rng, with_parts)
        others = rng.choice([f for f in range(self._images.shape[1]) if f != frame], targets,
                            replace=False)
        reference_labels = _object_labels(self._labels[scene, frame], wanted)
        drawn = [(composite(rng, self._images[scene, frame], self._labels[scene, frame],
                            reference_labels > 0, self.pictures, 0.75), reference_labels)]
        for other in others:
            source = scene
            if rng.random() < self._absent_share:
                source = int(rng.integers(len(self._images)))
            image, labels = self._images[source, other], self._labels[source, other]
            kept = _object_labels(labels, wanted) if source == scene else np.zeros_like(labels)
            keep_bodies = kept > 0 if source == scene else (labels < FLOOR) & (rng.random() < 0.6)
            if keep_bodies.any() and rng.random() < RECOLOURED_SHARE:
                recoloured = _recoloured(rng, image, keep_bodies)
                image = image if OTHER_COLOURS in self._left_out else recoloured
            drawn.append((composite(rng, image, labels, keep_bodies, self.pictures, keep_share),
                          kept))
        return drawn

    def _choose(self, rng: np.random.Generator, with_parts: bool) -> tuple[int, str, int]:
        """Return a scene, which of its bodies is the object, and a frame that shows it."""
        while True:
            scene = int(rng.integers(len(self._images)))
            second = self._second_pixels[scene]
            both = bool((second > SEEN_PIXELS).any())
            if with_parts:
                wanted = 'both'
            else:
                wanted = str(rng.choice(['first', 'second', 'both'], p=[0.4, 0.2, 0.4])) if both \
                    else 'first'
            seen = {'first': self._first_pixels[scene] > SEEN_PIXELS,
                    'second': second > SEEN_PIXELS,
                    'both': (second > SEEN_PIXELS)
                    & (self._first_pixels[scene] > SEEN_PIXELS)}[wanted]
            if seen.any():
                return scene, wanted, int(rng.choice(np.flatnonzero(seen)))
