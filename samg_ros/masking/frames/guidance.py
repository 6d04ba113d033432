# SPDX-License-Identifier: Apache-2.0
"""What guides the decoder beside points: maps of where the object may be, as PerSAM guides.

From the coarse to the fine. 'region' is the method's own: how much a pixel looks like the one
feature that stands for the object. 'dense': like the cell of the object that it looks like most,
for one mean cannot stand for an object of many parts (the dense matching of arXiv 2305.13310, one
way only). 'colour': how usual its colour is on the object, for a feature grid is too coarse for a
pole of two pixels. 'full' has the dense similarity of every encoder, to the object and to what was
beside it in the reference, to distinguish the object from surroundings that look like it
(the bidirectional test of arXiv 2305.13310, left to the network to weigh),
and the colour as a clean picture and as an unbalanced camera shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch
from torch import Tensor

from samg_ros.masking.frames.similarity import cosines, to_frame
from samg_ros.masking.geometry import Geometry
from samg_ros.masking.models.base import Encoding, FeatureMap, VisionModel
from samg_ros.masking.references.colours import COLOUR_WIDTHS, colour_similarity
from samg_ros.masking.references.samples import Samples, matched
from samg_ros.masking.settings import FEATURES


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
        (N, C, H, W) float in -1 .. 1, C as in GUIDANCE_MAPS. Of 'full': region; of FEATURES'
        encoders in turn, the object's cells and those beside it, 0 where an encoder is not in use;
        colour, narrow and wide.
    """
    if kind == 'off':
        return None
    maps = [region[:, None]]
    if kind == 'full':
        for name in FEATURES:
            for cells in (samples.cells, samples.beside):
                maps.append(combined(dense_similarity(encoding.maps[name], cells[name], geometry))
                            if name in names else torch.zeros_like(maps[0]))
    elif kind != 'region':
        name = matched(names)
        maps.append(combined(dense_similarity(encoding.maps[name], samples.cells[name],
                                              geometry)))
    widths = {'full': COLOUR_WIDTHS, 'colour': COLOUR_WIDTHS[:1]}.get(kind, ())
    for index, width in enumerate(widths):
        maps.append(combined(colour_similarity(encoding.colours, samples.colours,
                                               samples.usual[..., index], geometry, width)))
    return torch.cat(maps, dim=1)


def guided(model: VisionModel, similarity: Tensor, maps: Tensor | None) -> Tensor:
    """Return similarity maps with what the model makes of its guidance in the object's place.

    There its prompts are found: what looks like the object, has its parts and its colours.

    Args:
        model: that is guided.
        similarity: (N, R, H, W) float; the first map is the object's.
        maps: from `guide`.
    """
    if maps is None:
        return similarity
    return torch.cat([model.object_map(maps), similarity[:, 1:]], dim=1)


def working_geometry(kind: str, geometry: Geometry) -> Geometry:
    """Return the resolution at which maps of a kind of guidance are compared: the frames', or for
    'full' that of the decoder's masks.
    """
    return geometry.of_mask if kind == 'full' else geometry


def dense_similarity(feature_map: FeatureMap, cells: Tensor, geometry: Geometry) -> Tensor:
    """Return (N, O, H, W) float in -1 .. 1: cosine with the most similar of each object's cells.

    Args:
        feature_map: (N, C, g, g) float.
        cells: (O, K, C) float, or (N, O, K, C), L2-normalised.
        geometry: of the frames.
    """
    found = cosines(cells.flatten(-3, -2), feature_map).unflatten(1, cells.shape[-3:-1])
    return to_frame(found.amax(dim=2), feature_map.padded, geometry)
