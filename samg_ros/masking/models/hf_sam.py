# SPDX-License-Identifier: Apache-2.0
"""Segment Anything (arXiv 2304.02643) from transformers, in any size its configuration names.

SlimSAM (arXiv 2312.05284) is such a size: SAM with narrower layers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from samg_ros.masking.models.base import Normalization, Segmenter, resized_longer_side
from samg_ros.masking.models.loading.pretrained import load_pretrained

HUB_IDS = {'hf-sam': 'facebook/sam-vit-base'}


class HfSam(Segmenter):
    """transformers' SAM with one set of prompts per frame, many frames a call."""

    grid_positions: Tensor

    def __init__(self, model: Any) -> None:
        """Wrap a transformers SamModel with its weights, or one with the same parts."""
        super().__init__()
        self.model = model
        self.normalization = Normalization()
        self.image_size = model.prompt_encoder.input_image_size
        self.mask_size = 4 * model.prompt_encoder.image_embedding_size[0]
        with torch.no_grad():
            self.register_buffer('grid_positions', model.get_image_wide_positional_embeddings(),
                                 persistent=False)

    def prepare(self, frames: Tensor) -> Tensor:
        """See Segmenter."""
        x = self.normalization(resized_longer_side(frames, self.image_size))
        rows, columns = x.shape[2:]
        return F.pad(x, (0, self.image_size - columns, 0, self.image_size - rows))

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """See Segmenter; (N, 256, 64, 64)."""
        with pictures.device:  # or its attention makes indices on the host and uploads them
            return (self.model.vision_encoder(pictures).last_hidden_state,)

    def decode(self, embedding: tuple[Tensor, ...], points: Tensor, labels: Tensor,
               boxes: Tensor | None, mask_logits: Tensor | None) -> tuple[Tensor, Tensor]:
        """Turn prompts into masks, as described in `VisionModel.decode`."""
        image, *finer = embedding
        sparse, dense = self._encode_prompts(points, labels, boxes, mask_logits)
        extra = {'high_resolution_features': finer} if finer else {}
        # The three masks as they are. SAM 2 chooses by stability only where one mask is asked for.
        logits, predicted_iou, *_ = self.model.mask_decoder(
            image_embeddings=image, image_positional_embeddings=self.grid_positions,
            sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense, multimask_output=True,
            **extra)
        return logits[:, 0], predicted_iou[:, 0]

    def _encode_prompts(self, points: Tensor, labels: Tensor, boxes: Tensor | None,
                        mask_logits: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return sparse (N, 1, K, 256) and dense (N, 256, 64, 64) prompt embeddings.

        transformers has an axis of prompt sets behind that of frames; here there is one a frame.
        """
        encoder = self.model.prompt_encoder
        with torch.autocast(points.device.type, enabled=False):  # half a pixel counts in 1024
            sparse, dense = encoder(points[:, None].float(), labels[:, None],
                                    None if boxes is None else boxes[:, None].float(), None)
        if mask_logits is not None:
            dense = encoder.mask_embed(mask_logits[:, None])
        return sparse, dense


def load_hf_sam(name: str, weights: str | Path | None) -> HfSam:
    """Load a SAM as the transformers library has it.

    Args:
        name: a key of HUB_IDS.
        weights: a folder or hub id; None takes the usual hub id.

    Raises:
        WeightsError, MissingDependencyError: see `load_pretrained`.
    """
    return HfSam(load_pretrained(name, 'SamModel', weights or HUB_IDS[name]))
