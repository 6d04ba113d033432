# SPDX-License-Identifier: Apache-2.0
"""From a model's grids to the frame and back, as matrices.

Bilinear resizing is linear and separable, so a whole chain of it (grid -> 256 -> 1024 -> without
the padding -> frame; DESIGN 4) is one matrix for the rows and one for the columns, made once per
frame size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ParamSpec, TypeVar, cast

import torch
from torch import Tensor
from torch.nn import functional as F

Args = ParamSpec('Args')
Made = TypeVar('Made')


def resize_matrix(source: int, target: int, antialias: bool = False) -> Tensor:
    """Return (target, source) float32: bilinear resizing of a line, corners not aligned."""
    eye = torch.eye(source)[None, :, :, None]  # one channel per source sample, along the rows
    return F.interpolate(eye, size=(target, 1), mode='bilinear', align_corners=False,
                         antialias=antialias)[0, :, :, 0].T


def scaled_size(height: int, width: int, longer_side: int) -> tuple[int, int]:
    """Return (rows, columns) of a frame that is scaled to this longer side, in pixels."""
    scale = longer_side / max(height, width)
    return int(height * scale + 0.5), int(width * scale + 0.5)


@dataclass(frozen=True)
class Geometry:
    """How frames of one size lie in a model's square input.

    The frame's longer side is scaled to `image_size`; the rest is padding at the bottom or right
    (segment_anything's ResizeLongestSide). A model that stretches frames has no padding.

    Attributes:
        height: rows of a frame.
        width: columns of a frame.
        image_size: side of the model's input; prompt coordinates are in its pixels.
        mask_size: side of the model's low-resolution logits, padding included.
        grid_size: side of the feature maps.
        device: where the matrices live.
        stretched: whether both sides are scaled to `image_size` (SAM 2).
    """

    height: int
    width: int
    image_size: int
    mask_size: int
    grid_size: int
    device: torch.device
    stretched: bool = False

    @property
    def input_size(self) -> tuple[int, int]:
        """(rows, columns) of the scaled frame in the model's input, without padding."""
        if self.stretched:
            return self.image_size, self.image_size
        return scaled_size(self.height, self.width, self.image_size)

    @property
    def of_mask(self) -> Geometry:
        """The same frames shrunk or enlarged to the low-resolution logits, without the padding.

        Nothing that a model sees is finer, and maps of large frames cost as little as of small.
        """
        rows, columns = (max(1, round(side * self.mask_size / self.image_size))
                         for side in self.input_size)
        return replace(self, height=rows, width=columns)

    def points_to_frame(self, points: Tensor) -> Tensor:
        """Return (..., 2) int [x, y] pixels of a frame of those of `of_mask`."""
        return ((points + 0.5) * _of_mask_scale(self)).floor().to(points.dtype)

    @property
    def prompt_scale(self) -> Tensor:
        """(4,) float factors x, y, x, y from frame pixels to prompt coordinates."""
        return _prompt_scale(self)

    def padded_to_frame(self, maps: Tensor) -> Tensor:
        """Resize (..., s, s) maps over the padded square to (..., H, W)."""
        rows, columns = _padded_matrices(self, maps.shape[-1])
        return rows @ maps @ columns.T

    def stretched_to_frame(self, maps: Tensor) -> Tensor:
        """Resize (..., g, g) maps over the frame itself, stretched to a square, to (..., H, W)."""
        rows, columns = _stretched_matrices(self)
        return rows @ maps @ columns.T

    def frame_to_mask(self, maps: Tensor) -> Tensor:
        """Resize (..., H, W) maps to (..., m, m) low-resolution logits, zero in the padding."""
        rows, columns = _mask_matrices(self)
        return rows @ maps @ columns.T


def _chain(*sizes: int) -> Tensor:
    matrix = torch.eye(sizes[0])
    for source, target in zip(sizes, sizes[1:], strict=False):
        if source != target:
            matrix = resize_matrix(source, target) @ matrix
    return matrix


def _kept(make: Callable[Args, Made]) -> Callable[Args, Made]:
    """Keep what a function made, which outlives the call that asks first: made as if outside of it.

    So it is no inference tensor, and in float32 whatever the caller computes in.
    """
    outside = torch.inference_mode(False)(torch.autocast('cpu', enabled=False)(make))
    return cast(Callable[Args, Made], lru_cache(maxsize=32)(outside))


@_kept
def _prompt_scale(geometry: Geometry) -> Tensor:
    rows, columns = geometry.input_size
    scale = (columns / geometry.width, rows / geometry.height)
    return torch.tensor(scale * 2, device=geometry.device)


@_kept
def _of_mask_scale(geometry: Geometry) -> Tensor:
    small = geometry.of_mask
    return torch.tensor((geometry.width / small.width, geometry.height / small.height),
                        device=geometry.device)


@_kept
def _padded_matrices(geometry: Geometry, size: int) -> tuple[Tensor, Tensor]:
    chain = _chain(size, geometry.mask_size, geometry.image_size)
    rows, columns = geometry.input_size
    return (_chain(rows, geometry.height) @ chain[:rows]).to(geometry.device), \
        (_chain(columns, geometry.width) @ chain[:columns]).to(geometry.device)


@_kept
def _stretched_matrices(geometry: Geometry) -> tuple[Tensor, Tensor]:
    chain = _chain(geometry.grid_size, geometry.mask_size, geometry.image_size)
    return (_chain(geometry.image_size, geometry.height) @ chain).to(geometry.device), \
        (_chain(geometry.image_size, geometry.width) @ chain).to(geometry.device)


@_kept
def _mask_matrices(geometry: Geometry) -> tuple[Tensor, Tensor]:
    matrices = []
    for extent, side in zip(geometry.input_size, (geometry.height, geometry.width), strict=True):
        valid = max(1, round(extent * geometry.mask_size / geometry.image_size))
        matrix = torch.zeros(geometry.mask_size, side)
        matrix[:valid] = _chain(side, valid)
        matrices.append(matrix.to(geometry.device))
    return matrices[0], matrices[1]
