# SPDX-License-Identifier: Apache-2.0
"""Maps of where the object may be, which the decoder gets beside the prompts, as PerSAM guides.

From the coarse to the fine. 'region' is the method's own: how much a pixel looks like the one
feature that stands for the object. 'dense': like the cell of the object that it looks like most,
for one mean cannot stand for an object of many parts (the dense matching of arXiv 2305.13310).
'beside': like the cell of the reference's background that it looks like most; where this is higher
than 'dense', the nearest cell of the reference lies outside its mask (the bidirectional test of
arXiv 2603.28480). 'colour': how usual its colour is on the object, for a feature grid is too coarse
for a pole of two pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from samg_ros.masking.frames.similarity import cosines, to_frame
from samg_ros.masking.geometry import Geometry
from samg_ros.masking.models.base import Encoding, FeatureMap, VisionModel
from samg_ros.masking.references.colours import colour_similarity
from samg_ros.masking.references.samples import Samples, matched
from samg_ros.masking.settings import SIMILARITY_PROMPTS


@dataclass(frozen=True)
class Guidance:
    """Maps of where the object may be.

    Attributes:
        maps: (N, C, H, W) float in -1 .. 1, what the decoder gets; C is 1 for 'region', 2 or 3 for
            'dense', 3 or 4 for 'colour', with 'beside' where the model compares the background.
        likeness: (N, 1, H, W) float, the mean of all but 'beside': the map in which the object's
            point prompts are found.
    """

    maps: Tensor
    likeness: Tensor


def make_guidance(kind: str, model: VisionModel, region: Tensor, encoding: Encoding,
                  samples: Samples, names: Collection[str], geometry: Geometry,
                  combined: Callable[[Tensor], Tensor] = lambda maps: maps) -> Guidance | None:
    """Return the maps that the decoder is given, or None.

    Args:
        kind: one of SIMILARITY_PROMPTS: 'off', or the finest map that is given.
        model: that decodes.
        region: (N, H, W) float, similarity with the object's one feature.
        encoding: of N frames.
        samples: with leading axes (O,) or (N, O).
        names: encoders in use.
        geometry: of the frames.
        combined: makes (N, 1, H, W) of the (N, O, H, W) of one map.
    """
    level = SIMILARITY_PROMPTS.index(kind)
    if not level:
        return None
    like, beside = [region[:, None]], []
    if level > 1:
        feature_map = encoding.maps[matched(names)]
        like.append(combined(dense_similarity(feature_map, samples.cells, geometry)))
        if model.compares_background:
            beside.append(combined(dense_similarity(feature_map, samples.beside, geometry)))
    finest = [combined(colour_similarity(encoding.colours, samples.colours, samples.usual,
                                         model.colour_width, geometry))] if level > 2 else []
    maps = torch.cat([*like, *beside, *finest], dim=1)
    return Guidance(maps, torch.cat([*like, *finest], dim=1).mean(dim=1, keepdim=True))


def prompt_maps(similarity: Tensor, guidance: Guidance | None) -> Tensor:
    """Return similarity maps (N, R, H, W) with the guidance's likeness in the object's place.

    There its prompts are found: what looks like the object, has its parts and its colours.

    Args:
        similarity: (N, R, H, W) float; the first map is the object's.
        guidance: or None, which changes nothing.
    """
    if guidance is None:
        return similarity
    return torch.cat([guidance.likeness, similarity[:, 1:]], dim=1)


def dense_similarity(feature_map: FeatureMap, cells: Tensor, geometry: Geometry) -> Tensor:
    """Return (N, O, H, W) float in -1 .. 1: cosine with the most similar of each object's cells.

    Args:
        feature_map: (N, C, g, g) float.
        cells: (O, K, C) float, or (N, O, K, C), L2-normalised.
        geometry: of the frames.
    """
    found = cosines(cells.flatten(-3, -2), feature_map).unflatten(1, cells.shape[-3:-1])
    return to_frame(found.amax(dim=2), feature_map.padded, geometry)
