# SPDX-License-Identifier: Apache-2.0
"""What a camera does to a picture, one effect at a time with one strength each.

A degradation is written `kind:strength`, such as `jpeg:80`; `+` joins several, applied in order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from samg_ros.errors import ConfigError

Image = npt.NDArray[np.uint8]


def _jpeg(image: Image, quality: float, rng: np.random.Generator) -> Image:
    _, data = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def _white_balance(image: Image, share: float, rng: np.random.Generator) -> Image:
    """More red and less blue by a share: a warmer light than the camera assumes."""
    return _clipped(image * np.array([1 + share, 1, 1 - share]))


def _gamma(image: Image, gamma: float, rng: np.random.Generator) -> Image:
    return _clipped(255 * (image / 255) ** gamma)


def _noise(image: Image, deviation: float, rng: np.random.Generator) -> Image:
    return _clipped(image + rng.normal(0, deviation, image.shape))


def _blur(image: Image, deviation: float, rng: np.random.Generator) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), deviation), np.uint8)


def _clipped(values: npt.NDArray[np.floating]) -> Image:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


_Effect = Callable[[Image, float, np.random.Generator], Image]
_KINDS: dict[str, tuple[_Effect, float, float, str]] = {
    'jpeg': (_jpeg, 1, 100, 'quality'),
    'white_balance': (_white_balance, 0, 1, 'share of red added and of blue taken'),
    'gamma': (_gamma, 0.1, 10, 'exponent; above 1 is darker'),
    'noise': (_noise, 0, 255, 'standard deviation in grey levels'),
    'blur': (_blur, 0.1, 50, 'standard deviation in pixels')}
"""Kind -> function, lowest and highest strength, what the strength is."""


@dataclass(frozen=True)
class Degradation:
    """Effects of a camera, applied in order."""

    steps: tuple[tuple[str, float], ...]
    """Kind and strength."""

    def __str__(self) -> str:
        return '+'.join(f'{kind}:{strength:g}' for kind, strength in self.steps)

    def apply(self, image: Image, rng: np.random.Generator) -> Image:
        """Return a degraded copy of a (H, W, 3) uint8 RGB image."""
        for kind, strength in self.steps:
            image = _KINDS[kind][0](image, strength, rng)
        return image


def parse_degradations(text: str) -> list[Degradation]:
    """Return the degradations of a list such as `jpeg:80,noise:8+blur:1.5`.

    Raises:
        ConfigError: for an unknown kind or a strength out of range.
    """
    return [Degradation(tuple(map(_parse_step, each.split('+')))) for each in text.split(',')]


def _parse_step(text: str) -> tuple[str, float]:
    kind, _, number = text.strip().partition(':')
    if kind not in _KINDS:
        raise ConfigError(f"there is no degradation '{kind}'; known are "
                          f'{", ".join(f"{name} ({each[3]})" for name, each in _KINDS.items())}')
    _, low, high, what = _KINDS[kind]
    try:
        strength = float(number)
    except ValueError:
        strength = float('nan')
    if not low <= strength <= high:
        raise ConfigError(f"degradation '{text}': {what} must be a number from {low:g} to {high:g}")
    return kind, strength


def recolour(images: npt.NDArray[np.uint8], truths: npt.NDArray[np.bool_],
             episodes: npt.NDArray[np.integer], strength: float, seed: int
             ) -> npt.NDArray[np.uint8]:
    """Return frames whose object has other colours: each channel times 1 - s to 1 + s.

    Args:
        images: (N, H, W, 3) uint8 RGB.
        truths: (N, H, W) bool, the object.
        episodes: (N,) int; the frames of an episode share the colour.
        strength: s, from 0 to 1.
        seed: of the colours.
    """
    images = images.copy()
    for episode in np.unique(episodes):
        factors = np.random.default_rng([seed, int(episode)]).uniform(1 - strength, 1 + strength, 3)
        for index in np.flatnonzero(episodes == episode):
            on = truths[index]
            images[index][on] = _clipped(images[index][on] * factors)
    return images


def degraded(images: Sequence[Image], degradation: Degradation, seed: int) -> list[Image]:
    """Return degraded copies of frames; the noise of each depends on seed and place alone."""
    return [degradation.apply(np.ascontiguousarray(image), np.random.default_rng([seed, index]))
            for index, image in enumerate(images)]
