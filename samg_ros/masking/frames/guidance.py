# SPDX-License-Identifier: Apache-2.0
"""What the decoder is told beside points: maps of where the object may be, as PerSAM guides.

Three maps, from the coarse to the fine. 'region' is the method's own: how much a pixel looks like
the one feature that stands for the object. 'dense': like the cell of the object that it looks like
most, for one mean cannot stand for an object of many parts (the dense matching of arXiv 2305.13310,
one way only). 'colour': how usual its colour is on the object, for a feature grid is too coarse for
a pole of two pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch
from torch import Tensor

from samg_ros.masking.frames.similarity import cosines, to_frame
from samg_ros.masking.geometry import Geometry
from samg_ros.masking.models.base import Encoding, FeatureMap
from samg_ros.masking.references.colours import colour_similarity
from samg_ros.masking.references.samples import Samples, matched
from samg_ros.masking.settings import SIMILARITY_PROMPTS


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
        maps.append(combined(dense_similarity(encoding.maps[matched(names)], samples.cells,
                                              geometry)))
    if level > 2:
        maps.append(combined(colour_similarity(encoding.colours, samples.colours, samples.usual,
                                               geometry)))
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
