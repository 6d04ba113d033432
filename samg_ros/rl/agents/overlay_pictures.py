# SPDX-License-Identifier: Apache-2.0
"""The pictures that SVEA lays over observations: painted ones, or those of a folder.

SVEA takes them from a data set of places. Here the simulator's painted rooms stand in for it, so
that nothing has to be downloaded; a folder of such a data set can be given instead.
"""

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samg_ros.errors import ConfigError, PictureError
from samg_ros.files.pictures import PICTURE_SUFFIXES, read_picture
from samg_ros.sim.visual.backgrounds import ProceduralVideo

PAINTED_VIDEOS = 16
"""Rooms that are painted, a tenth of a second each."""

FRAMES_APART = 97
"""Between two pictures of a room; its camera has wandered elsewhere by then."""

MOST = 1024
"""Pictures that are kept: 22 MB at 84 pixels."""

_SMALLEST_PAINTED = 16
_SMALLEST_SHARE = 0.3
"""Least share of a picture's shorter side that a random crop keeps."""


def load_pictures(folder: str, size: int, seed: int) -> Tensor:
    """Return the pictures to overlay.

    Args:
        folder: holds images, in folders of their own or not; empty paints them. Where there are
            more than MOST, as many are drawn.
        size: side of a picture in pixels.
        seed: of the painting, the drawing and the crops.

    Returns:
        (M, 3, size, size) uint8 RGB.

    Raises:
        ConfigError: if the folder is missing, holds no image, or one that cannot be read.
    """
    rng = np.random.default_rng(seed)
    found = _painted(size, rng) if not folder else _from_folder(Path(folder), size, rng)
    return torch.from_numpy(np.stack(found).transpose(0, 3, 1, 2).copy())


def _painted(size: int, rng: np.random.Generator) -> list[NDArray[np.uint8]]:
    side = max(size, _SMALLEST_PAINTED)
    found = []
    for seed in rng.integers(2**31, size=PAINTED_VIDEOS):
        video = ProceduralVideo(int(seed), side, side)
        found += [
            np.ascontiguousarray(video.frame(FRAMES_APART * i)[:size, :size])
            for i in range(MOST // PAINTED_VIDEOS)
        ]
    return found


def _from_folder(folder: Path, size: int, rng: np.random.Generator) -> list[NDArray[np.uint8]]:
    if not folder.is_dir():
        raise ConfigError(f"overlay_images: there is no folder '{folder}'; give one with images")
    paths = sorted(path for path in folder.rglob('*') if path.suffix.lower() in PICTURE_SUFFIXES)
    if not paths:
        raise ConfigError(
            f"overlay_images: the folder '{folder}' holds no image ({' '.join(PICTURE_SUFFIXES)})"
        )
    if len(paths) > MOST:
        paths = [paths[i] for i in rng.choice(len(paths), MOST, replace=False)]
    return [_crop(path, size, rng) for path in paths]


def _crop(path: Path, size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Read an image and scale a random square of it."""
    try:
        image = read_picture(path)
    except PictureError as error:
        raise ConfigError(f'overlay_images: {error}; remove it') from error
    height, width = image.shape[:2]
    side = max(1, int(min(height, width) * rng.uniform(_SMALLEST_SHARE, 1)))
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    square = image[top : top + side, left : left + side]
    method = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    scaled = cv2.resize(square, (size, size), interpolation=method)
    return np.asarray(cv2.cvtColor(scaled, cv2.COLOR_BGR2RGB), np.uint8)
