# SPDX-License-Identifier: Apache-2.0
"""What the embedded models are built of."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


def conv(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """Return a convolution, batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """Two 3 x 3 convolutions around a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = conv(width, width)
        self.second = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


class Attention(nn.Module):
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


def mlp(width: int, inner: int, outputs: int) -> nn.Sequential:
    """Return two linear layers around a GELU."""
    return nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, outputs))


class ContextBlock(nn.Module):
    """Self-attention over the coarsest map: which limbs belong together."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, width, 4)
        self.mlp = mlp(width, 2 * width, width)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attention(y + position, y + position, y)
        return x + self.mlp(self.norm2(x))


def double(x: Tensor) -> Tensor:
    """Return (N, C, 2 H, 2 W) of (N, C, H, W), bilinear."""
    return F.interpolate(x, scale_factor=2, mode='bilinear', align_corners=False)


def zero_sum(maps: int) -> nn.Conv2d:
    """Weigh so many maps into one; all weights are zero before training."""
    layer = nn.Conv2d(maps, 1, 1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer
