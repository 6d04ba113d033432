# SPDX-License-Identifier: Apache-2.0
"""The colours of the `color_*` settings: DMC-GB's lists from JSON, or drawn like them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from samg_ros.errors import ConfigError
from samg_ros.files.schema import read_json

Colour = tuple[float, float, float]

_KEYS = ('self_rgb', 'grid_rgb1', 'grid_rgb2', 'skybox_rgb')
_GRID_STEP = 0.1
"""By how much the second colour of the floor is lighter, in both of DMC-GB's lists."""

_MEANS = {'self_rgb': (0.70, 0.49, 0.31), 'grid_rgb1': (0.11, 0.22, 0.28),
          'skybox_rgb': (0.41, 0.58, 0.79)}
_SPREAD = {'color_easy': 0.10, 'color_hard': 0.18}
"""Means and standard deviations of DMC-GB's two lists of 100 colours."""


@dataclass(frozen=True)
class Colours:
    """One set of colours, each RGB in 0..1."""

    body: Colour
    floor: tuple[Colour, Colour]
    sky: Colour


class ColourList:
    """Colours in random order, a new set at every reset.

    Args:
        name: `color_easy` or `color_hard`.
        path: a JSON file, or a folder that holds `<name>.json`; None draws colours with the mean
            and spread of DMC-GB's lists.
        seed: of the order, or of the colours.

    Raises:
        ConfigError: if the file is missing or is not such a list.
    """

    def __init__(self, name: str, path: str | Path | None, seed: int) -> None:
        self._spread = _SPREAD[name]
        self._listed = None if path is None else _read(Path(path), name)
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Begin again with another order, or with other colours."""
        self._rng = np.random.default_rng(seed)

    def draw(self) -> Colours:
        """Return the set of colours for the next episode."""
        if self._listed is not None:
            return self._listed[self._rng.integers(len(self._listed))]
        body, floor, sky = (self._rng.normal(mean, self._spread) for mean in _MEANS.values())
        return Colours(_colour(body), (_colour(floor), _colour(np.clip(floor, 0, 1) + _GRID_STEP)),
                       _colour(sky))


def _colour(values: npt.ArrayLike) -> Colour:
    red, green, blue = np.clip(np.asarray(values, dtype=float), 0, 1).tolist()
    return red, green, blue


class _Entry(Struct):
    """One entry of DMC-GB's lists of colours."""

    self_rgb: tuple[float, float, float]
    grid_rgb1: tuple[float, float, float]
    grid_rgb2: tuple[float, float, float]
    skybox_rgb: tuple[float, float, float]


def _read(path: Path, name: str) -> tuple[Colours, ...]:
    file = path / f'{name}.json' if path.is_dir() else path
    entries = read_json(file, list[_Entry], ConfigError)
    colours = tuple(Colours(_colour(entry.self_rgb),
                            (_colour(entry.grid_rgb1), _colour(entry.grid_rgb2)),
                            _colour(entry.skybox_rgb)) for entry in entries)
    if not colours:
        raise ConfigError(f"'{file}' lists no colours")
    return colours
