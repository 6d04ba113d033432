# SPDX-License-Identifier: Apache-2.0
"""SAM 2 (arXiv 2408.00714) on single pictures, from transformers, in any of its Hiera sizes.

The half of it that is about video, its memory, is left out: SAM-G asks every frame anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from samg_ros.masking.models.base import resized
from samg_ros.masking.models.hf_sam import HfSam
from samg_ros.masking.models.loading.pretrained import load_pretrained

HUB_IDS = {'sam2': 'facebook/sam2.1-hiera-base-plus'}


class Sam2(HfSam):
    """transformers' SAM 2 as its official image predictor drives it.

    The frame is stretched to the square, the embedding has in it the vector that says that there
    is no memory, and the decoder is given the encoder's finer maps.
    """

    stretched = True

    def __init__(self, model: Any) -> None:
        """Wrap a transformers Sam2Model with its weights, or one with the same parts."""
        super().__init__(model)
        model.vision_encoder.neck.position_encoding = _NoPositions()

    def prepare(self, frames: Tensor) -> Tensor:
        """See Segmenter."""
        return self.normalization(resized(frames, self.image_size, self.image_size))

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """See Segmenter; (N, 256, 64, 64), then 32 and 64 channels at 4 and 2 times its side."""
        *finer, image = self.model.get_image_embeddings(pictures)
        return image, *finer


class _NoPositions(nn.Module):
    """Stands in for the position maps, which only SAM 2's video memory reads; saves 5 % of time."""

    def forward(self, shape: torch.Size, device: torch.device, dtype: torch.dtype) -> Tensor:
        return torch.zeros(1, 1, 1, 1, device=device, dtype=dtype)


def load_sam2(name: str, weights: str | Path | None) -> Sam2:
    """Load a SAM 2 as the transformers library has it.

    Args:
        name: a key of HUB_IDS.
        weights: a folder or hub id; None takes the usual hub id.

    Raises:
        WeightsError, MissingDependencyError: see `load_pretrained`.
    """
    return Sam2(load_pretrained(name, 'Sam2Model', weights or HUB_IDS[name]))
