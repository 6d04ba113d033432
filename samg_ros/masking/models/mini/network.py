# SPDX-License-Identifier: Apache-2.0
"""The embedded model: two light encoders, a descriptor head, a SAM-style mask decoder.

It plays both of SAM-G's parts, DINOv2's (descriptors that follow a body part through pose, light,
colour and background) and SAM's (points, box and mask in; three masks and predicted IoU out), so
that the masker drives it as it drives the large models. The decoder is the two-way transformer of
Segment Anything (arXiv 2304.02643, appendix A) at a sixteenth of its width, with the encoder's
finer maps added while it upscales. Trained by `samg train mini`; see docs/mini.md.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from samg_ros.masking.geometry import scaled_size
from samg_ros.masking.models.base import Encoding, VisionModel, chromaticities, scaled
from samg_ros.masking.models.loading.weights_io import load_strict
from samg_ros.masking.models.mini.decoder import MaskDecoder, PromptEncoder
from samg_ros.masking.models.mini.encoder import IMAGE_SIZE, Encoder
from samg_ros.masking.models.mini.layers import conv, double, mlp, zero_sum
from samg_ros.masking.models.mini.trunk import WIDTHS, Trunk
from samg_ros.masking.settings import GUIDANCE_MAPS

FOLDER = Path(__file__).parent.parent / 'weights'
WEIGHTS = FOLDER / 'mini.safetensors'

MASK_CHANNELS = 8
TRUNK_SIZE = 2 * IMAGE_SIZE
TRUNK_FEATURES = 64
ABSENT = -16.0
"""Logit of every pixel where the object is not there; the network's own are within +-20."""


class Mini(VisionModel):
    """The embedded model; 96 x 96 logits, 48 x 48 descriptors.

    Beside its own encoder it has the frozen first stages of one that saw ImageNet's photographs, at
    twice the resolution. Its 'dino' features are theirs, its 'sam' features its own descriptors. It
    says whether the object is there at all; where it is not, every logit is ABSENT, as in SAM 2.
    """

    image_size = IMAGE_SIZE
    mask_size = IMAGE_SIZE
    grid_size = IMAGE_SIZE // 2
    passes = 1
    fits_weights = False
    second_look = True
    similarity_prompt = 'full'
    similarity_prompts = ('off', 'full')
    guided = True
    guides = GUIDANCE_MAPS['full']
    presence_threshold: Tensor

    def __init__(self, widths: tuple[int, int, int, int] = (16, 32, 64, 128),
                 descriptor: int = 32) -> None:
        """Build with random weights.

        Args:
            widths: channels of its own encoder at strides 1, 2, 4 and 8.
            descriptor: length of a descriptor.
        """
        super().__init__()
        self.feature_maps = {'dino': True, 'sam': True}
        w1, w2, w4, _ = widths
        self.encoder = Encoder(widths)
        self.descriptor = nn.Sequential(conv(w2, w2), nn.Conv2d(w2, descriptor, 1))
        self.embedding = nn.Conv2d(w4, w4, 1)
        self.skip2 = nn.Conv2d(w2, w2, 1)
        self.skip1 = nn.Conv2d(w1, MASK_CHANNELS, 1)
        self.prompt = PromptEncoder(w4, self.guides)
        self.decoder = MaskDecoder(w4, w2, MASK_CHANNELS)
        self.evidence_sum = zero_sum(self.guides)
        self.evidence_shape = nn.Sequential(nn.Conv2d(self.guides, 16, 3, padding=1), nn.ReLU(),
                                            zero_sum(16))
        self.trunk = Trunk()
        self.projection = nn.Conv2d(sum(WIDTHS[2:]), TRUNK_FEATURES, 1).requires_grad_(False)
        self.photo2 = nn.Conv2d(WIDTHS[1], w2, 1)
        self.photo4 = nn.Conv2d(TRUNK_FEATURES, w4, 1)
        self.disconnect_trunk()
        self.presence = mlp(w4 + self.guides + 1, w4, 1)
        self.register_buffer('presence_threshold', torch.zeros(()))

    def disconnect_trunk(self) -> None:
        """Let the decoder begin without the trunk's maps: the layers that add them are zero."""
        for layer in (self.photo2, self.photo4):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    @property
    def detail_size(self) -> int:
        """See VisionModel."""
        return TRUNK_SIZE

    def prepare(self, frames: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """See VisionModel; (N, 3, 96, 96) and (N, 3, 192, 192) float in -1 .. 1, zero-padded."""
        return (padded(frames, IMAGE_SIZE), padded(frames, TRUNK_SIZE)), chromaticities(frames)

    def run_encoders(self, *pictures: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """See VisionModel; 24 x 24 and 48 x 48 over the padded square."""
        x, large = pictures
        x1, x2, x4 = self.encoder(x.contiguous(memory_format=torch.channels_last))
        map4, photo = self.photo_features(large)
        embedding = self.embedding(x4) + self.photo4(photo)
        return (photo, self.descriptor(x2)), \
            (embedding, self.skip2(x2) + self.photo2(map4), self.skip1(x1))

    def photo_features(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return the trunk's maps (N, 24, 48, 48) and, projected, (N, 64, 24, 24)."""
        map4, concatenated = self.trunk_maps(pictures)
        return map4, self.projection(concatenated)

    def trunk_maps(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N, 24, 48, 48) and (N, 232, 24, 24) of (N, 3, 192, 192) in -1 .. 1."""
        map4, map8, *coarse = self.trunk(_grey_levels(pictures))
        return map4, torch.cat([map8, *(double(one) for one in coarse)], dim=1)

    def randomise_trunk(self, seed: int, pictures: Tensor) -> None:
        """Give the trunk random weights; seed and pictures as in Trunk.randomise and trunk_maps."""
        self.trunk.randomise(seed, _grey_levels(pictures))

    def evidence_logits(self, guide: Tensor) -> Tensor:
        """Return (N, 1, m, m): how much (N, 7, m, m) guidance speaks for the object."""
        found: Tensor = self.evidence_sum(guide) + self.evidence_shape(guide)
        return found

    def object_map(self, maps: Tensor) -> Tensor:
        """See VisionModel."""
        return torch.tanh(self.evidence_logits(maps * self.similarity_gain) / 8)

    def decode(self, encoding: Encoding, points: Tensor, labels: Tensor,
               boxes: Tensor | None = None, mask_logits: Tensor | None = None,
               guide: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See VisionModel."""
        logits, predicted_iou, presence = self.decode_with_presence(
            encoding, points, labels, boxes, mask_logits, guide)
        if presence is None:
            return logits, predicted_iou
        there = (presence > self.presence_threshold)[:, None]
        return torch.where(there[..., None, None], logits, ABSENT), \
            predicted_iou * presence.sigmoid()[:, None]

    def decode_with_presence(self, encoding: Encoding, points: Tensor, labels: Tensor,
                             boxes: Tensor | None, mask_logits: Tensor | None,
                             guide: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return logits, predicted IoU, and (N,) logits of the object's presence.

        Without guidance a person or program that clicks says that it is there: None.
        """
        logits, predicted_iou, token = self._decoded(encoding, points, labels, boxes, mask_logits,
                                                     guide)
        if guide is None:
            return logits, predicted_iou, None
        evidence = self.evidence_logits(guide)
        highest = torch.cat([guide, evidence], dim=1).amax(dim=(2, 3)) / 10
        presence = self.presence(torch.cat([token, highest], dim=1))[:, 0]
        return logits + evidence, predicted_iou, presence

    def _decoded(self, encoding: Encoding, points: Tensor, labels: Tensor, boxes: Tensor | None,
                 mask_logits: Tensor | None,
                 guide: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        embedding, skip2, skip1 = encoding.embedding
        mask2 = None
        if mask_logits is None and guide is None:
            image = embedding + self.prompt.no_mask
        else:
            mask2, mask4 = self.prompt.dense(mask_logits, guide)
            image = embedding + mask4
        prompt = self.prompt.tokens(points, labels, boxes)
        found: tuple[Tensor, Tensor, Tensor] = self.decoder(
            image, self._map_positions(embedding.shape[-1]), prompt, skip2, skip1, mask2)
        return found

    def _map_positions(self, grid: int) -> Tensor:
        axis = torch.arange(grid, device=self.prompt.frequencies.device)
        step = IMAGE_SIZE / grid
        y, x = torch.meshgrid(axis, axis, indexing='ij')
        centres = (torch.stack([x, y], dim=-1).flatten(0, 1) + 0.5) * step - 0.5
        return self.prompt.positions(centres)[None]


def _grey_levels(pictures: Tensor) -> Tensor:
    """Return the trunk's input, 0 .. 255, of pictures in -1 .. 1."""
    return ((pictures + 1) * 127.5).contiguous(memory_format=torch.channels_last)


def padded(frames: Tensor, size: int) -> Tensor:
    """Return (N, 3, size, size) float in -1 .. 1 of (N, H, W, 3) uint8, 0 in the padding."""
    height, width = frames.shape[1:3]
    rows, columns = scaled_size(height, width, size)
    x = frames.permute(0, 3, 1, 2).float()
    if (rows, columns) != (height, width):
        x = scaled(x, rows, columns, antialias=max(height, width) > size)
    x = x / 127.5 - 1
    return F.pad(x, (0, size - columns, 0, size - rows))


def load_mini(weights: str | Path | None = None) -> Mini:
    """Return `mini` with trained weights.

    Args:
        weights: a safetensors file written by `samg train mini`; None takes the package's own.

    Raises:
        WeightsError: if the file is missing, unreadable, or of another architecture.
    """
    model = Mini()
    load_strict(model, Path(weights or WEIGHTS))
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
