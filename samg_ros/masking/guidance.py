# SPDX-License-Identifier: Apache-2.0
"""What the decoder is told beside points: maps of where the object may be, as PerSAM guides.

Three maps, from the coarse to the fine. 'region' is the method's own: how much a pixel looks like
the one feature that stands for the object. 'dense': like the cell of the object that it looks like
most, for one mean cannot stand for an object of many parts (the dense matching of arXiv 2305.13310,
one way only). 'colour': how usual its colour is on the object, for a feature grid is too coarse for
a pole of two pixels. The nearest colour would not do: the rim of an object has those of what was
behind it, but few of each.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

from samg_ros.masking.geometry import Geometry
from samg_ros.masking.models.base import Encoding, FeatureMap
from samg_ros.masking.settings import SIMILARITY_PROMPTS
from samg_ros.masking.similarity import cell_mask, cosines, to_frame

SAMPLES = 64
"""So many cells and colours of a reference are compared with, spread evenly over its object."""
COLOUR_WIDTH = 0.005
"""Standard deviation of the Gaussian that every colour of an object stands for."""
COLOUR_DECADES = 3.0
"""A colour so many powers of ten rarer than the object's middling one is not similar at all."""

_FAINT = -20.0
"""Exponent below which a kernel counts for nothing; e to the -90 takes a CPU ten times longer."""


@dataclass(frozen=True)
class Samples:
    """What of an object every pixel is compared with; leading axes as needed.

    Attributes:
        cells: (..., SAMPLES, C) float, L2-normalised features.
        colours: (..., SAMPLES, 3) float, chromaticities.
        area: (...) float, the object's share of its picture.
    """

    cells: Tensor
    colours: Tensor
    area: Tensor

    @classmethod
    def read(cls, encoding: Encoding, index: int, names: Collection[str], mask: Tensor,
             geometry: Geometry) -> Samples:
        """Read them off an encoded picture.

        Args:
            encoding: of N pictures.
            index: which of them.
            names: encoders in use; without 'dino' cells are of the segmenter's embedding.
            mask: (H, W) bool, the object; at least one pixel.
            geometry: of the picture.
        """
        matched = encoding.maps[_matched(names)]
        cells = _spread(matched.maps[index], cell_mask(mask, matched, geometry))
        colours = encoding.colours[index]
        return cls(F.normalize(cells, dim=1), _spread(colours, _cover(mask, colours.shape[1:])),
                   mask.float().mean())

    @classmethod
    def stack(cls, items: Collection[Samples]) -> Samples:
        """Return the items along a new first axis."""
        return cls(*(torch.stack([getattr(one, field.name) for one in items])
                     for field in fields(cls)))


def _matched(names: Collection[str]) -> str:
    return 'dino' if 'dino' in names else 'sam'


def _spread(maps: Tensor, mask: Tensor) -> Tensor:
    """Return (SAMPLES, C) of (C, h, w) where (h, w) is true, in reading order; few come twice."""
    inside = maps[:, mask].T
    chosen = torch.linspace(0, len(inside) - 1, SAMPLES, device=inside.device).round().long()
    return inside[chosen]


def _cover(mask: Tensor, size: torch.Size) -> Tensor:
    """Return a (H, W) bool mask at another size; as thin as the object is, some of it is left."""
    if mask.shape == size:
        return mask
    share = F.interpolate(mask[None, None].float(), size, mode='bilinear', antialias=True,
                          align_corners=False)[0, 0]
    return share >= share.max() * 0.9


def guide(kind: str, region: Tensor, encoding: Encoding, samples: Samples, names: Collection[str],
          geometry: Geometry, combined: Callable[[Tensor], Tensor] = lambda maps: maps,
          ) -> Tensor | None:
    """Return the maps that the decoder is given, or None.

    Args:
        kind: one of SIMILARITY_PROMPTS: 'off', or the finest map that is given.
        region: (N, H, W) float, similarity with the object's one feature.
        encoding: of N frames.
        samples: with leading axes (O,) or (N, O).
        names: encoders in use.
        geometry: of the frames.
        combined: makes (N, 1, H, W) of the (N, O, H, W) of one map.

    Returns:
        (N, C, H, W) float in -1 .. 1; C is 1 for 'region', 2 for 'dense', 3 for 'colour'.
    """
    level = SIMILARITY_PROMPTS.index(kind)
    if not level:
        return None
    maps = [region[:, None]]
    if level > 1:
        maps.append(combined(dense_similarity(encoding.maps[_matched(names)], samples.cells,
                                              geometry)))
    if level > 2:
        maps.append(combined(colour_similarity(encoding.colours, samples.colours, geometry)))
    return torch.cat(maps, dim=1)


def guided(similarity: Tensor, told: Tensor | None) -> Tensor:
    """Return similarity maps with the mean of what the decoder is told in the object's place.

    There its prompts are found: what looks like the object, has its parts and its colours.

    Args:
        similarity: (N, R, H, W) float; the first map is the object's.
        told: from `guide`.
    """
    if told is None:
        return similarity
    return torch.cat([told.mean(dim=1, keepdim=True), similarity[:, 1:]], dim=1)


def dense_similarity(feature_map: FeatureMap, cells: Tensor, geometry: Geometry) -> Tensor:
    """Return (N, O, H, W) float in -1 .. 1: cosine with the most similar of each object's cells.

    Args:
        feature_map: (N, C, g, g) float.
        cells: (O, K, C) float, or (N, O, K, C), L2-normalised.
        geometry: of the frames.
    """
    found = cosines(cells.flatten(-3, -2), feature_map).unflatten(1, cells.shape[-3:-1])
    return to_frame(found.amax(dim=2), feature_map.padded, geometry)


@torch.no_grad()
def colour_similarity(pixels: Tensor, colours: Tensor, geometry: Geometry) -> Tensor:
    """Return (N, O, H, W) float in 0 .. 1: how usual every pixel's colour is on each object.

    The logarithm of a kernel density estimate over the object's colours, between COLOUR_DECADES
    below the median density of these colours themselves, 0, and that, 1.

    Args:
        pixels: (N, 3, h, w) float chromaticities.
        colours: (O, K, 3) float, or (N, O, K, 3).
        geometry: of the frames.
    """
    found = _densities(pixels.flatten(2).transpose(1, 2)[:, None], colours)
    usual = _densities(colours, colours).median(dim=-1, keepdim=True).values
    similar = (1 + (found / usual).clamp(min=1e-9).log10() / COLOUR_DECADES).clamp(0, 1)
    similar = similar.unflatten(-1, pixels.shape[2:])
    size = geometry.height, geometry.width
    return similar if similar.shape[2:] == size else F.interpolate(
        similar, size, mode='bilinear', align_corners=False)


def _densities(points: Tensor, colours: Tensor) -> Tensor:
    """Return (..., P), up to a factor: how dense (..., K, 3) colours are at (..., P, 3) points.

    Each kernel's exponent, 2 p q - p^2 - q^2, is one product of (p, p^2, 1) and (2 q, -1, -q^2).
    Around the middle colour these are small numbers, and their differences exact enough.
    """
    middle = colours.mean(dim=-2, keepdim=True)
    unit = COLOUR_WIDTH * 2 ** 0.5
    points, colours = (points - middle) / unit, (colours - middle) / unit
    squares = [one.square().sum(dim=-1, keepdim=True) for one in (points, colours)]
    ones = [torch.ones_like(one) for one in squares]
    exponents = torch.cat([points, squares[0], ones[0]], dim=-1) @ torch.cat(
        [2 * colours, -ones[1], -squares[1]], dim=-1).transpose(-1, -2)
    return exponents.clamp_(min=_FAINT).exp_().mean(dim=-1)
