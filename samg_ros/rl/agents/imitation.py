# SPDX-License-Identifier: Apache-2.0
"""A policy that learns what to do from an expert's actions, not from reward.

DAgger (Ross et al. 2011, arXiv 1011.0686) as a stream: after a first part in which the expert acts,
most episodes are the policy's own, and the expert says at each of their frames what it would have
done. Whoever acts, the expert's action is what is learned.
"""

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
from samg_ros.sim.tasks import get_task

_PARTS = ('encoder', 'actor', 'optimiser')

_OWN_EPISODES = {True: 0.5, False: 0.75}
"""Share of episodes in which the policy acts, once it learns: of the arm, whose expert changes the
goal on the way, and elsewhere."""

_SQUARED_UP_TO = 0.1
"""Error of an action up to which it counts squared, and linearly above. Many experts push with all
their strength one way or the other; where the policy cannot tell which it is, the square would
teach it the mean of both, which is to do little."""


class Imitator:
    """The policy's networks, and the error to the expert's actions that trains them."""

    def __init__(self, config: TrainConfig, actions: int, device: str = 'cpu') -> None:
        """Build the networks with the configuration's seed.

        Raises:
            ConfigError: if the device cannot be used.
        """
        self.config = config
        self.actions = actions
        self.device = usable_device(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.encoder = Encoder(config)
            joints = len(config.observation.proprioception)
            self.actor = Actor(self.encoder.output_dim, joints, actions, config)
        self.encoder.to(self.device)
        self.actor.to(self.device)
        parameters = [*self.encoder.parameters(), *self.actor.parameters()]
        self.optimiser = torch.optim.Adam(parameters, lr=config.learning_rate)
        self.generator = torch.Generator(self.device).manual_seed(config.seed)
        self._own_share = _OWN_EPISODES[get_task(config.task).family == 'arm']
        self._acts = False

    def load_pretrained(self) -> None:
        """Get nothing: a clone learns all that it has."""

    @torch.no_grad()
    def act(self, observation: Observation, step: int | None = None) -> NDArray[np.float32]:
        """Return the action for one observation, (actions,) float32 in [-1, 1]."""
        pixels = torch.from_numpy(observation['pixels'])[None].to(self.device)
        joints = None
        if self.config.observation.proprioception:
            joints = torch.from_numpy(observation['proprioception'])[None].to(self.device)
        result: NDArray[np.float32] = self.actor(self.encoder(pixels), joints)[0].cpu().numpy()
        return result

    def explore(self, observation: Observation, expert: NDArray[np.float32], step: int,
                begins: bool) -> NDArray[np.float32]:
        """Return the action that is taken while learning: the policy's or the expert's, with noise.

        Args:
            observation: what the policy sees.
            expert: (actions,) float32 in [-1, 1], what the expert would do.
            step: agent step.
            begins: whether an episode begins; it is then decided who acts in it.

        Returns:
            (actions,) float32 in [-1, 1].
        """
        if begins:
            drawn = torch.rand((), generator=self.generator, device=self.device)
            self._acts = step >= self.config.update_after and bool(drawn < self._own_share)
        chosen = self.act(observation) if self._acts else expert
        noise = torch.randn(self.actions, generator=self.generator, device=self.device)
        action: NDArray[np.float32] = (chosen + self.config.noise(step) * noise.cpu().numpy()).clip(
            -1, 1).astype(np.float32)
        return action

    def random_action(self) -> NDArray[np.float32]:
        """Return a uniformly random action, (actions,) float32 in [-1, 1]."""
        unit = torch.rand(self.actions, generator=self.generator, device=self.device)
        result: NDArray[np.float32] = (unit * 2 - 1).cpu().numpy()
        return result

    def update(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Take one gradient step.

        Args:
            batch: observations, with the expert's actions.
            step: agent step; the learning rate falls to 0 with those that are left.

        Returns:
            'imitation_loss', the loss before it, a scalar.
        """
        share = min(1.0, step / self.config.steps)
        for group in self.optimiser.param_groups:
            group['lr'] = self.config.learning_rate * (1 - share)
        pixels, pad = batch.pixels, self.config.shift_pad
        if pad:
            pixels = shift(pixels, shift_offsets(len(pixels), pad, self.generator), pad)
        loss = F.smooth_l1_loss(self.actor(self.encoder(pixels), batch.joints), batch.action,
                                beta=_SQUARED_UP_TO)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {'imitation_loss': loss.detach()}

    def state_dict(self) -> dict[str, Any]:
        """Return networks, optimiser and random state; the first two make a policy."""
        state = {name: getattr(self, name).state_dict() for name in _PARTS}
        return {**state, 'generator': self.generator.get_state(), 'acts': self._acts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        for name in _PARTS:
            getattr(self, name).load_state_dict(state[name])
        self.generator.set_state(state['generator'].cpu())
        self._acts = state['acts']
