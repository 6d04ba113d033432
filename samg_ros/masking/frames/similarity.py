# SPDX-License-Identifier: Apache-2.0
"""Reference features, and where a frame looks like them (DESIGN 4, SAM-G section 3)."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional as F

from samg_ros.errors import EmptyMaskError
from samg_ros.masking.geometry import Geometry
from samg_ros.masking.models.base import Encoding, FeatureMap

SMALLEST_LENGTH = 1e-12  # of a feature, so that an all-zero one is similar to nothing


def region_feature(features: Tensor, mask: Tensor) -> Tensor:
    """Return the unit-length feature that stands for a masked region.

    The mean of the element-wise mean and maximum over the cells inside the mask (SAM-G, type 1).

    Args:
        features: (C, g, g) float, one encoder's map of the reference image.
        mask: (g, g) bool, true inside the region; at least one cell.

    Returns:
        (C,) float, L2-normalised.

    Raises:
        EmptyMaskError: if no cell is inside the mask.
    """
    inside = features[:, mask]
    if inside.shape[1] == 0:
        raise EmptyMaskError('mask: covers no cell of the feature grid; mark a larger region')
    return F.normalize((inside.mean(dim=1) + inside.amax(dim=1)) / 2, dim=0)


def point_feature(features: Tensor, x: float, y: float) -> Tensor:
    """Return the unit-length feature at a point (SAM-G, type 2).

    Bilinear between floor and floor + 1 without a half-cell shift, as the public code reads it.

    Args:
        features: (C, g, g) float, one encoder's map of the reference image.
        x: column in cells, 0 .. g.
        y: row in cells, 0 .. g.

    Returns:
        (C,) float, L2-normalised.
    """
    last = features.shape[-1] - 1
    left, top = min(int(x), last), min(int(y), last)
    right, bottom = min(left + 1, last), min(top + 1, last)
    u, v = x - left, y - top
    above = (1 - u) * features[:, top, left] + u * features[:, top, right]
    below = (1 - u) * features[:, bottom, left] + u * features[:, bottom, right]
    return F.normalize((1 - v) * above + v * below, dim=0)


def cell_mask(mask: Tensor, feature_map: FeatureMap, geometry: Geometry) -> Tensor:
    """Return the cells of a feature grid that a frame-sized mask covers.

    A cell belongs to the region when at least half of it does; a region thinner than that keeps
    the cells it covers most, so that no marked region is lost. SAM-G's code takes every cell that
    the region touches; those at its rim show mostly what is beside it.

    Args:
        mask: (H, W) bool.
        feature_map: the map whose grid is meant.
        geometry: of the frame.

    Returns:
        (g, g) bool with at least one true cell if the mask has any.
    """
    grid = feature_map.maps.shape[-1]
    extent = geometry.input_size if feature_map.padded else (geometry.image_size,) * 2
    rows, columns = (max(1, round(side * grid / geometry.image_size)) for side in extent)
    pixels = mask[None, None].float()
    cover = F.interpolate(pixels, (rows, columns), mode='bilinear', antialias=True,
                          align_corners=False)[0, 0]
    threshold = torch.clamp(cover.max() / 2, max=0.5)
    cells = torch.zeros(grid, grid, dtype=torch.bool, device=mask.device)
    cells[:rows, :columns] = (cover >= threshold) & (cover > 0)
    return cells


def cosines(wanted: Tensor, feature_map: FeatureMap) -> Tensor:
    """Return (N, R, g, g): cosine of unit-length features (R, C) or (N, R, C) with every cell."""
    cells = feature_map.maps.flatten(2)
    length = cells.norm(dim=1, keepdim=True).clamp(min=SMALLEST_LENGTH)
    return (wanted @ cells / length).unflatten(-1, feature_map.maps.shape[2:])


def to_frame(maps: Tensor, padded: bool, geometry: Geometry) -> Tensor:
    """Resize (..., g, g) maps of a feature grid, see FeatureMap.padded, to (..., H, W)."""
    return geometry.padded_to_frame(maps) if padded \
        else geometry.stretched_to_frame(maps)


def similarity_maps(encoding: Encoding, features: dict[str, Tensor],
                    geometry: Geometry) -> Tensor:
    """Return how much every pixel looks like every reference feature.

    Cosine similarity per encoder, resized to the frame, averaged over the encoders. Maps of the
    same grid are averaged before they are resized, which is linear.

    Args:
        encoding: of N frames.
        features: per encoder (R, C) or (N, R, C) float, L2-normalised: the reference features.
        geometry: of the frames.

    Returns:
        (N, R, H, W) float in -1 .. 1.
    """
    averaged: dict[tuple[int, bool], Tensor] = {}
    for name, wanted in features.items():
        feature_map = encoding.maps[name]
        grid = feature_map.maps.shape[-1], feature_map.padded
        share = cosines(wanted, feature_map) / len(features)
        averaged[grid] = averaged[grid] + share if grid in averaged else share
    resized = [to_frame(maps, padded, geometry) for (_, padded), maps in averaged.items()]
    return reduce(torch.add, resized)


def combine_references(maps: Tensor, counts: tuple[int, ...], how: str) -> Tensor:
    """Make one map per prompt of the maps of several references.

    Args:
        maps: (N, F, H, W) float; the maps of one prompt lie side by side.
        counts: how many maps each prompt has, F together.
        how: 'max' or 'mean', pixel by pixel.

    Returns:
        (N, len(counts), H, W) float; `maps` itself where every prompt has one.
    """
    if len(counts) == maps.shape[1]:
        return maps
    parts = maps.split(counts, dim=1)
    return torch.stack([part.amax(dim=1) if how == 'max' else part.mean(dim=1)
                        for part in parts], dim=1)
