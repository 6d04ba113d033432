# SPDX-License-Identifier: Apache-2.0
"""The embedded models' prompt encoder and mask decoder, after SAM's at a sixteenth of its width."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samg_ros.masking.models.mini.encoder import IMAGE_SIZE
from samg_ros.masking.models.mini.layers import Attention, mlp

MASK_PROMPT_WIDTH = 16
MASKS = 3


class PromptEncoder(nn.Module):
    """Points, boxes and a mask to tokens and a dense map (arXiv 2304.02643, section 3)."""

    frequencies: Tensor

    def __init__(self, width: int, guides: int) -> None:
        super().__init__()
        self.guides = guides
        self.register_buffer('frequencies', torch.randn(2, width // 2))
        self.kinds = nn.Embedding(4, width)  # beside, on the object; box's first, second corner
        self.mask2 = nn.Conv2d(1 + self.guides, MASK_PROMPT_WIDTH, 2, 2)
        self.mask4 = nn.Conv2d(MASK_PROMPT_WIDTH, width, 2, 2)
        self.no_mask = nn.Parameter(torch.zeros(1, width, 1, 1))

    def positions(self, points: Tensor) -> Tensor:
        """Return (..., width) random Fourier features of (..., 2) points in input pixels."""
        place = (points + 0.5) / IMAGE_SIZE * 2 - 1
        # A sum and no matrix product: in half precision that would blur where a point is.
        angle = 2 * math.pi * (place[..., None] * self.frequencies).sum(dim=-2)
        return torch.cat([angle.sin(), angle.cos()], dim=-1)

    def tokens(self, points: Tensor, labels: Tensor, boxes: Tensor | None) -> Tensor:
        """Return (N, K, width), K + 2 with boxes."""
        found = self.positions(points) + self.kinds(labels)
        if boxes is None:
            return found
        corners = self.positions(boxes.unflatten(1, (2, 2))) + self.kinds.weight[2:]
        return torch.cat([found, corners], dim=1)

    def dense(self, mask_logits: Tensor | None, guide: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return maps at stride 2 and 4 of (N, m, m) logits and (N, C, m, m) guide, not both None.

        What is not given is 0, as where nothing is known.
        """
        given = [one for one in (guide, mask_logits) if one is not None]
        maps = given[0].new_zeros(len(given[0]), 1 + self.guides, *given[0].shape[-2:])
        if mask_logits is not None:
            maps[:, 0] = mask_logits.clamp(-16, 16) / 8
        if guide is not None:
            maps[:, 1:1 + guide.shape[1]] = guide / 8
        fine = F.relu(self.mask2(maps))
        return fine, self.mask4(fine)


class _TwoWayBlock(nn.Module):
    """Tokens look at each other and at the map, then the map looks at the tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.to_self = Attention(width, width, 4)
        self.to_map = Attention(width, width // 2, 4)
        self.mlp = mlp(width, 4 * width, width)
        self.to_tokens = Attention(width, width // 2, 4)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))

    def forward(self, tokens: Tensor, image: Tensor, token_position: Tensor,
                image_position: Tensor) -> tuple[Tensor, Tensor]:
        query = tokens + token_position
        tokens = self.norms[0](tokens + self.to_self(query, query, tokens))
        tokens = self.norms[1](tokens + self.to_map(tokens + token_position,
                                                    image + image_position, image))
        tokens = self.norms[2](tokens + self.mlp(tokens))
        image = self.norms[3](image + self.to_tokens(image + image_position,
                                                     tokens + token_position, tokens))
        return tokens, image


class MaskDecoder(nn.Module):
    """Prompt tokens and maps to three masks and their predicted IoU."""

    def __init__(self, width: int, fine: int, finest: int) -> None:
        super().__init__()
        self.own_tokens = nn.Parameter(torch.randn(1, 1 + MASKS, width) * 0.02)
        self.blocks = nn.ModuleList(_TwoWayBlock(width) for _ in range(2))
        self.to_map = Attention(width, width // 2, 4)
        self.norm = nn.LayerNorm(width)
        self.up2 = nn.ConvTranspose2d(width, fine, 2, 2)
        self.mask_skip = nn.Conv2d(MASK_PROMPT_WIDTH, fine, 1)
        self.refine2 = nn.Conv2d(fine, fine, 3, padding=1)
        self.up1 = nn.ConvTranspose2d(fine, finest, 2, 2)
        self.refine1 = nn.Conv2d(finest, finest, 3, padding=1)
        self.weights_of = nn.ModuleList(mlp(width, width, finest) for _ in range(MASKS))
        self.iou = mlp(width, width, MASKS)

    def forward(self, image: Tensor, position: Tensor, prompt: Tensor, skip2: Tensor,
                skip1: Tensor, mask2: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits (N, 3, m, m), predicted IoU (N, 3) and the token (N, C) of the whole."""
        grid = image.shape[-1]
        tokens = torch.cat([self.own_tokens.expand(len(prompt), -1, -1), prompt], dim=1)
        start = tokens
        flat = image.flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens, flat = block(tokens, flat, start, position)
        tokens = self.norm(tokens + self.to_map(tokens + start, flat + position, flat))
        image = flat.transpose(1, 2).unflatten(2, (grid, grid))
        fine = self.up2(image) + skip2
        if mask2 is not None:
            fine = fine + self.mask_skip(mask2)
        fine = fine + F.relu(self.refine2(F.relu(fine)))
        finest = self.up1(F.relu(fine)) + skip1
        finest = F.relu(finest + self.refine1(F.relu(finest)))
        weights = torch.stack([layer(tokens[:, 1 + index])
                               for index, layer in enumerate(self.weights_of)], dim=1)
        logits = torch.einsum('nkc,nchw->nkhw', weights, finest)
        return logits, torch.sigmoid(self.iou(tokens[:, 0])), tokens[:, 0]
