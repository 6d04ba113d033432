# SPDX-License-Identifier: Apache-2.0
"""The encoder of the embedded models: pictures of 96 x 96 pixels to maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from samg_ros.masking.models.mini.layers import ContextBlock, Residual, conv, double

IMAGE_SIZE = 96


class Encoder(nn.Module):
    """Pictures to maps at strides 1, 2 and 4; two stages deeper for context."""

    def __init__(self, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        w1, w2, w4, w8 = widths
        self.stage1 = conv(3, w1)
        self.stage2 = nn.Sequential(conv(w1, w2, 2), Residual(w2))
        self.stage4 = nn.Sequential(conv(w2, w4, 2), Residual(w4))
        self.stage8 = nn.Sequential(conv(w4, w8, 2), Residual(w8))
        self.position = nn.Parameter(torch.zeros(1, (IMAGE_SIZE // 8) ** 2, w8))
        self.context = nn.ModuleList(ContextBlock(w8) for _ in range(2))
        self.lateral8 = nn.Conv2d(w8, w4, 1)
        self.merge4 = conv(w4, w4)
        self.lateral4 = nn.Conv2d(w4, w2, 1)
        self.merge2 = conv(w2, w2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x1 = self.stage1(x)
        x2 = self.stage2(x1)
        x4 = self.stage4(x2)
        x8 = self.stage8(x4)
        tokens = x8.flatten(2).transpose(1, 2)
        for block in self.context:
            tokens = block(tokens, self.position)
        x8 = tokens.transpose(1, 2).unflatten(2, x8.shape[2:])
        x4 = self.merge4(x4 + double(self.lateral8(x8)))
        x2 = self.merge2(x2 + double(self.lateral4(x4)))
        return x1, x2, x4
