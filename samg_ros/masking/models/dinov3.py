# SPDX-License-Identifier: Apache-2.0
"""DINOv3 (arXiv 2508.10104), from transformers: a folder on disk or a hub id."""

from __future__ import annotations

from pathlib import Path

from samg_ros.masking.models.dinov2 import DinoEncoder
from samg_ros.masking.models.loading.pretrained import load_pretrained

HUB_IDS = {'dinov3-s': 'facebook/dinov3-vits16-pretrain-lvd1689m',
           'dinov3-b': 'facebook/dinov3-vitb16-pretrain-lvd1689m'}
WIDTHS = {'dinov3-s': 384, 'dinov3-b': 768}
"""Of the hidden layers (arXiv 2508.10104, table 2)."""
# 32 x 32 patches of 16: the grid that DINOv2 has at 448, so that the two can be exchanged at the
# same cost. Its positions are rotary, in fractions of the frame, so any size is as good.
INPUT_SIZE = 512


def load_dinov3(name: str, weights: str | Path | None) -> DinoEncoder:
    """Return DINOv3; its maps are 32 x 32.

    Args:
        name: a key of HUB_IDS.
        weights: a folder or hub id; None takes the official hub id.

    Raises:
        WeightsError, MissingDependencyError: see `load_pretrained`.
    """
    backbone = load_pretrained(name, 'DINOv3ViTModel', weights or HUB_IDS[name], WIDTHS[name])
    return DinoEncoder(backbone, INPUT_SIZE,
                       extra_tokens=1 + backbone.config.num_register_tokens)  # class, registers
