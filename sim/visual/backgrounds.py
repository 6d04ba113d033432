# SPDX-License-Identifier: Apache-2.0
"""Procedural video backgrounds, so that `video_*` settings and training need no data.

A frame is a moving window on a large painted canvas: walls, planks, windows, shelves, cushions,
plants, blinds and lettering over multi-scale noise. Painting happens once per video; a frame is
one affine warp, about 0.1 ms at 84 x 84.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from samg_ros.errors import InvalidInputError

Image = npt.NDArray[np.uint8]
Field = npt.NDArray[np.float32]

CANVAS_SCALE = 2.0
"""Side of the canvas in frames: how far the window can travel."""


def fractal_noise(rng: np.random.Generator, height: int, width: int, octaves: int = 5,
                  persistence: float = 0.55) -> Field:
    """Return multi-scale value noise.

    Args:
        rng: source of randomness.
        height: rows.
        width: columns.
        octaves: number of scales; the coarsest has 3 cells across, each next one twice as many.
        persistence: amplitude ratio of one scale to the one before.

    Returns:
        (height, width) float32 with mean 0 and standard deviation 1.
    """
    field = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        cells = 3 * 2**octave
        grid = rng.standard_normal((cells + 1, cells + 1), dtype=np.float32)
        field += persistence**octave * cv2.resize(grid, (width, height),
                                                  interpolation=cv2.INTER_CUBIC)
    return (field - field.mean()) / (field.std() + 1e-6)


def _hsv(hue: float, saturation: float, value: float) -> Field:
    """Return an RGB colour, float32 in 0..255, from hue in turns and the others in 0..1."""
    pixel = np.array([[[hue % 1.0 * 360, saturation, value]]], np.float32)
    return cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0] * 255


def random_colour(rng: np.random.Generator) -> Field:
    """Return an RGB colour, float32 in 0..255: mostly what is found indoors, sometimes anything.

    A quarter each: near-grey of any brightness, warm woods and fabrics, muted, any colour.
    """
    kind = rng.integers(4)
    if kind == 0:
        return _hsv(rng.random(), rng.uniform(0, 0.15), rng.uniform(0.05, 1))
    if kind == 1:
        return _hsv(rng.uniform(0.02, 0.13), rng.uniform(0.2, 0.9), rng.uniform(0.15, 0.95))
    if kind == 2:
        return _hsv(rng.random(), rng.uniform(0.1, 0.5), rng.uniform(0.1, 0.9))
    return _hsv(rng.random(), rng.uniform(0.3, 1), rng.uniform(0.2, 1))


def _surface(rng: np.random.Generator, height: int, width: int) -> Field:
    """Return (height, width, 3) float32: one material (plain, gradient, grain, tiles, stripes)."""
    colour = random_colour(rng)
    surface = np.broadcast_to(colour, (height, width, 3)).astype(np.float32)
    ramp = np.linspace(-1, 1, width, dtype=np.float32)[None, :] * rng.normal(0, 0.15) + np.linspace(
        -1, 1, height, dtype=np.float32)[:, None] * rng.normal(0, 0.15)
    surface = surface * (1 + ramp)[..., None]
    kind = rng.integers(6)
    if kind == 1:  # noise
        noise = fractal_noise(rng, height, width, int(rng.integers(3, 7)), rng.uniform(0.4, 0.9))
        surface = surface + noise[..., None] * rng.uniform(3, 35)
    elif kind == 2:  # wood grain: noise stretched along one axis
        long_side = max(height, width)
        grain = fractal_noise(rng, max(8, long_side // int(rng.integers(6, 30))), long_side, 6, 0.8)
        grain = cv2.resize(grain, (width, height)) if rng.random() < 0.5 else cv2.resize(
            np.ascontiguousarray(grain.T), (width, height))
        surface = surface * (1 + grain[..., None] * rng.uniform(0.03, 0.2))
    elif kind == 3:  # tiles, planks, blinds
        other = random_colour(rng) if rng.random() < 0.4 else colour * rng.uniform(0.4, 1.5)
        period = rng.uniform(3, 24)
        x = np.arange(width, dtype=np.float32)[None, :]
        y = np.arange(height, dtype=np.float32)[:, None]
        angle = rng.choice([0.0, np.pi / 2, rng.uniform(0, np.pi)])
        phase = (x * np.cos(angle) + y * np.sin(angle)) / period
        pattern = (phase % 1) < rng.uniform(0.1, 0.9)
        if rng.random() < 0.4:
            across = (y * np.cos(angle) - x * np.sin(angle)) / (period * rng.uniform(0.7, 4))
            pattern = pattern ^ ((across % 1) < rng.uniform(0.1, 0.9))
        surface = np.where(pattern[..., None], other.astype(np.float32), surface)
    elif kind == 4:  # blotches: fabrics, stone, foliage
        noise = fractal_noise(rng, height, width, int(rng.integers(3, 7)), rng.uniform(0.5, 1))
        other = random_colour(rng)
        blotch = (noise > rng.normal(0, 0.7))[..., None]
        surface = np.where(blotch, other.astype(np.float32), surface)
    return surface


def _shape_mask(rng: np.random.Generator, height: int, width: int) -> Field:
    """Return (height, width) float32 in 0..1: a quadrilateral, ellipse, polyline or polygon."""
    mask = np.zeros((height, width), np.uint8)
    side = min(height, width)
    size = side * np.exp(rng.uniform(np.log(0.03), np.log(0.7)))
    centre = rng.uniform((0, 0), (width, height))
    kind = rng.integers(7)
    if kind <= 2:  # box seen in slight perspective
        aspect = np.exp(rng.normal(0, 0.7))
        half = np.array([size * aspect**0.5, size / aspect**0.5]) / 2
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
        corners = corners * rng.uniform(0.8, 1.2, (4, 1)) if rng.random() < 0.5 else corners
        angle = rng.normal(0, 0.1) if rng.random() < 0.7 else rng.uniform(0, np.pi)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        cv2.fillPoly(mask, [np.int32(corners @ turn.T + centre)], 255, cv2.LINE_AA)
    elif kind == 3:
        axes = np.maximum(1, np.int32(size / 2 * np.exp(rng.normal(0, 0.4, 2))))
        cv2.ellipse(mask, np.int32(centre).tolist(), axes.tolist(), rng.uniform(0, 180), 0, 360,
                    255, -1, cv2.LINE_AA)
    elif kind == 4:  # legs, branches, cables, frames
        steps = rng.normal(0, size * 0.6, (int(rng.integers(2, 7)), 2))
        thickness = int(np.clip(size * rng.uniform(0.02, 0.2), 1, 24))
        path = np.int32(centre + np.cumsum(steps, axis=0))
        cv2.polylines(mask, [path], bool(rng.random() < 0.3), 255, thickness, cv2.LINE_AA)
    elif kind == 5:  # plants, cushions: a star-shaped outline
        count = int(rng.integers(5, 16))
        angles = np.sort(rng.uniform(0, 2 * np.pi, count))
        radius = size / 2 * rng.uniform(0.3, 1.2, count)
        outline = centre + np.stack([np.cos(angles), np.sin(angles)], 1) * radius[:, None]
        cv2.fillPoly(mask, [np.int32(outline)], 255, cv2.LINE_AA)
    else:  # lettering
        text = ''.join(chr(rng.integers(65, 91)) for _ in range(rng.integers(1, 8)))
        cv2.putText(mask, text, np.int32(centre).tolist(), int(rng.integers(0, 4)),
                    size / 60 + 0.2, 255, int(rng.integers(1, 4)), cv2.LINE_AA)
    if rng.random() < 0.3:
        sigma = rng.uniform(0.3, 0.06 * size + 0.4)
        mask = cv2.GaussianBlur(mask, (0, 0), sigma)
    return mask.astype(np.float32) / np.float32(255)


def paint_canvas(rng: np.random.Generator, height: int, width: int) -> Image:
    """Paint one cluttered still picture.

    Args:
        rng: source of randomness.
        height: rows.
        width: columns.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    canvas = _surface(rng, height, width)
    for _ in range(int(rng.integers(0, 3))):  # walls, floor, ceiling
        edge = np.array([[-0.1, rng.uniform(0, 1)], [1.1, rng.uniform(0, 1)], [1.1, 1.1],
                         [-0.1, 1.1]]) * (width, height)
        if rng.random() < 0.5:
            edge = edge[:, ::-1] * (width / height, height / width)
        region = np.zeros((height, width), np.uint8)
        cv2.fillPoly(region, [np.int32(edge)], 1)
        canvas = np.where(region[..., None] > 0, _surface(rng, height, width), canvas)
    for _ in range(int(rng.integers(4, 45))):
        mask = _shape_mask(rng, height, width)
        if rng.random() < 0.3:  # a soft shadow below the thing
            moved = np.roll(mask, tuple(rng.integers(0, 7, 2)), (0, 1))
            shadow = cv2.GaussianBlur(moved, (0, 0), rng.uniform(1, 5))
            canvas = canvas * (1 - rng.uniform(0.1, 0.6) * shadow[..., None])
        canvas += (_surface(rng, height, width) - canvas) * mask[..., None]
    light = fractal_noise(rng, height, width, 2) * rng.uniform(0, 0.3)
    canvas = canvas * (1 + light[..., None])
    for _ in range(int(rng.integers(0, 3))):  # lamps and window glare
        spot = np.zeros((height, width), np.float32)
        centre = np.int32(rng.uniform((0, 0), (width, height)))
        radius = int(min(height, width) * rng.uniform(0.02, 0.15)) + 1
        cv2.circle(spot, centre.tolist(), radius, 1.0, -1)
        canvas = canvas + cv2.GaussianBlur(spot, (0, 0), radius)[..., None] * rng.uniform(50, 300)
    picture = np.clip(canvas, 0, 255).astype(np.uint8)
    if rng.random() < 0.6:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.6))
    quality = int(rng.integers(15, 95))  # what video compression leaves
    _, code = cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)


class ProceduralVideo:
    """An endless video of a cluttered place, seen by a wandering camera.

    The same seed and size give the same frames, in any order, on any machine with the same
    OpenCV.
    """

    def __init__(self, seed: int, height: int = 84, width: int = 84) -> None:
        """Paint the canvas and draw the camera's path.

        Args:
            seed: non-negative; one video per seed.
            height: rows of a frame, at least 16.
            width: columns of a frame, at least 16.

        Raises:
            InvalidInputError: if the seed is negative or a side is below 16.
        """
        if seed < 0 or min(height, width) < 16:
            raise InvalidInputError(
                f'procedural video: seed {seed} and size {height} x {width} must be at least 0 '
                'and 16 x 16; give a non-negative seed and a larger size')
        rng = np.random.default_rng([seed, 0x5A4D])
        self.height = height
        self.width = width
        # Painted at a fixed scale, so that a large frame shows the same place as a small one.
        self._canvas = paint_canvas(rng, 224, int(round(224 * min(4.0, max(0.25, width / height)))))
        self._zoom = rng.uniform(0.8, 1.0, 1) / CANVAS_SCALE
        self._frequency = rng.uniform(0.002, 0.02, (3, 2))  # cycles a frame
        self._phase = rng.uniform(0, 2 * np.pi, (3, 2))
        self._flicker = float(rng.uniform(0, 0.06))

    def frame(self, index: int) -> Image:
        """Return one frame.

        Args:
            index: frame number, 0 or more.

        Returns:
            (height, width, 3) uint8 RGB.
        """
        wave = np.sin(2 * np.pi * self._frequency * index + self._phase)
        rows, columns = self._canvas.shape[:2]
        zoom = float(self._zoom[0]) * (1 + 0.15 * wave[2, 0])
        scale = zoom * np.array([columns / self.width, rows / self.height])
        angle = 0.08 * wave[2, 1]
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        linear = turn * scale[None, :]
        room = np.array([columns, rows]) * (1 - zoom) / 2 * 0.9
        centre = np.array([columns, rows]) / 2 + room * (0.7 * wave[0] + 0.3 * wave[1])
        offset = centre - linear @ (np.array([self.width, self.height]) / 2)
        picture = cv2.warpAffine(self._canvas, np.column_stack([linear, offset]),
                                 (self.width, self.height),
                                 flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                                 borderMode=cv2.BORDER_REFLECT)
        gain = 1 + self._flicker * wave[1, 0]
        return np.asarray(cv2.convertScaleAbs(picture, alpha=gain), np.uint8)
