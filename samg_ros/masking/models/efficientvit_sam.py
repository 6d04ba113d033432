# SPDX-License-Identifier: Apache-2.0
"""EfficientViT-SAM (arXiv 2402.05008), the segmenter of SAM-G's paper, from its authors' .pt files.

The backbone's parts are timm's, made by the same authors; the neck adds its last three maps up at
stride 8. What the authors' code sets differently from the libraries: every batch and layer norm
has eps 1e-6, those of SAM's transformer included, and the linear attention divides with 1e-15.
"""

from __future__ import annotations

import re
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F

from samg_ros.errors import MissingDependencyError
from samg_ros.masking.models.loading.weights_io import weight_file
from samg_ros.masking.models.sam_segmenter import GRID, WIDTH, SamSegmenter

INPUT_SIZE = 512
NORM_EPS = 1e-6
ATTENTION_EPS = 1e-15
WIDTHS = (32, 64, 128, 256, 512)
# Blocks of the stem and the four stages, and of the neck.
ARCHITECTURES = {'efficientvit-sam-l0': ((1, 1, 1, 4, 4), 4),
                 'efficientvit-sam-l1': ((1, 1, 1, 6, 6), 8)}


class EfficientViTEncoder(nn.Module):
    """EfficientViT-L and the neck that turns its maps into a SAM embedding."""

    def __init__(self, depths: tuple[int, ...], neck_depth: int) -> None:
        """Build with random weights; see ARCHITECTURES."""
        super().__init__()
        try:
            from timm.layers import GELUTanh
            from timm.models.efficientvit_mit import (
                ConvNormAct,
                EfficientVitLarge,
                FusedMBConv,
                LiteMLA,
                ResidualBlock,
            )
        except ImportError as error:
            raise MissingDependencyError('timm is not installed; run `pip install timm`') from error
        backbone = EfficientVitLarge(widths=WIDTHS, depths=depths, num_classes=0,
                                     head_widths=(1, 1))
        self.stem, self.stages = backbone.stem, backbone.stages  # without the classifier
        self.inputs = nn.ModuleList(ConvNormAct(width, WIDTH, 1, act_layer=None)
                                    for width in reversed(WIDTHS[2:]))
        self.middle = nn.Sequential(*(
            ResidualBlock(FusedMBConv(WIDTH, WIDTH, expand_ratio=1, act_layer=(GELUTanh, None)),
                          nn.Identity())
            for _ in range(neck_depth)))
        self.output = nn.Conv2d(WIDTH, WIDTH, 1)
        self.norm = nn.LayerNorm(WIDTH)
        for module in self.modules():
            if isinstance(module, LiteMLA):
                module.eps = ATTENTION_EPS

    def forward(self, x: Tensor) -> Tensor:
        """Encode (N, 3, 512, 512) float to (N, 256, 64, 64)."""
        maps = []
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        fine, middle, coarse = (self._resized(layer(x)) for layer, x
                                in zip(reversed(self.inputs), maps[1:], strict=True))
        x = self.output(self.middle(coarse + (middle + fine)))
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    @staticmethod
    def _resized(x: Tensor) -> Tensor:
        if x.shape[-1] == GRID:
            return x
        # In single precision also where the network runs in half, as the authors do.
        return F.interpolate(x.float(), (GRID, GRID), mode='bicubic', align_corners=False)


class EfficientViTSam(SamSegmenter):
    """EfficientViT-SAM-L: its input is 512 pixels wide, its prompts are in pixels of 1024."""

    def __init__(self, name: str) -> None:
        """Build with random weights; `name` is a key of ARCHITECTURES."""
        super().__init__(EfficientViTEncoder(*ARCHITECTURES[name]), INPUT_SIZE)
        for module in self.modules():
            if isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
                module.eps = NORM_EPS


def official_name(key: str) -> str:
    """Return what the authors call one of EfficientViTSam's parameters."""
    for ours, theirs in (
            (r'^(image_encoder)\.stem\.in_conv\.', r'\1.backbone.stages.0.op_list.0.'),
            (r'^(image_encoder)\.stem\.res(\d+)\.',
             lambda m: f'{m[1]}.backbone.stages.0.op_list.{int(m[2]) + 1}.'),
            (r'^(image_encoder)\.stages\.(\d+)\.blocks\.',
             lambda m: f'{m[1]}.backbone.stages.{int(m[2]) + 1}.op_list.'),
            (r'^(image_encoder)\.inputs\.(\d+)\.', r'\1.neck.input_ops.\2.op_list.0.'),
            (r'^(image_encoder)\.middle\.', r'\1.neck.middle.op_list.'),
            (r'^(image_encoder)\.output\.', r'\1.neck.output_ops.0.op_list.0.conv.')):
        key, found = re.subn(ours, theirs, key)
        if found:
            break
    return key


def load_efficientvit_sam(name: str, weights: str | Path | None) -> EfficientViTSam:
    """Return EfficientViT-SAM with the weights of its authors' .pt file.

    Args:
        name: a key of ARCHITECTURES.
        weights: the file.

    Raises:
        WeightsError: if there is no file, or it does not fit the architecture.
        MissingDependencyError: if timm or segment_anything is not installed.
    """
    path = weight_file(name, weights)
    model = EfficientViTSam(name)
    model.load_weights(path, official_name)
    return model
