# SPDX-License-Identifier: Apache-2.0
"""The networks of DrQ-v2 (Yarats et al. 2021, arXiv 2107.09645, section 3 and appendix B).

Widths and convolutions come from the configuration, so that the quick preset's small network
and the paper's are the same code. Proprioception, where there is any, joins behind the encoder.
"""

from typing import cast

import torch
from torch import Tensor, nn

from samg_ros.errors import ConfigError
from samg_ros.rl.config import TrainConfig


class PixelEncoder(nn.Module):
    """From (N, C, size, size) pixels in 0 to 255 to (N, output_dim) float32."""

    output_dim: int


class Encoder(PixelEncoder):
    """Convolutions from pixels to a flat vector; channels-last inside, which is faster on CPU."""

    def __init__(self, config: TrainConfig) -> None:
        """Build the convolutions.

        Args:
            config: observation and convolutions.

        Raises:
            ConfigError: if the observation is too small for the layers.
        """
        super().__init__()
        modules: list[nn.Module] = []
        channels, size, _ = config.observation.pixels_shape
        side = size
        for width, kernel, stride in config.convolutions:
            side = (side - kernel) // stride + 1
            if side < 1:
                raise ConfigError(
                    f'observations of {size} pixels are too small for the convolutions '
                    f'{config.convolutions}'
                )
            modules += [nn.Conv2d(channels, width, kernel, stride), nn.ReLU(inplace=True)]
            channels = width
        self.convolutions = nn.Sequential(*modules)
        self.output_dim = channels * side * side
        self._offset = config.pixel_offset
        orthogonal(self, nn.init.calculate_gain('relu'))
        self.to(memory_format=torch.channels_last)

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode (N, C, size, size) pixels in 0 to 255 into (N, output_dim) float32."""
        scaled = pixels.to(torch.float32, memory_format=torch.channels_last, copy=True)
        scaled = scaled.mul_(1 / 255)
        if self._offset:
            scaled = scaled.sub_(self._offset)
        return cast(Tensor, self.convolutions(scaled)).flatten(1)


class Trunk(nn.Sequential):
    """The narrow layer between the encoder and a head: linear, layer norm, tanh."""

    def __init__(self, input_dim: int, feature_dim: int) -> None:
        super().__init__(
            nn.Linear(input_dim, feature_dim), nn.LayerNorm(feature_dim), nn.Tanh()
        )


class Actor(nn.Module):
    """The deterministic policy: encoded observation to an action in [-1, 1]."""

    def __init__(self, input_dim: int, joints: int, actions: int, config: TrainConfig) -> None:
        super().__init__()
        self.trunk = Trunk(input_dim, config.feature_dim)
        self.head = _head(config.feature_dim + joints, config.hidden_dim, actions)
        orthogonal(self)

    def forward(self, encoded: Tensor, joints: Tensor | None) -> Tensor:
        """Return the mean action, (N, actions) in [-1, 1].

        Args:
            encoded: (N, input_dim) float32 from the encoder.
            joints: (N, k) float32 proprioception, or None where the spec has none.
        """
        return torch.tanh(self.before_tanh(encoded, joints))

    def before_tanh(self, encoded: Tensor, joints: Tensor | None) -> Tensor:
        """Return what `forward` squashes, (N, actions)."""
        return cast(Tensor, self.head(_join(self.trunk(encoded), joints)))


class Critic(nn.Module):
    """Two action values with one trunk."""

    def __init__(self, input_dim: int, joints: int, actions: int, config: TrainConfig) -> None:
        super().__init__()
        self.trunk = Trunk(input_dim, config.feature_dim)
        width = config.feature_dim + joints + actions
        self.first = _head(width, config.hidden_dim, 1)
        self.second = _head(width, config.hidden_dim, 1)
        orthogonal(self)

    def forward(
        self, encoded: Tensor, joints: Tensor | None, action: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return both values of the action, (N, 1) each.

        Args:
            encoded: (N, input_dim) float32 from the encoder.
            joints: (N, k) float32 proprioception, or None where the spec has none.
            action: (N, actions) in [-1, 1].
        """
        features = torch.cat((_join(self.trunk(encoded), joints), action), dim=1)
        return self.first(features), self.second(features)


def _head(input_dim: int, hidden_dim: int, output_dim: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(input_dim, hidden_dim),
        nn.ReLU(inplace=True),
        nn.Linear(hidden_dim, hidden_dim),
        nn.ReLU(inplace=True),
        nn.Linear(hidden_dim, output_dim),
    )


def _join(features: Tensor, joints: Tensor | None) -> Tensor:
    return features if joints is None else torch.cat((features, joints), dim=1)


def orthogonal(module: nn.Module, convolution_gain: float = 1.0) -> None:
    """Initialise like DrQ-v2: orthogonal weights, no bias; other layers stay as they are."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            gain = convolution_gain if isinstance(part, nn.Conv2d) else 1.0
            nn.init.orthogonal_(part.weight, gain)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
