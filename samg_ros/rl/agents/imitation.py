# SPDX-License-Identifier: Apache-2.0
"""A policy that learns what to do from being told, not from reward."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from samg_ros.device import usable_device
from samg_ros.observation import Observation
from samg_ros.rl.agents.augmentation import shift, shift_offsets
from samg_ros.rl.agents.networks import Actor, Encoder
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.data.replay import Batch

_PARTS = ('encoder', 'actor', 'optimiser')


class Imitator:
    """The policy's networks, and the squared error to the expert's actions that trains them."""

    def __init__(self, config: TrainConfig, actions: int, device: str = 'cpu') -> None:
        """Build the networks with the configuration's seed.

        Raises:
            ConfigError: if the device cannot be used.
        """
        self.config = config
        self._device = usable_device(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.encoder = Encoder(config)
            joints = len(config.observation.proprioception)
            self.actor = Actor(self.encoder.output_dim, joints, actions, config)
        self.encoder.to(self._device)
        self.actor.to(self._device)
        parameters = [*self.encoder.parameters(), *self.actor.parameters()]
        self.optimiser = torch.optim.Adam(parameters, lr=config.learning_rate)
        self.generator = torch.Generator(self._device).manual_seed(config.seed)

    @torch.no_grad()
    def act(self, observation: Observation) -> NDArray[np.float32]:
        """Return the action for one observation, (actions,) float32 in [-1, 1]."""
        pixels = torch.from_numpy(observation['pixels'])[None].to(self._device)
        joints = observation.get('proprioception')
        seen = None if joints is None else torch.from_numpy(joints)[None].to(self._device)
        result: NDArray[np.float32] = self.actor(self.encoder(pixels), seen)[0].cpu().numpy()
        return result

    def update(self, batch: Batch, share: float) -> Tensor:
        """Take one gradient step.

        Args:
            batch: observations, with the expert's actions.
            share: of the run that is over; the learning rate falls to 0 with it.

        Returns:
            The loss before it, a scalar.
        """
        for group in self.optimiser.param_groups:
            group['lr'] = self.config.learning_rate * (1 - share)
        pixels, pad = batch.pixels, self.config.shift_pad
        if pad:
            pixels = shift(pixels, shift_offsets(len(pixels), pad, self.generator), pad)
        loss = F.mse_loss(self.actor(self.encoder(pixels), batch.joints), batch.action)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss.detach()

    def state_dict(self) -> dict[str, Any]:
        """Return networks and optimiser; the first two are what a policy is loaded from."""
        state = {name: getattr(self, name).state_dict() for name in _PARTS}
        return {**state, 'generator': self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        for name in _PARTS:
            getattr(self, name).load_state_dict(state[name])
        self.generator.set_state(state['generator'].cpu())
