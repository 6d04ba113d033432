# SPDX-License-Identifier: Apache-2.0
"""`mini`: the embedded model. One light encoder, a descriptor head, a SAM-style mask decoder.

It plays both of SAM-G's parts, DINOv2's (descriptors that follow a body part through pose, light,
colour and background) and SAM's (points, box and mask in; three masks and predicted IoU out), so
that the masker drives it exactly as it drives the large models. The decoder is the two-way
transformer of Segment Anything (arXiv 2304.02643, appendix A) at a sixteenth of its width, with
the encoder's finer maps added while it upscales. Trained by `samg train mini`; see docs/mini.md.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from samg_ros.masking.geometry import scaled_size
from samg_ros.masking.models.base import Encoding, VisionModel, chromaticities, shrunk
from samg_ros.masking.models.loading.weights_io import load_strict
from samg_ros.masking.settings import SIMILARITY_PROMPTS

WEIGHTS = Path(__file__).parent / 'weights' / 'mini.safetensors'

IMAGE_SIZE = 96
MASK_PROMPT_WIDTH = 16
MASK_CHANNELS = 8
MASKS = 3
GUIDES = len(SIMILARITY_PROMPTS) - 1


def _conv(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class _Residual(nn.Module):
    """Two 3 x 3 convolutions around a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _conv(width, width)
        self.second = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


class _Attention(nn.Module):
    """Multi-head attention of one set of tokens to another."""

    def __init__(self, width: int, inner: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, inner)
        self.key = nn.Linear(width, inner)
        self.value = nn.Linear(width, inner)
        self.out = nn.Linear(inner, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        q, k, v = (layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
                   for layer, x in ((self.query, query), (self.key, key), (self.value, value)))
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.out(mixed.transpose(1, 2).flatten(2))


def _mlp(width: int, inner: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, outputs))


class _ContextBlock(nn.Module):
    """Self-attention over the coarsest map: which limbs belong together."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = _Attention(width, width, 4)
        self.mlp = _mlp(width, 2 * width, width)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attention(y + position, y + position, y)
        return x + self.mlp(self.norm2(x))


class _Encoder(nn.Module):
    """Pictures to maps at strides 1, 2 and 4; two stages deeper for context."""

    def __init__(self, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        w1, w2, w4, w8 = widths
        self.stage1 = _conv(3, w1)
        self.stage2 = nn.Sequential(_conv(w1, w2, 2), _Residual(w2))
        self.stage4 = nn.Sequential(_conv(w2, w4, 2), _Residual(w4))
        self.stage8 = nn.Sequential(_conv(w4, w8, 2), _Residual(w8))
        self.position = nn.Parameter(torch.zeros(1, (IMAGE_SIZE // 8) ** 2, w8))
        self.context = nn.ModuleList(_ContextBlock(w8) for _ in range(2))
        self.lateral8 = nn.Conv2d(w8, w4, 1)
        self.merge4 = _conv(w4, w4)
        self.lateral4 = nn.Conv2d(w4, w2, 1)
        self.merge2 = _conv(w2, w2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x1 = self.stage1(x)
        x2 = self.stage2(x1)
        x4 = self.stage4(x2)
        x8 = self.stage8(x4)
        tokens = x8.flatten(2).transpose(1, 2)
        for block in self.context:
            tokens = block(tokens, self.position)
        x8 = tokens.transpose(1, 2).unflatten(2, x8.shape[2:])
        x4 = self.merge4(x4 + _double(self.lateral8(x8)))
        x2 = self.merge2(x2 + _double(self.lateral4(x4)))
        return x1, x2, x4


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode='bilinear', align_corners=False)


class _PromptEncoder(nn.Module):
    """Points, boxes and a mask to tokens and a dense map (arXiv 2304.02643, section 3)."""

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer('frequencies', torch.randn(2, width // 2))
        self.kinds = nn.Embedding(4, width)  # beside, on the object; box's first, second corner
        self.mask2 = nn.Conv2d(1 + GUIDES, MASK_PROMPT_WIDTH, 2, 2)
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
        maps = given[0].new_zeros(len(given[0]), 1 + GUIDES, *given[0].shape[-2:])
        if mask_logits is not None:
            maps[:, 0] = mask_logits.clamp(-16, 16) / 8
        if guide is not None:
            maps[:, 1:1 + guide.shape[1]] = guide / 8
        fine = F.relu(self.mask2(maps))
        return fine, self.mask4(fine)


def _nothing_yet(maps: int) -> nn.Conv2d:
    """Weigh so many maps into one; all weights are zero before training."""
    layer = nn.Conv2d(maps, 1, 1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


class _TwoWayBlock(nn.Module):
    """Tokens look at each other and at the map, then the map looks at the tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.to_self = _Attention(width, width, 4)
        self.to_map = _Attention(width, width // 2, 4)
        self.mlp = _mlp(width, 4 * width, width)
        self.to_tokens = _Attention(width, width // 2, 4)
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


class _MaskDecoder(nn.Module):
    """Prompt tokens and maps to three masks and their predicted IoU."""

    def __init__(self, width: int, fine: int, finest: int) -> None:
        super().__init__()
        self.own_tokens = nn.Parameter(torch.randn(1, 1 + MASKS, width) * 0.02)
        self.blocks = nn.ModuleList(_TwoWayBlock(width) for _ in range(2))
        self.to_map = _Attention(width, width // 2, 4)
        self.norm = nn.LayerNorm(width)
        self.up2 = nn.ConvTranspose2d(width, fine, 2, 2)
        self.mask_skip = nn.Conv2d(MASK_PROMPT_WIDTH, fine, 1)
        self.refine2 = nn.Conv2d(fine, fine, 3, padding=1)
        self.up1 = nn.ConvTranspose2d(fine, finest, 2, 2)
        self.refine1 = nn.Conv2d(finest, finest, 3, padding=1)
        self.weights_of = nn.ModuleList(_mlp(width, width, finest) for _ in range(MASKS))
        self.iou = _mlp(width, width, MASKS)

    def forward(self, image: Tensor, position: Tensor, prompt: Tensor, skip2: Tensor,
                skip1: Tensor, mask2: Tensor | None) -> tuple[Tensor, Tensor]:
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
        return logits, torch.sigmoid(self.iou(tokens[:, 0]))


class Mini(VisionModel):
    """The embedded model; 96 x 96 input, full-resolution logits, 48 x 48 descriptors."""

    image_size = IMAGE_SIZE
    mask_size = IMAGE_SIZE
    grid_size = IMAGE_SIZE // 2
    passes = 1
    similarity_prompt = 'colour'
    guided = True

    def __init__(self, widths: tuple[int, int, int, int] = (16, 32, 64, 128),
                 descriptor: int = 32) -> None:
        """Build with random weights.

        Args:
            widths: channels of the encoder at strides 1, 2, 4 and 8.
            descriptor: length of a descriptor.
        """
        super().__init__()
        self.feature_maps = {'dino': True, 'sam': True}
        w1, w2, w4, _ = widths
        self.encoder = _Encoder(widths)
        self.descriptor = nn.Sequential(_conv(w2, w2), nn.Conv2d(w2, descriptor, 1))
        self.embedding = nn.Conv2d(w4, w4, 1)
        self.skip2 = nn.Conv2d(w2, w2, 1)
        self.skip1 = nn.Conv2d(w1, MASK_CHANNELS, 1)
        self.prompt = _PromptEncoder(w4)
        self.decoder = _MaskDecoder(w4, w2, MASK_CHANNELS)
        self.evidence = nn.ModuleList(_nothing_yet(maps) for maps in range(1, GUIDES + 1))

    def prepare(self, frames: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """See VisionModel; (N, 3, 96, 96) float in -1 .. 1, zero-padded."""
        height, width = frames.shape[1:3]
        rows, columns = scaled_size(height, width, IMAGE_SIZE)
        x = frames.permute(0, 3, 1, 2).float()
        if (rows, columns) != (height, width):
            x = shrunk(x, rows, columns) if max(height, width) > IMAGE_SIZE else F.interpolate(
                x, (rows, columns), mode='bilinear', align_corners=False)
        x = x / 127.5 - 1
        x = F.pad(x, (0, IMAGE_SIZE - columns, 0, IMAGE_SIZE - rows))
        return (x,), chromaticities(frames)

    def run_encoders(self, *pictures: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """See VisionModel; both maps are 48 x 48 over the padded square."""
        x, = pictures
        x1, x2, x4 = self.encoder(x.contiguous(memory_format=torch.channels_last))
        embedding = self.embedding(x4)
        return (self.descriptor(x2), _double(embedding)), \
            (embedding, self.skip2(x2), self.skip1(x1))

    def decode(self, encoding: Encoding, points: Tensor, labels: Tensor,
               boxes: Tensor | None = None, mask_logits: Tensor | None = None,
               guide: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See VisionModel."""
        embedding, skip2, skip1 = encoding.embedding
        mask2 = None
        if mask_logits is None and guide is None:
            image = embedding + self.prompt.no_mask
        else:
            mask2, mask4 = self.prompt.dense(mask_logits, guide)
            image = embedding + mask4
        prompt = self.prompt.tokens(points, labels, boxes)
        logits, predicted_iou = self.decoder(
            image, self._map_positions(embedding.shape[-1]), prompt, skip2, skip1, mask2)
        if guide is not None:  # pixel by pixel, finer than the maps that the decoder works on
            logits = logits + self.evidence[guide.shape[1] - 1](guide)
        return logits, predicted_iou

    def _map_positions(self, grid: int) -> Tensor:
        axis = torch.arange(grid, device=self.prompt.frequencies.device)
        step = IMAGE_SIZE / grid
        y, x = torch.meshgrid(axis, axis, indexing='ij')
        centres = (torch.stack([x, y], dim=-1).flatten(0, 1) + 0.5) * step - 0.5
        return self.prompt.positions(centres)[None]


def load_mini(weights: str | Path | None = None) -> Mini:
    """Return `mini` with trained weights.

    Args:
        weights: a safetensors file written by `samg train mini`; None takes the package's own.

    Raises:
        WeightsError: if the file is missing, unreadable, or of another architecture.
    """
    model = Mini()
    load_strict(model, Path(weights) if weights else WEIGHTS)
    _fold_batch_norms(model.eval())
    return model.to(memory_format=torch.channels_last)


def _fold_batch_norms(model: nn.Module) -> None:
    """Merge every batch norm into the convolution before it: same result, one pass less."""
    for block in model.modules():
        if not isinstance(block, nn.Sequential):
            continue
        for index in range(1, len(block)):
            before, norm = block[index - 1], block[index]
            if isinstance(before, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                block[index - 1] = fuse_conv_bn_eval(before, norm)
                block[index] = nn.Identity()
