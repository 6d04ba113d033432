# SPDX-License-Identifier: Apache-2.0
"""Training batches: references and targets of procedural bodies, composited over backgrounds."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from samg_ros.pretraining.dataset import BACKGROUND_SIZE, FRAME_SIZE
from samg_ros.sim.procedural.bodies import FIRST_DISTRACTOR, FLOOR, SECOND_BODY, SKY

Images = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
MAX_EXTRAS = 3
SEEN_PIXELS = 12
"""A body with more pixels than this is seen well enough to be a reference."""
RECOLOURED_SHARE = 0.12
"""Share of targets whose object has other colours than in the reference."""
TINTED_SHARE = 0.35
"""Share of replaced surroundings that take on the object's own colour."""


@dataclass(frozen=True)
class Batch:
    """B references with T targets each.

    Attributes:
        references: (B, 84, 84, 3) uint8 RGB.
        targets: (B, T, 84, 84, 3) uint8 RGB.
        reference_labels: (B, 84, 84) uint8 part labels of the object, 0 elsewhere.
        target_labels: (B, T, 84, 84) uint8, likewise; all 0 where the object is absent.
        parts: per reference, masks (84, 84) bool of its parts; as many in every reference.
        points: (B, K, 2) int clicked points [x, y].
    """

    references: Images
    targets: Images
    reference_labels: Images
    target_labels: Images
    parts: list[list[Mask]]
    points: npt.NDArray[np.int64]


def composite(rng: np.random.Generator, image: Images, labels: Images, kept: Mask,
              backgrounds: Images, keep_share: float) -> Images:
    """Return the image with its surroundings replaced, as `video_*` settings do, or left.

    Args:
        rng: source of randomness.
        image: (84, 84, 3) uint8 RGB.
        labels: (84, 84) uint8 scene labels.
        kept: (84, 84) bool, never replaced.
        backgrounds: (M, 112, 112, 3) uint8 RGB.
        keep_share: probability of leaving the surroundings as rendered.

    Returns:
        (84, 84, 3) uint8 RGB.
    """
    kind = rng.random()
    if kind >= keep_share:
        background = _window(rng, backgrounds[int(rng.integers(len(backgrounds)))])
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
    return _photometry(rng, image)


def _window(rng: np.random.Generator, picture: Images) -> Images:
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


def _photometry(rng: np.random.Generator, image: Images) -> Images:
    if rng.random() < 0.5:
        gain = rng.uniform(0.75, 1.25) * np.exp(rng.normal(0, 0.04, 3))
        image = np.clip(image * gain + rng.normal(0, 8), 0, 255).astype(np.uint8)
    if rng.random() < 0.1:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.9)), np.uint8)
    if rng.random() < 0.25:
        noise = rng.normal(0, rng.uniform(1, 9), image.shape)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.15:
        _, code = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY,
                                               int(rng.integers(30, 95))])
        image = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
    return image


def _object_labels(labels: Images, wanted: str) -> Images:
    """Keep the labels of the wanted bodies ('first', 'second' or 'both'); 0 elsewhere."""
    low = SECOND_BODY if wanted == 'second' else 1
    high = SECOND_BODY if wanted == 'first' else FIRST_DISTRACTOR
    return np.where((labels >= low) & (labels < high), labels, 0).astype(np.uint8)


class BatchSource:
    """Draws batches; the generator alone is its state."""

    def __init__(self, images: Images, labels: Images, backgrounds: Images,
                 absent_share: float = 0.12) -> None:
        """Wrap the data.

        Args:
            images: (S, F, 84, 84, 3) uint8 frames of S scenes.
            labels: (S, F, 84, 84) uint8.
            backgrounds: (M, 112, 112, 3) uint8.
            absent_share: share of targets that do not show the object.
        """
        self._images, self._labels, self._backgrounds = images, labels, backgrounds
        self._absent_share = absent_share
        self._first_pixels = ((labels >= 1) & (labels < SECOND_BODY)).sum(axis=(2, 3))
        self._second_pixels = ((labels >= SECOND_BODY)
                               & (labels < FIRST_DISTRACTOR)).sum(axis=(2, 3))
        both = (self._first_pixels > SEEN_PIXELS) & (self._second_pixels > SEEN_PIXELS)
        self._any_pair = bool(both.any())

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
        items = [self._draw_one(rng, targets, keep_share, extras, with_parts)
                 for _ in range(references)]
        pictures, targets_, labels, truths, parts, points = zip(*items, strict=True)
        return Batch(np.stack(pictures), np.stack(targets_), np.stack(labels), np.stack(truths),
                     list(parts), np.stack(points))

    def _draw_one(self, rng: np.random.Generator, targets: int, keep_share: float, extras: int,
                  with_parts: bool) -> tuple[Images, Images, Images, Images, list[Mask],
                                             npt.NDArray[np.int64]]:
        scene, wanted, frame = self._choose(rng, with_parts)
        others = rng.choice([f for f in range(self._images.shape[1]) if f != frame], targets,
                            replace=False)
        mirror = slice(None, None, -1 if rng.random() < 0.5 else 1)
        reference_labels = _object_labels(self._labels[scene, frame], wanted)
        reference = composite(rng, self._images[scene, frame], self._labels[scene, frame],
                              reference_labels > 0, self._backgrounds, 0.75)[:, mirror]
        reference_labels = reference_labels[:, mirror]
        pictures, truths = [], []
        for other in others:
            source = scene
            if rng.random() < self._absent_share:
                source = int(rng.integers(len(self._images)))
            image, labels = self._images[source, other], self._labels[source, other]
            kept = _object_labels(labels, wanted) if source == scene else np.zeros_like(labels)
            keep_bodies = kept > 0 if source == scene else (labels < FLOOR) & (rng.random() < 0.6)
            if keep_bodies.any() and rng.random() < RECOLOURED_SHARE:
                image = _recoloured(rng, image, keep_bodies)
            pictures.append(composite(rng, image, labels, keep_bodies, self._backgrounds,
                                      keep_share)[:, mirror])
            truths.append(kept[:, mirror])
        parts: list[Mask] = []
        if with_parts:
            parts = [_object_labels(reference_labels, body) > 0 for body in ('first', 'second')]
        places = np.argwhere(reference_labels > 0)
        chosen = places[rng.integers(len(places), size=extras - len(parts))]
        return (reference, np.stack(pictures), reference_labels, np.stack(truths), parts,
                np.ascontiguousarray(chosen[:, ::-1]))

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
