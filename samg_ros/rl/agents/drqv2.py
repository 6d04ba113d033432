# SPDX-License-Identifier: Apache-2.0
"""DrQ-v2 (Yarats et al. 2021, arXiv 2107.09645): what the agent does with a batch.

Equation numbers refer to that paper. Losses stay tensors until they are read, so that a
GPU never waits for a log line.
"""

import importlib
import importlib.util
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from samg_ros.device import usable_device
from samg_ros.errors import CheckpointError, first_line
from samg_ros.observation import Observation
from samg_ros.rl.agents.augmentation import shift, shift_offsets
from samg_ros.rl.agents.encoders import make_encoder
from samg_ros.rl.agents.networks import Actor, Critic
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.data.replay import Batch

if importlib.util.find_spec('triton') is not None:
    # Optimisers load triton's LLVM, which crashes once OpenGL has loaded Mesa's: be first.
    importlib.import_module('triton')


class DrQv2Agent:
    """The networks, their optimisers and one random generator.

    Two agents built with the same configuration and fed the same batches are equal to the bit
    on one machine.
    """

    def __init__(self, config: TrainConfig, actions: int, device: str = 'cpu') -> None:
        """Build the networks with the configuration's seed.

        Args:
            config: widths, rates and schedules.
            actions: number of action components.
            device: torch device.

        Raises:
            ConfigError: if the device cannot be used.
        """
        self.config = config
        self.actions = actions
        self.device = usable_device(device)
        spec = config.observation
        joints = len(spec.proprioception)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.encoder = make_encoder(config)
            width = self.encoder.output_dim
            self.actor = Actor(width, joints, actions, config)
            self.critic = Critic(width, joints, actions, config)
            self.critic_target = Critic(width, joints, actions, config)
        self.critic_target.load_state_dict(self.critic.state_dict())
        for name in self._modules():
            getattr(self, name).to(self.device)
        self.critic_target.requires_grad_(False)
        fused = self.device.type in ('cpu', 'cuda')
        learning = [p for p in self.encoder.parameters() if p.requires_grad]
        self.value_optimiser = torch.optim.Adam(
            [*learning, *self.critic.parameters()], lr=config.learning_rate, fused=fused
        )
        self.actor_optimiser = torch.optim.Adam(
            self.actor.parameters(), lr=config.learning_rate, fused=fused
        )
        self.generator = torch.Generator(self.device).manual_seed(config.seed)
        if config.compile:
            mode = 'reduce-overhead' if self.device.type == 'cuda' else None
            for name in self._modules():
                getattr(self, name).compile(mode=mode)

    def load_pretrained(self) -> None:
        """Get nothing: DrQ-v2 learns all that it has."""

    @torch.no_grad()
    def act(self, observation: Observation, step: int | None = None) -> NDArray[np.float32]:
        """Choose an action for one observation.

        Args:
            observation: from an Observer with the configuration's spec.
            step: agent step, for the exploration noise; None for the mean without noise.

        Returns:
            (actions,) float32 in [-1, 1].
        """
        self.encoder.eval()
        pixels = torch.from_numpy(observation['pixels'])[None].to(self.device)
        joints = None
        if self.config.observation.proprioception:
            joints = torch.from_numpy(observation['proprioception'])[None].to(self.device)
        # Past torch.compile, which would compile once more for a batch of one.
        action = self.actor.forward(self.encoder.forward(pixels), joints)[0]
        if step is not None:
            action = action + self.config.noise(step) * self._normal(action)
            action = action.clamp(-1, 1)
        result: NDArray[np.float32] = action.cpu().numpy()
        return result

    def random_action(self) -> NDArray[np.float32]:
        """Return a uniformly random action, (actions,) float32 in [-1, 1]."""
        unit = torch.rand(self.actions, generator=self.generator, device=self.device)
        result: NDArray[np.float32] = (unit * 2 - 1).cpu().numpy()
        return result

    def update(self, batch: Batch, step: int, offsets: Tensor | None = None) -> dict[str, Tensor]:
        """Take one gradient step of critic, encoder and actor; at first of the critic alone.

        Args:
            batch: transitions from the replay, N of them.
            step: agent step, for the noise schedule.
            offsets: (2 * N, 2) random shifts, of the observations and then of the next ones, as
                `shift_offsets` draws them; None draws them.

        Returns:
            Scalars by name: 'critic_loss', 'actor_loss', 'value', 'batch_reward'.
        """
        pad, count = self.config.shift_pad, len(batch.action)
        if offsets is None:
            offsets = shift_offsets(2 * count, pad, self.generator)
        noise = self.config.noise(step)
        self.encoder.train()
        if self.config.compile:
            torch.compiler.cudagraph_mark_step_begin()

        with torch.no_grad(), self._precision():
            # By itself, not in one batch with the others: no gradient has to flow back here.
            encoded_next = self.encoder(shift(batch.next_pixels, offsets[count:], pad))
            next_action = self._noisy(self.actor(encoded_next, batch.next_joints), noise)
            values = self.critic_target(encoded_next, batch.next_joints, next_action)
            target = (self.config.reward_scale * batch.reward
                      + batch.discount * torch.minimum(*values))  # eq. 2

        pixels = shift(batch.pixels, offsets[:count], pad)
        with self._precision():
            encoded = self.encoder(pixels)
            critic_loss = self._critic_loss(batch, pixels, encoded, target)
        self.value_optimiser.zero_grad()
        critic_loss.backward()
        policy_learns = step >= self.config.critic_first
        if not policy_learns:
            self.encoder.zero_grad(set_to_none=True)
        self.value_optimiser.step()

        encoded = encoded.detach()
        self.critic.requires_grad_(False)
        with self._precision():
            unsquashed = self.actor.before_tanh(encoded, batch.joints)
            action = self._noisy(torch.tanh(unsquashed), noise)
            values = self.critic(encoded, batch.joints, action)
            actor_loss = -torch.minimum(*values).float().mean()  # eq. 3
            if self.config.squash_penalty:
                actor_loss = actor_loss + self.config.squash_penalty * unsquashed.square().mean()
        self.critic.requires_grad_(True)
        if policy_learns:
            self.actor_optimiser.zero_grad()
            actor_loss.backward()
            self.actor_optimiser.step()

        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.critic_target.parameters()),
                list(self.critic.parameters()),
                self.config.target_rate,
            )
        return {
            'critic_loss': critic_loss.detach(),
            'actor_loss': actor_loss.detach(),
            'value': target.mean(),
            'batch_reward': batch.reward.mean(),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return networks, optimisers and generator, all as tensors and plain types."""
        state = {name: getattr(self, name).state_dict() for name in self._modules()}
        state['value_optimiser'] = self.value_optimiser.state_dict()
        state['actor_optimiser'] = self.actor_optimiser.state_dict()
        state['generator'] = self.generator.get_state()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave.

        Raises:
            CheckpointError: if it was given on another kind of device.
        """
        for name in self._modules():
            getattr(self, name).load_state_dict(state[name])
        self.value_optimiser.load_state_dict(state['value_optimiser'])
        self.actor_optimiser.load_state_dict(state['actor_optimiser'])
        try:
            self.generator.set_state(state['generator'].cpu())
        except RuntimeError as error:
            raise CheckpointError(
                f"the run's random state is not one of device '{self.device}' "
                f'({first_line(error)}); go on with the kind of device that it began on'
            ) from error

    def _critic_loss(
        self, batch: Batch, pixels: Tensor, encoded: Tensor, target: Tensor
    ) -> Tensor:
        """Return the error of both critics (eq. 1).

        Args:
            batch: transitions, N of them.
            pixels: (N, C, size, size) the shifted observations.
            encoded: (N, D) what the encoder makes of them.
            target: (N, 1) what the values should be.
        """
        first, second = self.critic(encoded, batch.joints, batch.action)
        return F.mse_loss(first, target) + F.mse_loss(second, target)

    def _precision(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.config.dtype == 'bfloat16'
        )

    @staticmethod
    def _modules() -> tuple[str, ...]:
        return 'encoder', 'actor', 'critic', 'critic_target'

    def _normal(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self.generator, device=self.device)

    def _noisy(self, mean: Tensor, noise: float) -> Tensor:
        """Add clipped noise and keep the gradient of the mean through the clamp (section 3.1)."""
        clip = self.config.noise_clip
        action = mean + (noise * self._normal(mean)).clamp_(-clip, clip)
        inside = action.detach().clamp(-1 + 1e-6, 1 - 1e-6)
        return action + (inside - action.detach())
