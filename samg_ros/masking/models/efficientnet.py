# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite0 (arXiv 1905.11946, without squeeze-and-excitation) up to stride 16.

The part of the network whose ImageNet weights `mini` keeps as they are.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

STAGES = ((16, 1, 3, 1, 1), (24, 6, 3, 2, 2), (40, 6, 5, 2, 2), (80, 6, 3, 2, 3), (112, 6, 5, 1, 3))
"""Channels, expansion, kernel, stride and number of blocks of each stage."""
STEM = 32
TAKEN = (1, 2, 4)
"""Stages whose output is used: strides 4, 8 and 16."""
CHANNELS = tuple(STAGES[index][0] for index in TAKEN)
_EPSILON = 1e-3  # of the batch norms, as in the original


class SamePadded(nn.Conv2d):
    """A convolution padded as TensorFlow pads: at stride 2 one more pixel below and right."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            return F.conv2d(x, self.weight, self.bias, 1, kernel // 2, 1, self.groups)
        before, total = (kernel - stride) // 2, kernel - stride  # sides are even
        x = F.pad(x, (before, total - before, before, total - before))
        return F.conv2d(x, self.weight, self.bias, stride, 0, 1, self.groups)


def _norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=_EPSILON)


class _Block(nn.Module):
    """Expand, filter each channel, project; a shortcut where shapes allow."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int
                 ) -> None:
        super().__init__()
        width = inputs * expansion
        self.shortcut = stride == 1 and inputs == outputs
        expand = [nn.Conv2d(inputs, width, 1, bias=False), _norm(width), nn.ReLU6(inplace=True)]
        self.layers = nn.Sequential(
            *(expand if expansion > 1 else []),
            SamePadded(width, width, kernel, stride, groups=width, bias=False), _norm(width),
            nn.ReLU6(inplace=True), nn.Conv2d(width, outputs, 1, bias=False), _norm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(x)
        return x + found if self.shortcut else found


class EfficientNetLite0(nn.Module):
    """Pictures to features at strides 4, 8 and 16."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(SamePadded(3, STEM, 3, 2, bias=False), _norm(STEM),
                                  nn.ReLU6(inplace=True))
        stages, inputs = [], STEM
        for outputs, expansion, kernel, stride, count in STAGES:
            stages.append(nn.Sequential(*(
                _Block(inputs if index == 0 else outputs, outputs, expansion, kernel,
                       stride if index == 0 else 1) for index in range(count))))
            inputs = outputs
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return (N, 24, s/4, s/4), (N, 40, s/8, s/8), (N, 112, s/16, s/16) of (N, 3, s, s).

        Args:
            x: normalised by ImageNet's mean and deviation; s a multiple of 16.
        """
        x = self.stem(x)
        found = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in TAKEN:
                found.append(x)
        return tuple(found)
