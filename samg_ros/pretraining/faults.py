# SPDX-License-Identifier: Apache-2.0
"""What cameras do to pictures, drawn at random: blur, colour, exposure, noise, compression."""

from __future__ import annotations

from collections.abc import Collection

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]

FAULTS = ('blur', 'resolution', 'white_balance', 'exposure', 'tone_curve', 'saturation', 'noise',
          'jpeg')
"""Names, in the order in which a camera makes them, from the lens to the file."""


def camera_picture(rng: np.random.Generator, image: Image,
                   left_out: Collection[str] = ()) -> Image:
    """Return a picture with random faults of a camera, applied in the order of FAULTS.

    A fault that is left out is drawn all the same, so the other faults, and whatever is drawn
    later, are those of the picture with all faults.

    Args:
        rng: source of randomness.
        image: (H, W, 3) uint8 RGB.
        left_out: those of FAULTS that are not applied.
    """
    def faulty(name: str, changed: Image) -> Image:
        return image if name in left_out else changed

    if rng.random() < 0.35:
        image = faulty('blur', _blurred(rng, image))
    if rng.random() < 0.15:
        image = faulty('resolution', _coarse(rng, image))
    if rng.random() < 0.5:
        image = _developed(rng, image, left_out)
    if rng.random() < 0.4:
        image = faulty('noise', _noisy(rng, image))
    if rng.random() < 0.6:
        image = faulty('jpeg', _compressed(rng, image))
    return image


def _blurred(rng: np.random.Generator, image: Image) -> Image:
    """Out of focus, or moved along a line."""
    if rng.random() < 0.7:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 2)), np.uint8)
    length = int(rng.integers(2, 6))
    kernel = np.zeros((length, length), np.float32)
    cv2.line(kernel, (0, int(rng.integers(length))), (length - 1, int(rng.integers(length))), 1)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.uint8)


def _coarse(rng: np.random.Generator, image: Image) -> Image:
    """Of fewer pixels than it has: a cheap sensor, a window of a larger picture."""
    size = image.shape[1::-1]
    fewer = [max(1, round(side / np.exp(rng.uniform(0.2, 1)))) for side in size]
    small = cv2.resize(image, fewer, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def _developed(rng: np.random.Generator, image: Image, left_out: Collection[str]) -> Image:
    """Another white balance, exposure, tone curve and saturation."""
    def factor(name: str, deviation: float, channels: int = 1) -> npt.NDArray[np.float64]:
        drawn = np.exp(rng.normal(0, deviation, channels))
        return np.ones(channels) if name in left_out else drawn

    values = image * (factor('white_balance', 0.06, 3) * factor('exposure', 0.15))
    values = 255 * (np.clip(values, 0, 255) / 255) ** factor('tone_curve', 0.25)
    grey = values.mean(axis=2, keepdims=True)
    return _clipped(grey + (values - grey) * factor('saturation', 0.15))


def _noisy(rng: np.random.Generator, image: Image) -> Image:
    """Normal noise of 1 to 14 grey levels."""
    noise = rng.normal(0, np.exp(rng.uniform(np.log(1), np.log(14))), image.shape)
    return _clipped(image + noise)


def _compressed(rng: np.random.Generator, image: Image) -> Image:
    """JPEG with half the colour resolution, as libjpeg, OpenCV and ROS's transports write it."""
    _, code = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 98))])
    return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)


def _clipped(values: npt.NDArray[np.floating]) -> Image:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)
