# SPDX-License-Identifier: Apache-2.0
"""`mini`: the embedded model. An encoder that saw real pictures, descriptors, a prompt decoder.

The encoder is EfficientNet-Lite0 with its ImageNet weights, which stay as they are. What is trained
(`samg train mini`) is a neck that joins its strides 4, 8 and 16, two descriptor maps, and a small
convolutional decoder that takes the prompts of Segment Anything (arXiv 2304.02643: points, box,
mask) as pictures, beside the maps of where the object may be (`guidance`). See docs/mini.md.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from samg_ros.masking.models.base import (
    Encoding,
    FeatureMap,
    Normalization,
    VisionModel,
    chromaticities,
)
from samg_ros.masking.models.efficientnet import CHANNELS, EfficientNetLite0
from samg_ros.masking.models.loading.weights_io import load_strict

WEIGHTS = Path(__file__).parent / 'weights' / 'mini.safetensors'

IMAGE_SIZE = 192
MASK_SIZE = IMAGE_SIZE // 2
GRID_SIZE = IMAGE_SIZE // 4
MASKS = 3
GUIDES = 4
"""Maps of `guidance`: region, dense, beside, colour."""
PROMPTS = 4
"""Pictures of the prompts: points on the object, beside it, the box, the mask before."""
_POINT_WIDTH = 1.2
"""Standard deviation in cells of the spot that stands for a point: it covers its own cell."""
_LOGIT_SCALE = 4.0
"""Logits of the mask before are divided by this and bounded by tanh."""


def _conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                         nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode='bilinear', align_corners=False)


class Neck(nn.Module):
    """Joins the encoder's strides: features and descriptors at strides 4 and 8."""

    def __init__(self, width8: int, width4: int, descriptor8: int, descriptor4: int) -> None:
        super().__init__()
        four, eight, sixteen = CHANNELS
        self.lateral16 = nn.Conv2d(sixteen, width8, 1)
        self.lateral8 = nn.Conv2d(eight, width8, 1)
        self.merge8 = _conv(width8, width8)
        self.down = nn.Conv2d(width8, width4, 1)
        self.lateral4 = nn.Conv2d(four, width4, 1)
        self.merge4 = _conv(width4, width4)
        self.descriptor4 = nn.Conv2d(width4, descriptor4, 1)
        self.descriptor8 = nn.Conv2d(width8, descriptor8, 1)

    def forward(self, x4: Tensor, x8: Tensor, x16: Tensor
                ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return features at strides 4 and 8, then descriptors at strides 4 and 8."""
        p8 = self.merge8(self.lateral8(x8) + _double(self.lateral16(x16)))
        p4 = self.merge4(self.lateral4(x4) + _double(self.down(p8)))
        return p4, p8, self.descriptor4(p4), self.descriptor8(p8)


class Decoder(nn.Module):
    """Features, guidance and prompts to three masks, their IoU, and whether the object is there."""

    def __init__(self, width8: int, width4: int, width2: int) -> None:
        super().__init__()
        self.prompt8 = _conv(width8 + 2 * GUIDES + PROMPTS, width8)
        self.deep8 = _conv(width8, width8)
        self.up4 = nn.Conv2d(width8, width4, 1)
        self.prompt4 = _conv(width4 + GUIDES + PROMPTS, width4)
        self.deep4 = _conv(width4, width4)
        self.up2 = nn.Conv2d(width4, width2, 1)
        self.fine = _conv(width2 + GUIDES, width2)
        self.finer = _conv(width2, width2)
        self.out = nn.Conv2d(width2, MASKS, 1)
        self.score = nn.Sequential(nn.Linear(2 * width8 + 3 * GUIDES, 64), nn.ReLU(),
                                   nn.Linear(64, MASKS + 1))

    def forward(self, p4: Tensor, p8: Tensor, pixels: Tensor, guide: Tensor, prompts: Tensor
                ) -> tuple[Tensor, Tensor, Tensor]:
        """Decode.

        Args:
            p4: (N, width4, g, g) features at stride 4.
            p8: (N, width8, g/2, g/2) features at stride 8.
            pixels: (N, width2, m, m) of the picture itself.
            guide: (N, GUIDES, m, m).
            prompts: (N, PROMPTS, g, g).

        Returns:
            Logits (N, 3, m, m), and the logits of their IoU (N, 3) and of presence (N,).
        """
        guide4 = F.avg_pool2d(guide, 2)
        coarse = torch.cat([p8, F.avg_pool2d(guide4, 2), F.max_pool2d(guide4, 2),
                            F.max_pool2d(prompts, 2)], dim=1)
        deep = self.deep8(self.prompt8(coarse))
        four = torch.cat([p4 + _double(self.up4(deep)), guide4, prompts], dim=1)
        four = self.deep4(self.prompt4(four))
        two = self.finer(self.fine(torch.cat([pixels + _double(self.up2(four)), guide], dim=1)))
        facts = torch.cat([deep.mean((2, 3)), deep.amax((2, 3)), guide4.mean((2, 3)),
                           guide4.amax((2, 3)), guide4.amin((2, 3))], dim=1)
        score = self.score(facts)
        return self.out(two), score[:, :MASKS], score[:, MASKS]


class Mini(VisionModel):
    """The embedded model: 192 x 192 input, 48 x 48 descriptors, 96 x 96 logits."""

    image_size = IMAGE_SIZE
    mask_size = MASK_SIZE
    grid_size = GRID_SIZE
    stretched = True
    passes = 1
    similarity_prompt = 'colour'
    guided = True
    compares_background = True
    colour_width = 0.02
    second_look = True
    similarity_gain = 1.0

    def __init__(self, width8: int = 64, width4: int = 32, width2: int = 16,
                 descriptor8: int = 64, descriptor4: int = 32) -> None:
        """Build with random weights.

        Args:
            width8: channels at stride 8.
            width4: channels at stride 4.
            width2: channels at stride 2.
            descriptor8: length of a descriptor at stride 8, the map 'sam'.
            descriptor4: length of a descriptor at stride 4, the map 'dino'.
        """
        super().__init__()
        self.normalize = Normalization()
        self.encoder = EfficientNetLite0()
        self.neck = Neck(width8, width4, descriptor8, descriptor4)
        self.pixels = nn.Conv2d(3, width2, 3, 2, 1)
        self.decoder = Decoder(width8, width4, width2)

    def prepare(self, frames: Tensor) -> Tensor:
        """Stretch (N, H, W, 3) uint8 frames to (N, 3, 192, 192) float in 0 .. 255."""
        x = frames.permute(0, 3, 1, 2).float()
        if x.shape[2:] == (IMAGE_SIZE, IMAGE_SIZE):
            return x
        return F.interpolate(x, (IMAGE_SIZE, IMAGE_SIZE), mode='bilinear', align_corners=False,
                             antialias=max(x.shape[2:]) > IMAGE_SIZE)

    def encode(self, frames: Tensor) -> Encoding:
        """See VisionModel."""
        x = self.prepare(frames).contiguous(memory_format=torch.channels_last)
        p4, p8, descriptor4, descriptor8 = self.neck(*self.encoder(self.normalize(x)))
        maps = {'dino': FeatureMap(descriptor4, padded=False),
                'sam': FeatureMap(descriptor8, padded=False)}
        return Encoding(maps, (p4, p8, self.pixels(x / 127.5 - 1)), chromaticities(frames))

    def decode(self, encoding: Encoding, points: Tensor, labels: Tensor,
               boxes: Tensor | None = None, mask_logits: Tensor | None = None,
               guide: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See VisionModel; the predicted IoU is 0 where the object is not there."""
        p4, p8, pixels = encoding.embedding
        count = len(p4)
        if guide is None:
            guide = p4.new_zeros(count, GUIDES, MASK_SIZE, MASK_SIZE)
        elif guide.shape[1] < GUIDES:
            missing = guide.new_zeros(count, GUIDES - guide.shape[1], *guide.shape[2:])
            guide = torch.cat([guide, missing], dim=1)
        logits, iou, presence = self.decoder(
            p4, p8, pixels, guide, prompt_pictures(points, labels, boxes, mask_logits))
        return logits, iou.sigmoid() * presence.sigmoid()[:, None]


def prompt_pictures(points: Tensor, labels: Tensor, boxes: Tensor | None,
                    mask_logits: Tensor | None) -> Tensor:
    """Draw prompts on the grid of stride 4.

    Args:
        points: (N, K, 2) float [x, y] in input pixels.
        labels: (N, K) int, 1 on the object, 0 beside it.
        boxes: (N, 4) float in input pixels, or None.
        mask_logits: (N, m, m) float, or None.

    Returns:
        (N, PROMPTS, g, g) float: spots on the object and beside it, the box, the mask before.
    """
    scale = GRID_SIZE / IMAGE_SIZE
    axis = torch.arange(GRID_SIZE, device=points.device)
    spots = torch.exp(-(axis - points[..., None] * scale) ** 2 / (2 * _POINT_WIDTH ** 2))
    spots = spots[:, :, 1, :, None] * spots[:, :, 0, None, :]
    pictures = [(spots * (labels == label)[..., None, None]).amax(dim=1) for label in (1, 0)]
    nothing = torch.zeros_like(pictures[0])
    if boxes is None:
        pictures.append(nothing)
    else:
        low, high = boxes[:, :2, None] * scale - 0.5, boxes[:, 2:, None] * scale + 0.5
        inside = ((axis >= low) & (axis <= high)).float()
        pictures.append(inside[:, 1, :, None] * inside[:, 0, None, :])
    if mask_logits is None:
        pictures.append(nothing)
    else:
        small = F.avg_pool2d(mask_logits[:, None], mask_logits.shape[-1] // GRID_SIZE)[:, 0]
        pictures.append(torch.tanh(small / _LOGIT_SCALE))
    return torch.stack(pictures, dim=1)


def load_mini(weights: str | Path | None = None) -> Mini:
    """Return `mini` with trained weights.

    Args:
        weights: a safetensors file written by `samg train mini`; None takes the package's own.

    Raises:
        WeightsError: if the file is missing, unreadable, or of another architecture.
    """
    model = Mini()
    load_strict(model, Path(weights) if weights else WEIGHTS)
    fold_batch_norms(model.eval())
    return model.to(memory_format=torch.channels_last)


def fold_batch_norms(model: nn.Module) -> None:
    """Merge every batch norm into the convolution before it: same result, one pass less."""
    for block in model.modules():
        if not isinstance(block, nn.Sequential):
            continue
        for index in range(1, len(block)):
            before, norm = block[index - 1], block[index]
            if isinstance(before, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                block[index - 1] = fuse_conv_bn_eval(before, norm)
                block[index] = nn.Identity()
