# SPDX-License-Identifier: Apache-2.0
"""Behaviour cloning: the network's chunks come closer to those of the demonstrations.

Every step depends on the settings, the seed and its own number alone, and what it changes is in the
file of the training: a run that is killed and started again ends with the weights of one that was
left alone. Some episodes are held out; the weights that do best on them are the policy.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from samg_ros.cloning.batches import ChunkBatch, Samples
from samg_ros.cloning.samples import LearnedEpisode
from samg_ros.device import usable_device
from samg_ros.errors import CheckpointError, DemonstrationError
from samg_ros.files.outputs import write_bytes
from samg_ros.files.reading import parsing
from samg_ros.files.tensors import read_torch
from samg_ros.rl.agents.chunk_blender import ChunkBlender
from samg_ros.rl.agents.chunk_network import ChunkNetwork, ChunkSettings
from samg_ros.rl.config import TrainConfig

TRAINING_NAME = 'training.pt'
"""Name of the file in a run folder from which a training goes on."""
_HELD_OUT = 0.1
"""Share of episodes that are held out for validation."""
_HUBER = 0.5
"""Error, in standard deviations of an action, above which it counts linearly: hands tremble."""
_AVERAGE = 0.998
"""Of the running average of the weights, which is what is validated and kept."""
_WARM_UP = 0.05
"""Share of the steps in which the learning rate rises."""
_BLENDS = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Time constants of blending that are tried on the held-out episodes, in periods."""
_LEAST_SCALE = 1e-3
"""Least standard deviation of a joint or an action: one that never moves is not divided by 0."""


@dataclass(frozen=True)
class Validation:
    """How well the chunks fit the episodes that were held out."""

    step: int
    train_loss: float
    """Mean of the steps since the validation before."""
    loss: float
    errors: tuple[float, ...]
    """Per number of an action: mean absolute error of the first action of the chunks."""


class Cloning:
    """One training: the network, its running average, and what was measured."""

    def __init__(self, config: TrainConfig, settings: ChunkSettings,
                 episodes: Sequence[LearnedEpisode], run_dir: Path, device: str = 'cpu') -> None:
        """Begin, or go on where an interrupted training was.

        Args:
            config: steps, batch_size, learning_rate, seed, shift_pad, checkpoint_every count.
            settings: of the network.
            episodes: all; which are held out depends on the seed alone.
            run_dir: run folder.
            device: torch device.

        Raises:
            DemonstrationError: if there is only one episode.
            CheckpointError: if the folder holds a training with other settings.
        """
        if len(episodes) < 2:
            raise DemonstrationError('cloning needs two episodes at least: one is held out for '
                                     'validation')
        self.config, self.settings = config, settings
        self._path = run_dir / TRAINING_NAME
        self._device = usable_device(device)
        self.held_out = _held_out(len(episodes), config.seed)
        spec, pad = config.observation, config.shift_pad
        learned = [each for index, each in enumerate(episodes) if index not in self.held_out]
        self._held_out = [episodes[index] for index in sorted(self.held_out)]
        self._samples = Samples(learned, settings.cameras, settings.chunk, spec, pad)
        self._validated = Samples(self._held_out, settings.cameras, settings.chunk, spec, 0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self._network = ChunkNetwork(settings)
        _normalise(self._network, learned)
        self._network.to(self._device)
        self._average = {name: value.clone() for name, value in self._network.state_dict().items()}
        self._optimiser = torch.optim.AdamW(self._network.parameters(), lr=config.learning_rate,
                                            weight_decay=1e-4)
        self.step = self.saved_step = 0
        self.history: list[Validation] = []
        self.best: dict[str, Tensor] = self._average
        self.best_loss = float('inf')
        self.seconds = 0.0
        self._losses: list[float] = []
        if self._path.is_file():
            self._load()

    @property
    def done(self) -> bool:
        """Whether all steps are made."""
        return self.step >= self.config.steps

    def run(self, on_step: Callable[[Cloning], None] | None = None,
            should_stop: Callable[[], bool] | None = None) -> None:
        """Make the remaining steps; validate and save regularly and at the end.

        Args:
            on_step: called after each step.
            should_stop: asked before each step; true returns; what was learned since the last
                checkpoint is learned anew by the next run.
        """
        began = time.monotonic()
        while not self.done:
            if should_stop is not None and should_stop():
                break
            self._update(self._samples.random(self.config.batch_size, self.config.seed, self.step))
            self.step += 1
            if self.done or self.step % self.config.checkpoint_every == 0:
                self._validate()
                self.seconds += time.monotonic() - began
                began = time.monotonic()
                self._save()
            if on_step is not None:
                on_step(self)

    @property
    def blended(self) -> ChunkSettings:
        """The settings with the blending that fits the held-out episodes best."""
        network = ChunkNetwork(self.settings).to(self._device).eval()
        network.load_state_dict(self.best)
        chunks = [self._chunks(network, episode) for episode in self._held_out]
        errors = {blend: np.mean([
            _blended_error(episode, chunk, self.settings, blend * self.settings.period_s)
            for episode, chunk in zip(self._held_out, chunks, strict=True)]) for blend in _BLENDS}
        best = min(errors, key=lambda blend: float(errors[blend]))
        return replace(self.settings, blend_s=best * self.settings.period_s)

    # Steps

    def _update(self, batch: ChunkBatch) -> None:
        for group in self._optimiser.param_groups:
            group['lr'] = self.config.learning_rate * _schedule(self.step / self.config.steps)
        self._network.train()
        loss = self._loss(self._network, batch)
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()
        self._losses.append(float(loss.detach()))
        share = min(_AVERAGE, (1 + self.step) / (10 + self.step))
        for name, value in self._network.state_dict().items():
            self._average[name].lerp_(value, 1 - share)

    def _loss(self, network: ChunkNetwork, batch: ChunkBatch) -> Tensor:
        predicted = network([each.to(self._device) for each in batch.pixels],
                            batch.joints.to(self._device))
        wanted = (batch.actions.to(self._device) - network.action_mean) / network.action_scale
        error = F.smooth_l1_loss(predicted, wanted, beta=_HUBER, reduction='none').mean(2)
        valid = batch.valid.to(self._device)
        return (error * valid).sum() / valid.sum()

    @torch.no_grad()
    def _validate(self) -> None:
        network = ChunkNetwork(self.settings).to(self._device).eval()
        network.load_state_dict(self._average)
        total, count, errors = 0.0, 0, []
        for at in range(0, len(self._validated), 256):
            batch = self._validated.at(np.arange(at, min(at + 256, len(self._validated))))
            size = len(batch.actions)
            total += size * float(self._loss(network, batch))
            count += size
            predicted = network.predict([each.to(self._device) for each in batch.pixels],
                                        batch.joints.to(self._device))[:, 0].cpu()
            errors.append((predicted - batch.actions[:, 0]).abs().numpy())
        loss = total / count
        self.history.append(Validation(
            self.step, float(np.mean(self._losses)) if self._losses else float('nan'), loss,
            tuple(np.concatenate(errors).mean(axis=0).tolist())))
        self._losses = []
        if loss < self.best_loss:
            self.best_loss = loss
            self.best = {name: value.clone() for name, value in self._average.items()}

    @torch.no_grad()
    def _chunks(self, network: ChunkNetwork, episode: LearnedEpisode) -> npt.NDArray[np.float64]:
        """Return the chunk of every sample of an episode, (T, chunk, A)."""
        pixels = [torch.from_numpy(episode.pixels[name]).to(self._device)
                  for name in self.settings.cameras]
        joints = torch.from_numpy(episode.joints).to(self._device)
        return np.concatenate([
            network.predict([each[at:at + 64] for each in pixels], joints[at:at + 64]
                            ).cpu().numpy().astype(np.float64)
            for at in range(0, len(joints), 64)])

    # Interruptions

    def _save(self) -> None:
        state = {'settings': self.settings.to_json(), 'config': repr(self.config),
                 'step': self.step, 'seconds': self.seconds, 'network': self._network.state_dict(),
                 'average': self._average, 'optimiser': self._optimiser.state_dict(),
                 'best': self.best, 'best_loss': self.best_loss,
                 'history': [list(vars(each).values()) for each in self.history]}
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_bytes(self._path, buffer.getbuffer())
        self.saved_step = self.step

    def _load(self) -> None:
        advice = 'delete it to begin anew, or choose another run folder'
        state: dict[str, Any] = read_torch(self._path, CheckpointError, advice, self._device)
        with parsing(f"'{self._path}' is not whole", CheckpointError, advice):
            same = (state['settings'], state['config']) == (self.settings.to_json(),
                                                            repr(self.config))
        if not same:
            raise CheckpointError(f"'{self._path.parent}' holds a training with other settings or "
                                  'demonstrations; choose another run folder')
        self.step = self.saved_step = state['step']
        self.seconds = state['seconds']
        self._network.load_state_dict(state['network'])
        self._average, self.best = state['average'], state['best']
        self.best_loss = state['best_loss']
        self._optimiser.load_state_dict(state['optimiser'])
        self.history = [Validation(step, train, loss, tuple(errors))
                        for step, train, loss, errors in state['history']]


def _held_out(count: int, seed: int) -> frozenset[int]:
    """Return the indices of the episodes that are held out: at least one, never all."""
    chosen = np.random.default_rng(seed).permutation(count)[:max(1, round(_HELD_OUT * count))]
    return frozenset(map(int, chosen))


def _normalise(network: ChunkNetwork, episodes: Sequence[LearnedEpisode]) -> None:
    """Set the network's units to the spread of joints and actions."""
    for name, values in (('joint', np.concatenate([each.joints for each in episodes])),
                         ('action', np.concatenate([each.actions for each in episodes]))):
        if values.shape[1]:
            getattr(network, f'{name}_mean').copy_(torch.from_numpy(values.mean(axis=0)))
            getattr(network, f'{name}_scale').copy_(torch.from_numpy(
                np.maximum(values.std(axis=0), _LEAST_SCALE)))


def _schedule(share: float) -> float:
    """Return the learning rate as a share of its greatest value: a warm-up, then a cosine to 0."""
    if share < _WARM_UP:
        return (share + 1e-3) / (_WARM_UP + 1e-3)
    return 0.5 * (1 + float(np.cos(np.pi * (share - _WARM_UP) / (1 - _WARM_UP))))


def _blended_error(episode: LearnedEpisode, chunks: npt.NDArray[np.float64],
                   settings: ChunkSettings, blend_s: float) -> float:
    """Return the mean error of blended chunks on an episode, in the units of the actions."""
    blender = ChunkBlender(settings.chunk, settings.period_s, blend_s)
    errors = []
    for index, chunk in enumerate(chunks):
        now_s = index * settings.period_s
        blender.add(now_s, chunk)
        action = blender.at(now_s)
        assert action is not None
        errors.append(np.abs(action - episode.actions[index]).mean())
    return float(np.mean(errors))
