# SPDX-License-Identifier: Apache-2.0
"""What every SAM-like segmenter shares: preparing frames, and decoding prompts in batches.

SAM, EfficientViT-SAM and MobileSAM differ in their image encoder alone. Prompt encoder and mask
decoder are segment_anything's modules, so that official weights fit them by name. Its own calls
take many prompts for one frame and, for every label, ask the device which points bear it; here
the same modules are called in the same order with frames and prompts side by side, and nothing
comes back to the host.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samg_ros.errors import MissingDependencyError
from samg_ros.masking.models.base import Normalization, Segmenter, resized_longer_side
from samg_ros.masking.models.loading.weights_io import load_strict
from samg_ros.masking.models.two_way import attend, upscaled_logits

WIDTH = 256  # channels of the embedding and of a token
GRID = 64
PROMPT_SIZE = 1024


class SamSegmenter(Segmenter):
    """An image encoder with SAM's prompt encoder and mask decoder (arXiv 2304.02643, appendix A).

    Its parts are called as in the official checkpoints: image_encoder, prompt_encoder and
    mask_decoder.
    """

    image_size = PROMPT_SIZE
    mask_size = 4 * GRID
    grid_positions: Tensor

    def __init__(self, image_encoder: nn.Module, input_size: int) -> None:
        """Build with random weights.

        Args:
            image_encoder: (N, 3, s, s) float, normalised, to (N, 256, 64, 64).
            input_size: s, the side of its square input in pixels.
        """
        super().__init__()
        try:
            from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
        except ImportError as error:
            raise MissingDependencyError('segment_anything is not installed; run '
                                         '`pip install segment-anything torchvision`') from error
        self.image_encoder = image_encoder
        self.prompt_encoder = PromptEncoder(
            embed_dim=WIDTH, image_embedding_size=(GRID, GRID),
            input_image_size=(PROMPT_SIZE, PROMPT_SIZE), mask_in_chans=16)
        self.mask_decoder = MaskDecoder(
            transformer_dim=WIDTH, num_multimask_outputs=3, iou_head_depth=3,
            iou_head_hidden_dim=256,
            transformer=TwoWayTransformer(depth=2, embedding_dim=WIDTH, mlp_dim=2048, num_heads=8))
        self.normalization = Normalization()
        self.input_size = input_size
        self.register_buffer('grid_positions', self.prompt_encoder.get_dense_pe(),
                             persistent=False)

    def load_weights(self, path: Path, official_name: Callable[[str], str] = str,
                     unused: tuple[str, ...] = ()) -> None:
        """Fill the model from an official checkpoint; arguments and errors as of `load_strict`."""
        load_strict(self, path, official_name, unused)
        self.grid_positions = self.prompt_encoder.get_dense_pe()

    def prepare(self, frames: Tensor) -> Tensor:
        """See Segmenter."""
        x = self.normalization(resized_longer_side(frames, self.input_size))
        rows, columns = x.shape[2:]
        return F.pad(x, (0, self.input_size - columns, 0, self.input_size - rows))

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """See Segmenter; (N, 256, 64, 64)."""
        return (self.image_encoder(pictures),)

    def decode(self, embedding: tuple[Tensor, ...], points: Tensor, labels: Tensor,
               boxes: Tensor | None, mask_logits: Tensor | None) -> tuple[Tensor, Tensor]:
        """See Segmenter."""
        (image,), decoder = embedding, self.mask_decoder
        prompts = self._prompt_tokens(points, labels, boxes)
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        tokens = torch.cat([own.expand(len(prompts), -1, -1), prompts], dim=1)
        if mask_logits is None:
            dense = self.prompt_encoder.no_mask_embed.weight[..., None, None]
        else:
            dense = self.prompt_encoder.mask_downscaling(mask_logits[:, None])
        if mask_logits is None and image.stride(0) == 0:
            image = image[:1]  # the frame that all the prompts are about, see Encoding.repeated
        found, cells = attend(decoder.transformer, _rows(image + dense),
                              _rows(self.grid_positions), tokens)
        # The first of the four masks is SAM's answer to unambiguous prompts; SAM-G takes the rest.
        weights = torch.stack([decoder.output_hypernetworks_mlps[index](found[:, 1 + index])
                               for index in range(1, decoder.num_mask_tokens)], dim=1)
        logits = upscaled_logits(decoder.output_upscaling, cells, weights, image.shape[2:])
        return logits, decoder.iou_prediction_head(found[:, 0])[:, 1:]

    def _prompt_tokens(self, points: Tensor, labels: Tensor, boxes: Tensor | None) -> Tensor:
        """Return (N, K, 256) float: the points', then the box's corners or a token for no box."""
        encoder = self.prompt_encoder
        beside, on, *corners = (kind.weight for kind in encoder.point_embeddings)
        tokens = self._positions(points) + F.embedding(labels, torch.cat([beside, on]))
        if boxes is None:
            last = encoder.not_a_point_embed.weight.expand(len(points), 1, -1)
        else:
            last = self._positions(boxes.unflatten(1, (2, 2))) + torch.cat(corners)
        return torch.cat([tokens, last], dim=1)

    def _positions(self, points: Tensor) -> Tensor:
        """Return (N, K, 256) random Fourier features of (N, K, 2) points in input pixels."""
        frequencies = self.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix.float()
        place = (points.float() + 0.5) / PROMPT_SIZE * 2 - 1
        # A sum, not a matrix product, which autocast would round to half precision.
        angle = 2 * math.pi * (place[..., None] * frequencies).sum(dim=-2)
        return torch.cat([angle.sin(), angle.cos()], dim=-1)


def _rows(maps: Tensor) -> Tensor:
    """Return (N, h w, C) of (N, C, h, w)."""
    return maps.flatten(2).transpose(1, 2).contiguous()
