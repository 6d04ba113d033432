# SPDX-License-Identifier: Apache-2.0
"""Whether the object's colours are in a frame, and what follows from it.

Nothing but the object has its place in feature space and its colours at once, whatever is behind
it. Where the two agree on enough pixels, it is there. If in the reference nothing else had its
colours, then what has them looks like it too, and pixels on which the two agree well are certainly
its own: of a pole of two pixels in front of furniture the features are unsure, the colours are not.

Where the two do not agree, the object has other colours than in the reference, or is not there.
Colours then say nothing, shape takes their place, and the mask is kept only if the decoder is sure
of it: the surer, the more the rest of the frame looks like the object, and the more the mask's size
differs from the object's. Without this a robot in another paint lost a fifth of its mask, and the
furniture of a room without a robot was taken for one in a quarter to a third of the frames
(docs/mini.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from samg_ros.masking.settings import GUIDANCE_MAPS

AGREEMENT = 0.65
"""Mean of all maps above which feature and colour agree that a pixel is the object's."""
CERTAIN = 0.75
"""The same above which it is the object's whatever the decoder draws. A reference whose mask is a
little too wide has such pixels beside the object from 0.7 down."""
SIMILAR = 0.75
"""Mean of the maps but colour above which a pixel looks like the object's."""
RECOGNISED = 0.5
"""They agree on such a share of the object, or of what of the frame looks like it if that is less:
the rest is hidden or outside. Measured: at least 0.5 if it is there in its colours."""
VISIBLE = 0.1
"""Less than such a share of the object is not recognised whatever its colour."""
SURE = 0.66
"""What the predicted IoU of an object in other colours exceeds the mean similarity beside it by:
such a share of this as the object leaves free, for large things are seldom invented."""
ALIKE = 0.8
"""Areas of mask and reference, the smaller over the larger, from which they are of one size."""
DIFFERENT = 0.6
"""Predicted IoU asked for above that, times what is missing to ALIKE."""

TRUSTED = 0.8
"""How far what has the colours of a recognised object is raised to looking like it."""
SHARED = 0.1
"""Of what has the object's colours in the reference, so much beside it takes all that trust."""

_HALF_SIMILAR = 0.7
"""Share of the frame's highest similarity from which shape counts, up to 1."""


@dataclass(frozen=True)
class Recognition:
    """What is known of an object in N frames before anything is decoded.

    Attributes:
        guides: (N, C, H, W) float, the guidance maps of the decoder, or None.
        certain: (N, H, W) bool, or (N, 1, 1): pixels that are the object's whatever it decodes.
        sure: (N,) float, the predicted IoU from which a mask of the reference's size is to be
            believed (see `believe`); -inf where the object's colours are there.
    """

    guides: Tensor | None
    certain: Tensor
    sure: Tensor


def recognise(guides: Tensor | None, area: Tensor, shared: Tensor) -> Recognition:
    """Let colour help shape where the object's colours are, and shape stand in for them elsewhere.

    Args:
        guides: (N, C, H, W) float of `guidance.guide`, or None. Without a colour map nothing is
            changed, certain or doubted.
        area: (N,) float, the object's share of its reference picture.
        shared: (N,) float, as in `Samples`; of several references combined as their maps are.
    """
    if guides is None or guides.shape[1] < GUIDANCE_MAPS['colour']:
        nowhere = torch.zeros_like(area, dtype=torch.bool)[:, None, None]
        return Recognition(guides, nowhere, torch.full_like(area, -torch.inf))
    together = guides.mean(dim=1)
    agreed = (together > AGREEMENT).flatten(1).float().mean(dim=1)
    shape = guides[:, :2].mean(dim=1, keepdim=True)
    similar = (shape > SIMILAR).flatten(1).float().mean(dim=1)
    known = (agreed >= RECOGNISED * similar.minimum(area)) & (agreed >= VISIBLE * area)
    trust = known * TRUSTED * (1 - shared / SHARED).clamp(min=0)
    shapes = guides[:, :2].lerp(guides[:, :2].maximum(guides[:, 2:]), trust[:, None, None, None])
    highest = shape.amax(dim=(2, 3), keepdim=True)
    relative = shape / highest.clamp(min=_HALF_SIMILAR / 2)
    instead = ((relative - _HALF_SIMILAR) / (1 - _HALF_SIMILAR)).clamp(0, 1)
    colour = torch.where(known[:, None, None, None], guides[:, 2:], instead)
    beside = (shape.mean(dim=(1, 2, 3)) - area * highest.flatten()) / (1 - area)
    sure = torch.where(known, -torch.inf, beside + SURE * (1 - area))
    certain = (together > CERTAIN) & (trust > 0)[:, None, None]
    return Recognition(torch.cat([shapes, colour], dim=1), certain, sure)


def believe(score: Tensor, sure: Tensor, size: Tensor) -> Tensor:
    """Return where masks are to be kept, (N,) bool.

    Args:
        score: (N,) float, predicted IoU.
        sure: (N,) float, of `recognise`.
        size: (N,) float, the mask's area over the object's in its reference, as shares.
    """
    alike = torch.minimum(size, 1 / size)
    return score >= sure + DIFFERENT * (ALIKE - alike).clamp(min=0)
