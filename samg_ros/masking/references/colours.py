# SPDX-License-Identifier: Apache-2.0
"""How usual a colour is on an object, whatever light it stands in.

A kernel density estimate over samples of the object's chromaticities. The nearest colour would not
do: the rim of an object has those of what was behind it, but few of each.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from samg_ros.masking.geometry import Geometry

COLOUR_WIDTHS = (0.005, 0.02)
"""Standard deviations of the Gaussian that every colour of an object stands for: as in a clean
picture, and as far as a camera's white balance, 6 % of a channel, moves a colour."""
COLOUR_DECADES = 3.0
"""A colour is not similar at all if it is rarer than the object's median one by this many powers of
ten."""

_FAINT = -20.0
"""Exponent below which a kernel counts for nothing; e to the -90 takes a CPU ten times longer."""


@torch.no_grad()
def colour_similarity(pixels: Tensor, colours: Tensor, usual: Tensor, geometry: Geometry,
                      width: float = COLOUR_WIDTHS[0]) -> Tensor:
    """Return (N, O, H, W) float in 0 .. 1: how usual every pixel's colour is on each object.

    Args:
        pixels: (N, 3, h, w) float chromaticities.
        colours: (O, K, 3) float, or (N, O, K, 3).
        usual: (O,) float, or (N, O), their `usual_density` for this width.
        geometry: of the frames.
        width: one of COLOUR_WIDTHS.
    """
    similar = usualness(pixels.flatten(2).transpose(1, 2)[:, None], colours, usual, width)
    similar = similar.unflatten(-1, pixels.shape[2:])
    size = geometry.height, geometry.width
    return similar if similar.shape[2:] == size else F.interpolate(
        similar, size, mode='bilinear', align_corners=False)


def usualness(points: Tensor, colours: Tensor, usual: Tensor,
              width: float = COLOUR_WIDTHS[0]) -> Tensor:
    """Return (..., P) float in 0 .. 1: how usual (..., P, 3) colours are among (..., K, 3).

    The logarithm of the density, between COLOUR_DECADES below the (...) `usual_density`, 0, and
    that, 1.
    """
    found = densities(points, colours, width) / usual[..., None]
    return (1 + found.clamp(min=1e-9).log10() / COLOUR_DECADES).clamp(0, 1)


def usual_density(colours: Tensor, width: float = COLOUR_WIDTHS[0]) -> Tensor:
    """Return (...): the median density of (..., K, 3) colours at themselves."""
    return densities(colours, colours, width).median(dim=-1).values


def densities(points: Tensor, colours: Tensor, width: float = COLOUR_WIDTHS[0]) -> Tensor:
    """Return (..., P), up to a factor: how dense (..., K, 3) colours are at (..., P, 3) points.

    Each kernel's exponent, 2 p q - p^2 - q^2, is one product of (p, p^2, 1) and (2 q, -1, -q^2).
    Around the middle colour these are small numbers, and their differences exact enough.
    """
    middle = colours.mean(dim=-2, keepdim=True)
    unit = width * 2 ** 0.5
    points, colours = (points - middle) / unit, (colours - middle) / unit
    squares = [one.square().sum(dim=-1, keepdim=True) for one in (points, colours)]
    ones = [torch.ones_like(one) for one in squares]
    exponents = torch.cat([points, squares[0], ones[0]], dim=-1) @ torch.cat(
        [2 * colours, -ones[1], -squares[1]], dim=-1).transpose(-1, -2)
    return exponents.clamp_(min=_FAINT).exp_().mean(dim=-1)
