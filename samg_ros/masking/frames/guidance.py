# SPDX-License-Identifier: Apache-2.0
"""Maps of where the object may be, which the decoder gets beside its points, as in PerSAM.

Each kind adds to the one before, from coarse to fine:

- 'region', the paper's own: similarity of a pixel with the mean feature of the object.
- 'dense': similarity with the most similar cell of the object, because one mean cannot describe an
  object of many parts (the dense matching of arXiv 2305.13310, in one direction).
- 'colour': how usual the pixel's colour is on the object, because a feature grid is too coarse for
  a pole of two pixels.
- 'full': dense similarity by every encoder, with the object and with its surroundings in the
  reference, to distinguish the two (the network weighs what arXiv 2305.13310 tests in both
  directions); and colour in a narrow width for clean pictures and a wide one for cameras whose
  white balance is off.
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
    """Return the similarity maps, the object's replaced by the model's own mixture of its guides.

    The prompts of the object are then picked from that mixture.

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
