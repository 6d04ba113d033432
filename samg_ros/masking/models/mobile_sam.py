# SPDX-License-Identifier: Apache-2.0
"""MobileSAM (arXiv 2306.14289), from its authors' mobile_sam.pt.

The backbone is timm's TinyViT-5M without its last reduction, so that an input of 1024 ends as 64 x
64, with the neck of SAM's own encoder behind it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from samg_ros.errors import MissingDependencyError
from samg_ros.masking.models.loading.weights_io import weight_file
from samg_ros.masking.models.sam_segmenter import WIDTH, SamSegmenter

NAMES = ('mobile-sam',)
INPUT_SIZE = 1024
EMBED_DIMS = (64, 128, 160, 320)
# The file still holds the classifier of TinyViT, which nothing uses.
UNUSED = ('image_encoder.norm_head.', 'image_encoder.head.')


class TinyViTEncoder(nn.Module):
    """TinyViT-5M and SAM's neck."""

    def __init__(self) -> None:
        """Build with random weights."""
        super().__init__()
        try:
            from segment_anything.modeling.common import LayerNorm2d
            from timm.models.tiny_vit import TinyVit
        except ImportError as error:
            raise MissingDependencyError('timm or segment_anything is not installed; run `pip '
                                         'install timm segment-anything torchvision`') from error
        backbone: Any = TinyVit(
            num_classes=0, embed_dims=EMBED_DIMS, depths=(2, 2, 6, 2), num_heads=(2, 4, 5, 10),
            window_sizes=(7, 7, 14, 7), drop_path_rate=0)
        backbone.stages[3].downsample.conv2.conv.stride = (1, 1)
        self.patch_embed, self.stages = backbone.patch_embed, backbone.stages
        self.neck = nn.Sequential(
            nn.Conv2d(EMBED_DIMS[-1], WIDTH, 1, bias=False), LayerNorm2d(WIDTH),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False), LayerNorm2d(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        """Encode (N, 3, 1024, 1024) float to (N, 256, 64, 64)."""
        return self.neck(self.stages(self.patch_embed(x)))


class MobileSam(SamSegmenter):
    """MobileSAM, at an input of 1024."""

    def __init__(self) -> None:
        """Build with random weights."""
        super().__init__(TinyViTEncoder(), INPUT_SIZE)


def official_name(key: str) -> str:
    """Return what the authors call one of MobileSam's parameters."""
    encoder, _, name = key.partition('.')
    if encoder != 'image_encoder' or name.startswith('neck.'):
        return key
    # Theirs reduces at the end of a layer, timm's at the beginning of the next.
    name = re.sub(r'^stages\.(\d+)\.downsample\.',
                  lambda m: f'layers.{int(m[1]) - 1}.downsample.', name)
    name = re.sub(r'^stages\.', 'layers.', name)
    name = re.sub(r'^patch_embed\.conv([12])\.',
                  lambda m: f'patch_embed.seq.{2 * int(m[1]) - 2}.', name)
    return f'{encoder}.{name.replace(".conv.", ".c.")}'


def load_mobile_sam(name: str, weights: str | Path | None) -> MobileSam:
    """Return MobileSAM with the weights of its authors' mobile_sam.pt.

    Args:
        name: one of NAMES, for messages.
        weights: the file.

    Raises:
        WeightsError: if there is no file, or it does not fit the architecture.
        MissingDependencyError: if timm or segment_anything is not installed.
    """
    path = weight_file(name, weights)
    model = MobileSam()
    model.load_weights(path, official_name, UNUSED)
    return model
