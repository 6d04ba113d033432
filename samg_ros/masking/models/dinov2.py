# SPDX-License-Identifier: Apache-2.0
"""DINOv2 (arXiv 2304.07193), from transformers: a folder on disk or a hub id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from samg_ros.errors import MissingDependencyError, WeightsError, first_line
from samg_ros.masking.models.base import FeatureEncoder, resized
from samg_ros.masking.models.weights_io import listed_keys

HUB_IDS = {'dinov2-s': 'facebook/dinov2-small', 'dinov2-b': 'facebook/dinov2-base',
           'dinov2-l': 'facebook/dinov2-large'}
INPUT_SIZE = 448
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class DinoV2(FeatureEncoder):
    """Patch tokens of the last layer, 32 x 32 at an input of 448."""

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: Any) -> None:
        """Wrap a transformers Dinov2Model."""
        super().__init__()
        self.backbone = backbone
        self.register_buffer('mean', torch.tensor(IMAGENET_MEAN)[:, None, None] * 255)
        self.register_buffer('std', torch.tensor(IMAGENET_STD)[:, None, None] * 255)

    def features(self, frames: Tensor) -> Tensor:
        """See FeatureEncoder; (N, C, 32, 32)."""
        x = (resized(frames, INPUT_SIZE, INPUT_SIZE) - self.mean) / self.std
        tokens = self.backbone(pixel_values=x).last_hidden_state[:, 1:]  # without the class token
        side = INPUT_SIZE // self.backbone.config.patch_size
        return tokens.transpose(1, 2).unflatten(2, (side, side))


def load_dinov2(name: str, weights: str | Path | None) -> DinoV2:
    """Return DINOv2.

    Args:
        name: a key of HUB_IDS.
        weights: a folder written by transformers (config.json and weights), or a hub id; None
            takes the official hub id.

    Raises:
        WeightsError: if it cannot be had or its keys do not fit; a pickle is never executed.
        MissingDependencyError: if transformers is not installed.
    """
    try:
        from transformers import Dinov2Model
    except ImportError as error:
        raise MissingDependencyError('transformers is not installed; run '
                                     '`pip install transformers`') from error
    source = str(weights or HUB_IDS[name])
    try:
        loaded: Any = Dinov2Model.from_pretrained(source, output_loading_info=True)
    except Exception as error:  # transformers raises whatever its readers raise
        raise WeightsError(
            f'model {name}: cannot be loaded from {source!r} ({first_line(error)}); give '
            f'a local folder with config.json and model.safetensors, {name}=/path/to/folder'
        ) from error
    backbone, found = loaded
    if missing := sorted(found['missing_keys']):
        raise WeightsError(f'model {name}: {source!r} lacks {listed_keys(missing)}; use a DINOv2 '
                           'checkpoint')
    return DinoV2(backbone)
