# SPDX-License-Identifier: Apache-2.0
"""A network that predicts the next k actions at once, from camera pictures and joint positions.

Predicting a chunk of actions and blending chunks that overlap in time is the idea of ACT (Zhao et
al. 2023, arXiv 2304.13705, section IV). The network here is a small one for two CPU cores: per
camera some convolutions and a spatial softmax (Levine et al. 2016, arXiv 1504.00702, section 5.2),
which says where in the picture each feature is; its spread, mean and value go along, since the size
of an object says how far away it is.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samg_ros.errors import ConfigError

VELOCITIES, AS_RECORDED = 'velocities', 'as_recorded'
LEARNED = (VELOCITIES, AS_RECORDED)
"""velocities: recorded joint positions are learned as their changes per second, which do not depend
on how far a command is ahead of its joint. as_recorded: actions are learned as they stand."""
_FEATURES_PER_CHANNEL = 5
_LEAST_SPREAD = 1e-6


@dataclass(frozen=True)
class ChunkSettings:
    """What a chunk policy sees and predicts.

    Raises:
        ConfigError: if a value is out of range.
    """

    cameras: tuple[str, ...]
    """Names of the cameras, the one with the topics of a single camera first."""
    joints: int
    """Numbers in the proprioception."""
    actions: int
    """Numbers in an action."""
    chunk: int = 8
    """Actions predicted at once; 1 for a policy without chunks."""
    period_s: float = 0.1
    """Seconds between two actions of a chunk, from the demonstrations."""
    learned: str = VELOCITIES
    """One of LEARNED."""
    channels: tuple[int, ...] = (16, 32, 32, 32)
    """Of the convolutions; each but the last halves the picture."""
    hidden_dim: int = 256
    """Width of the two hidden layers."""
    pixels: tuple[int, int, int] = (3, 96, 96)
    """Shape of one camera's observation."""
    every: int = 1
    """Frames from one prediction to the next; in between the chunks that are known are followed."""
    blend_s: float = 0.0
    """Time constant of the weights of chunks by their age; 0 follows the newest alone."""

    def __post_init__(self) -> None:
        for name in ('chunk', 'actions', 'every', 'hidden_dim'):
            if getattr(self, name) < 1:
                raise ConfigError(f'{name} must be at least 1, got {getattr(self, name)}')
        if self.every > self.chunk:
            raise ConfigError(f'a new chunk every {self.every} frames leaves frames without an '
                              f'action: a chunk has {self.chunk}')
        if self.learned not in LEARNED:
            raise ConfigError(f"learned must be one of {', '.join(LEARNED)}, got '{self.learned}'")
        if not self.period_s > 0 or self.blend_s < 0:
            raise ConfigError(f'period_s must be above 0 and blend_s at least 0, got '
                              f'{self.period_s} and {self.blend_s}')
        if not self.cameras or len(self.channels) < 2:
            raise ConfigError('a chunk policy needs a camera and two convolutions at least')

    def to_json(self) -> str:
        """Return the settings as text, for a checkpoint."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ChunkSettings:
        """Rebuild the settings from `to_json`.

        Raises:
            ConfigError: if the text is something else.
        """
        try:
            values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value
                                      for name, value in json.loads(text).items()}
            return cls(**values)
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigError(f'the settings of the chunk policy cannot be used: {error}'
                              ) from error


class CameraEncoder(nn.Module):
    """From (N, C, S, S) pixels to where each feature is, how spread out and how strong."""

    def __init__(self, settings: ChunkSettings) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before, side = settings.pixels[:2]
        for index, channels in enumerate(settings.channels):
            last = index == len(settings.channels) - 1
            layers += [nn.Conv2d(before, channels, 5 if index == 0 else 3, 1 if last else 2,
                                 2 if index == 0 else 1)]
            layers += [] if last else [nn.ReLU(inplace=True)]
            side = side if last else (side + 1) // 2
            before = channels
        self.convolutions = nn.Sequential(*layers)
        self.output_dim = _FEATURES_PER_CHANNEL * before
        line = torch.linspace(-1, 1, side)
        self.register_buffer('x', line[None].expand(side, side).reshape(-1), persistent=False)
        self.register_buffer('y', line[:, None].expand(side, side).reshape(-1), persistent=False)
        self.to(memory_format=torch.channels_last)

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode (N, C, S, S) pixels in 0 to 255 into (N, output_dim) float32."""
        scaled = pixels.to(torch.float32, memory_format=torch.channels_last) * (1 / 255)
        maps = cast(Tensor, self.convolutions(scaled)).flatten(2)
        share = maps.softmax(2)
        x, y = cast(Tensor, self.x), cast(Tensor, self.y)
        mean_x, mean_y = (share * x).sum(2), (share * y).sum(2)
        spread = (share * (x**2 + y**2)).sum(2) - mean_x**2 - mean_y**2
        return torch.cat((mean_x, mean_y, spread.clamp(min=_LEAST_SPREAD).sqrt(),
                          F.relu(maps).mean(2), (share * maps).sum(2)), dim=1)


class ChunkNetwork(nn.Module):
    """The whole policy; what it gives is in the units of the actions."""

    def __init__(self, settings: ChunkSettings) -> None:
        super().__init__()
        self.settings = settings
        self.encoders = nn.ModuleList(CameraEncoder(settings) for _ in settings.cameras)
        seen = sum(cast(CameraEncoder, encoder).output_dim for encoder in self.encoders)
        width = settings.hidden_dim
        self.head = nn.Sequential(
            nn.Linear(seen + 3 * settings.joints, width), nn.ReLU(inplace=True),
            nn.Linear(width, width), nn.ReLU(inplace=True),
            nn.Linear(width, settings.chunk * settings.actions))
        self.joint_mean: Tensor
        self.joint_scale: Tensor
        self.action_mean: Tensor
        self.action_scale: Tensor
        for name, size, value in (('joint_mean', settings.joints, 0.0),
                                  ('joint_scale', settings.joints, 1.0),
                                  ('action_mean', settings.actions, 0.0),
                                  ('action_scale', settings.actions, 1.0)):
            self.register_buffer(name, torch.full((size,), value))

    def forward(self, pixels: list[Tensor], joints: Tensor) -> Tensor:
        """Return chunks in units of `action_scale` about `action_mean`, (N, chunk, actions).

        Args:
            pixels: per camera (N, C, S, S) in 0 to 255.
            joints: (N, k) float32 rad or m; their sines and cosines go along, for joints that turn
                without end.
        """
        seen = [encoder(each) for encoder, each in zip(self.encoders, pixels, strict=True)]
        joint_parts = ((joints - self.joint_mean) / self.joint_scale, joints.sin(), joints.cos())
        chunks = cast(Tensor, self.head(torch.cat((*seen, *joint_parts), dim=1)))
        return chunks.unflatten(1, (self.settings.chunk, self.settings.actions))

    def predict(self, pixels: list[Tensor], joints: Tensor) -> Tensor:
        """Return chunks in the units of the actions, as `forward`."""
        return self(pixels, joints) * self.action_scale + self.action_mean
