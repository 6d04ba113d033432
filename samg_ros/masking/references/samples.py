# SPDX-License-Identifier: Apache-2.0
"""What of an object every pixel is compared with: samples of its features and of its colours."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from samg_ros.masking.frames.similarity import cell_mask
from samg_ros.masking.geometry import Geometry
from samg_ros.masking.models.base import Encoding, FeatureMap
from samg_ros.masking.references.colours import COLOUR_WIDTHS, densities, usual_density

SAMPLES = 64
"""So many cells and colours of a reference are compared with, spread evenly over its object."""
COMPARED = 1024
"""So many pixels of the object, and beside it, are enough to tell whose a colour is."""
SLIPS = 0.005
"""Of an object's inside, at most so much has colours of its surroundings by chance."""


@dataclass(frozen=True)
class Samples:
    """Of one object in one picture; leading axes as needed.

    Attributes:
        cells: by encoder, (..., SAMPLES, C) float, L2-normalised features of the object.
        beside: likewise, of what is not the object; an object that fills its picture has zeros,
            which are similar to nothing.
        colours: (..., SAMPLES, 3) float, chromaticities.
        usual: (..., W) float, their `usual_density` for each of COLOUR_WIDTHS.
    """

    cells: dict[str, Tensor]
    beside: dict[str, Tensor]
    colours: Tensor
    usual: Tensor

    @classmethod
    def read(cls, encoding: Encoding, index: int, names: Collection[str], mask: Tensor,
             geometry: Geometry) -> Samples:
        """Read them off an encoded picture.

        Args:
            encoding: of N pictures.
            index: which of them.
            names: encoders in use.
            mask: (H, W) bool, the object; at least one pixel.
            geometry: of the picture.
        """
        cells, around = {}, {}
        for name in names:
            features = encoding.maps[name].maps[index]
            inside = cell_mask(mask, encoding.maps[name], geometry)
            cells[name] = F.normalize(_evenly(features[:, inside].T), dim=1)
            others = _pictured(encoding.maps[name], geometry) & ~inside
            around[name] = F.normalize(_evenly(features[:, others].T), dim=1) if others.any() \
                else torch.zeros_like(cells[name])
        pixels = encoding.colours[index]
        on, beside = _on_and_beside(mask, pixels.shape[1:])
        colours = _evenly(own_colours(pixels, on, beside))
        usual = torch.stack([usual_density(colours, width) for width in COLOUR_WIDTHS])
        return cls(cells, around, colours, usual)

    @classmethod
    def stack(cls, items: Collection[Samples]) -> Samples:
        """Return the items along a new first axis."""
        return cls(*(_stacked([getattr(one, field.name) for one in items])
                     for field in fields(cls)))


def _stacked(values: list[Any]) -> Any:
    """Stack tensors, or mappings of tensors name by name."""
    if isinstance(values[0], dict):
        return {name: torch.stack([one[name] for one in values]) for name in values[0]}
    return torch.stack(values)


def _pictured(feature_map: FeatureMap, geometry: Geometry) -> Tensor:
    """Return (g, g) bool: the cells that show the picture and no padding."""
    everywhere = torch.ones(geometry.height, geometry.width, dtype=torch.bool,
                            device=geometry.device)
    return cell_mask(everywhere, feature_map, geometry)


def matched(names: Collection[str]) -> str:
    """Return the encoder, of those in use, whose cells 'dense' guidance compares one by one."""
    return 'dino' if 'dino' in names else 'sam'


def own_colours(pixels: Tensor, on: Tensor, beside: Tensor) -> Tensor:
    """Return the (P, 3) colours of an object, if its mask may be one pixel too wide.

    A colour that is more frequent beside the object than on it is called foreign. If foreign
    colours are found only on the rim of the mask, the mask is too wide there, and they are left
    out. If they are also found inside, they belong to the object and all colours are kept. A part
    that is one or two pixels wide has no inside.

    Args:
        pixels: (3, h, w) float chromaticities.
        on: (h, w) bool, the object.
        beside: (h, w) bool, what is not the object.
    """
    own, other = pixels[:, on].T, pixels[:, beside].T
    core = ~F.max_pool2d((~on)[None].float(), 3, stride=1, padding=1)[0].bool()[on]
    if not (core.any() and len(other)):
        return own
    foreign = len(own) * densities(own, _evenly(own, COMPARED)) \
        < len(other) * densities(own, _evenly(other, COMPARED))
    return own if foreign[core].float().mean() > SLIPS else own[~foreign]


def _evenly(rows: Tensor, count: int = SAMPLES) -> Tensor:
    """Return `count` of (P, C) rows, evenly spread; if there are fewer, some are repeated."""
    return rows[torch.linspace(0, len(rows) - 1, count, device=rows.device).round().long()]


def _on_and_beside(mask: Tensor, size: torch.Size) -> tuple[Tensor, Tensor]:
    """Return where a (H, W) mask covers the pixels of another size, and where it does not.

    Pixels of which it covers a part are neither; as thin as the object is, some of it is left.
    """
    if mask.shape == size:
        return mask, ~mask
    share = F.interpolate(mask[None, None].float(), size, mode='bilinear', antialias=True,
                          align_corners=False)[0, 0]
    return share >= share.max() * 0.9, share <= 0.1
