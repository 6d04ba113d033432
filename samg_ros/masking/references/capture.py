# SPDX-License-Identifier: Apache-2.0
"""A mask from clicks alone, so that a robot's own camera can take its reference."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from samg_ros.masking.frames.decoder_passes import POSITIVE, Prompts, pick_prompts, run_cascade
from samg_ros.masking.frames.guidance import guide, guided, working_geometry
from samg_ros.masking.frames.pipeline import similarity_prompt
from samg_ros.masking.frames.similarity import similarity_maps
from samg_ros.masking.geometry import Geometry
from samg_ros.masking.models.base import Encoding, VisionModel
from samg_ros.masking.references.samples import Samples
from samg_ros.masking.references.targets import point_features
from samg_ros.masking.settings import MaskerSettings

PASSES = 2
"""At least: without fitted weights the first pass averages its masks, the second one chooses."""


@torch.no_grad()
def mask_from_points(model: VisionModel, encoding: Encoding, points: npt.NDArray[np.float64],
                     geometry: Geometry, settings: MaskerSettings) -> Tensor:
    """Cut out what was clicked on, as the masker cuts out what it has found (DESIGN 4).

    The mean of the clicked points' features takes the place of the object's; the positive prompts
    are the clicks themselves.

    Args:
        model: that encoded the picture and decodes.
        encoding: of the picture, on the geometry's grid.
        points: (K, 2) [x, y] pixels, K at least 1.
        geometry: of the picture.
        settings: switches of the method.

    Returns:
        (H, W) bool.
    """
    maps = {name: encoding.maps[name] for name in settings.features}
    clicked = point_features(maps, points, geometry)
    features = {name: F.normalize(one.mean(dim=0, keepdim=True), dim=1)
                for name, one in clicked.items()}
    kind = similarity_prompt(model, settings)
    working = working_geometry(kind, geometry)
    similarity = similarity_maps(encoding, features, working)
    height, width = geometry.height, geometry.width
    mask = torch.zeros(height, width, dtype=torch.bool, device=geometry.device)
    for x, y in points.tolist():
        mask[min(round(y), height - 1), min(round(x), width - 1)] = True
    samples = Samples.stack([Samples.read(encoding, 0, settings.features, mask, geometry)])
    guides = guide(kind, similarity[:, 0], encoding, samples, settings.features, working)
    similarity = guided(model, similarity, guides)
    found = pick_prompts(similarity)
    scale = np.array((working.width / width, working.height / height))
    clicks = torch.from_numpy((points * scale).round()).to(found.points)[None]
    labels = found.labels.new_full((1, len(points) - 1), POSITIVE)
    prompts = Prompts(torch.cat([clicks[:, :1], found.points[:, 1:], clicks[:, 1:]], dim=1),
                      torch.cat([found.labels, labels], dim=1))
    thirds = similarity.new_full((3,), 1 / 3)
    passes = max(PASSES, settings.passes or model.passes)
    last = run_cascade(model, encoding, working, similarity[:, 0], prompts, thirds, passes,
                       guides)[-1]
    return geometry.padded_to_frame(last.chosen)[0] > 0
