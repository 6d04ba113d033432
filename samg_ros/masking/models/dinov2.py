# SPDX-License-Identifier: Apache-2.0
"""DINOv2 (arXiv 2304.07193), from transformers: a folder on disk or a hub id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from samg_ros.masking.models.base import FeatureEncoder, Normalization, resized
from samg_ros.masking.models.loading.pretrained import load_pretrained

HUB_IDS = {'dinov2-s': 'facebook/dinov2-small', 'dinov2-b': 'facebook/dinov2-base',
           'dinov2-l': 'facebook/dinov2-large'}
WIDTHS = {'dinov2-s': 384, 'dinov2-b': 768, 'dinov2-l': 1024}
"""Of the hidden layers (arXiv 2304.07193, table 7)."""
INPUT_SIZE = 448  # 32 x 32 patches of 14, as in SAM-G


class DinoEncoder(FeatureEncoder):
    """A DINO vision transformer: the normalised patch tokens of its last layer, as a map."""

    def __init__(self, backbone: Any, input_size: int, extra_tokens: int) -> None:
        """Wrap a vision transformer of transformers.

        Args:
            backbone: whose `last_hidden_state` holds the tokens row by row.
            input_size: side of its square input in pixels, a multiple of its patch size.
            extra_tokens: how many tokens stand before those of the patches.
        """
        super().__init__()
        self.backbone = backbone
        self.normalization = Normalization()
        self.input_size = input_size
        self.extra_tokens = extra_tokens

    def prepare(self, frames: Tensor) -> Tensor:
        """See FeatureEncoder."""
        return self.normalization(resized(frames, self.input_size, self.input_size))

    def forward(self, pictures: Tensor) -> Tensor:
        """See FeatureEncoder."""
        tokens = self.backbone(pixel_values=pictures).last_hidden_state[:, self.extra_tokens:]
        side = self.input_size // self.backbone.config.patch_size
        return tokens.transpose(1, 2).unflatten(2, (side, side))


def load_dinov2(name: str, weights: str | Path | None) -> DinoEncoder:
    """Return DINOv2; its maps are 32 x 32.

    Args:
        name: a key of HUB_IDS.
        weights: a folder or hub id; None takes the official hub id.

    Raises:
        WeightsError, MissingDependencyError: see `load_pretrained`.
    """
    backbone = load_pretrained(name, 'Dinov2Model', weights or HUB_IDS[name], WIDTHS[name])
    return DinoEncoder(backbone, INPUT_SIZE, extra_tokens=1)  # the class token
