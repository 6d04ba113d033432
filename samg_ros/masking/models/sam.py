# SPDX-License-Identifier: Apache-2.0
"""Segment Anything (arXiv 2304.02643), from the segment_anything package and its .pth files."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from samg_ros.errors import MissingDependencyError, WeightsError
from samg_ros.masking.models.base import Segmenter, resized
from samg_ros.masking.models.weights_io import load_strict

ARCHITECTURES = {'sam-vit-b': 'vit_b', 'sam-vit-l': 'vit_l', 'sam-vit-h': 'vit_h'}


class SegmentAnything(Segmenter):
    """SAM with a batch axis: one set of prompts per frame, many frames a call.

    segment_anything's own decoder call takes many prompts for one frame; here its modules are
    called in the same order with frames and prompts side by side.
    """

    def __init__(self, architecture: str) -> None:
        """Build with random weights; `architecture` is a key of segment_anything's registry."""
        super().__init__()
        try:
            from segment_anything import sam_model_registry
        except ImportError as error:
            raise MissingDependencyError('segment_anything is not installed; run '
                                         '`pip install segment-anything torchvision`') from error
        self.sam = sam_model_registry[architecture]()
        self.image_size = self.sam.image_encoder.img_size
        self.mask_size = 4 * self.sam.prompt_encoder.image_embedding_size[0]

    def embed(self, frames: Tensor) -> Tensor:
        """See Segmenter; (N, 256, 64, 64)."""
        height, width = frames.shape[1:3]
        scale = self.image_size / max(height, width)
        rows, columns = int(height * scale + 0.5), int(width * scale + 0.5)
        x = (resized(frames, rows, columns) - self.sam.pixel_mean) / self.sam.pixel_std
        return self.sam.image_encoder(
            F.pad(x, (0, self.image_size - columns, 0, self.image_size - rows)))

    def decode(self, embedding: Tensor, points: Tensor, labels: Tensor, boxes: Tensor | None,
               mask_logits: Tensor | None) -> tuple[Tensor, Tensor]:
        """See Segmenter."""
        prompt, decoder = self.sam.prompt_encoder, self.sam.mask_decoder
        sparse, dense = prompt((points.float(), labels), boxes,
                               None if mask_logits is None else mask_logits[:, None])
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        tokens = torch.cat([own.expand(len(sparse), -1, -1), sparse], dim=1)
        position = prompt.get_dense_pe().expand(len(sparse), -1, -1, -1)
        found, image = decoder.transformer(embedding + dense, position, tokens)
        image = image.transpose(1, 2).unflatten(2, embedding.shape[2:])
        image = decoder.output_upscaling(image)
        weights = torch.stack([layer(found[:, 1 + index]) for index, layer
                               in enumerate(decoder.output_hypernetworks_mlps)], dim=1)
        logits = torch.einsum('nkc,nchw->nkhw', weights, image)
        return logits[:, 1:], decoder.iou_prediction_head(found[:, 0])[:, 1:]


def load_sam(name: str, weights: str | Path | None) -> SegmentAnything:
    """Return SAM with the weights of an official .pth file.

    Args:
        name: a key of ARCHITECTURES.
        weights: the file.

    Raises:
        WeightsError: if there is no file, or it does not fit the architecture.
        MissingDependencyError: if segment_anything is not installed.
    """
    if weights is None:
        raise WeightsError(f'model {name}: needs a weight file; download the official .pth and '
                           f'give it as weights, {name}=/path/to/file.pth')
    model = SegmentAnything(ARCHITECTURES[name])
    load_strict(model.sam, Path(weights))
    return model
