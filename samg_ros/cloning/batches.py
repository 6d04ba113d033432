# SPDX-License-Identifier: Apache-2.0
"""Batches for cloning: random samples, augmented. Each depends on seed and step alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from samg_ros.cloning.samples import LearnedEpisode
from samg_ros.observation import ObservationSpec
from samg_ros.rl.agents.augmentation import shift, shift_offsets
from samg_ros.rl.training.imperfect_masks import show_imperfectly

_MASK_ERRORS = 0.5
"""Share of samples whose masks get errors of their own."""
_GAIN, _OFFSET = 0.2, 12.0
"""Greatest change of each colour channel: as a factor, and of its value in 0 to 255."""
_JOINT_NOISE = 0.01
"""rad or m, standard deviation: encoders and clocks are never exact."""


class ChunkBatch(NamedTuple):
    """N training samples: what the policy saw, and the actions that followed."""

    pixels: list[Tensor]
    """Per camera (N, C, S, S) uint8."""
    joints: Tensor
    """(N, k) float32."""
    actions: Tensor
    """(N, chunk, A) float32."""
    valid: Tensor
    """(N, chunk) float32: 1 for actions within the episode, 0 beyond its end."""


class Samples:
    """All samples of some episodes, with their chunks."""

    def __init__(self, episodes: Sequence[LearnedEpisode], cameras: Sequence[str], chunk: int,
                 spec: ObservationSpec, shift_pad: int) -> None:
        self._episodes, self._cameras, self._chunk = episodes, tuple(cameras), chunk
        self._spec, self._pad = spec, shift_pad
        self._places = np.array([(number, at) for number, episode in enumerate(episodes)
                                 for at in range(len(episode))])

    def __len__(self) -> int:
        return len(self._places)

    def random(self, size: int, seed: int, step: int) -> ChunkBatch:
        """Return a batch of random samples, augmented; the same for the same seed and step."""
        rng = np.random.default_rng((seed, step))
        batch = self.at(rng.integers(0, len(self), size))
        pixels = [self._augmented(each, rng) for each in batch.pixels]
        noise = torch.from_numpy(rng.standard_normal(batch.joints.shape, np.float32))
        return batch._replace(pixels=pixels, joints=batch.joints + _JOINT_NOISE * noise)

    def at(self, indices: npt.NDArray[np.int64]) -> ChunkBatch:
        """Return the samples with these numbers, not augmented."""
        places = self._places[indices]
        chunks = [self._chunk_at(self._episodes[number], at) for number, at in places]
        return ChunkBatch(
            [torch.from_numpy(np.stack([self._episodes[number].pixels[camera][at]
                                        for number, at in places])) for camera in self._cameras],
            torch.from_numpy(np.stack([self._episodes[number].joints[at]
                                       for number, at in places])),
            torch.from_numpy(np.stack([actions for actions, _ in chunks])),
            torch.from_numpy(np.stack([valid for _, valid in chunks])))

    def _chunk_at(self, episode: LearnedEpisode, at: int
                  ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        wanted = np.arange(at, at + self._chunk)
        valid = wanted < len(episode)
        actions = episode.actions[np.minimum(wanted, len(episode) - 1)]
        return actions.astype(np.float32), valid.astype(np.float32)

    def _augmented(self, pixels: Tensor, rng: np.random.Generator) -> Tensor:
        """Return (N, C, S, S) with other masks, colours and places; the fill keeps its colour."""
        if self._spec.source != 'raw':
            pixels = torch.from_numpy(np.stack([
                self._with_mask_errors(each, rng) if rng.random() < _MASK_ERRORS else each
                for each in pixels.numpy()]))
        pixels = self._recoloured(pixels, rng)
        if self._pad:
            generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
            pixels = shift(pixels, shift_offsets(len(pixels), self._pad, generator), self._pad)
        return pixels

    def _with_mask_errors(self, pixels: npt.NDArray[np.uint8], rng: np.random.Generator
                          ) -> npt.NDArray[np.uint8]:
        frames = pixels.reshape(-1, 3, *pixels.shape[1:]).transpose(0, 2, 3, 1)
        fill = np.array(self._spec.fill, np.uint8)
        shown = [show_imperfectly(frame, (frame != fill).any(axis=2), self._spec.fill, rng)
                 for frame in frames]
        return np.stack(shown).transpose(0, 3, 1, 2).reshape(pixels.shape)

    def _recoloured(self, pixels: Tensor, rng: np.random.Generator) -> Tensor:
        count, channels = pixels.shape[:2]
        gains = torch.from_numpy(1 + _GAIN * rng.uniform(-1, 1, (count, 3)).astype(np.float32))
        offsets = torch.from_numpy(_OFFSET * rng.uniform(-1, 1, (count, 3)).astype(np.float32))
        frames = channels // 3
        changed = (pixels * gains.repeat(1, frames)[..., None, None]
                   + offsets.repeat(1, frames)[..., None, None]).clamp(0, 255).to(torch.uint8)
        if self._spec.source == 'raw':
            return changed
        fill = torch.tensor(self._spec.fill * frames, dtype=torch.uint8)[:, None, None]
        outside = (pixels == fill).unflatten(1, (frames, 3)).all(dim=2, keepdim=True)
        outside = outside.expand(-1, -1, 3, -1, -1).flatten(1, 2)
        return torch.where(outside, pixels, changed)
