# SPDX-License-Identifier: Apache-2.0
"""What acts in a policy, built of the networks in a checkpoint: one action a frame, or chunks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from samg_ros.errors import CheckpointError, ConfigError
from samg_ros.files.reading import parsing
from samg_ros.files.tensors import check_state
from samg_ros.observation import Observation, camera_key
from samg_ros.rl.agents.chunk_blender import ChunkBlender
from samg_ros.rl.agents.chunk_network import ChunkNetwork, ChunkSettings
from samg_ros.rl.agents.encoders import make_encoder
from samg_ros.rl.agents.networks import Actor
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.data.actions import scale_action

_ADVICE = 'use the package version that wrote it, or train it again'
CHUNKS, NETWORK = 'chunks', 'network'
"""Keys of a chunk policy in the `agent` of a checkpoint: ChunkSettings as JSON, and weights."""


class SingleActor:
    """The encoder and actor that reinforcement learning and DAgger train: one action a frame."""

    def __init__(self, config: TrainConfig, agent: dict[str, Any], low: NDArray[np.float64],
                 high: NDArray[np.float64], device: torch.device) -> None:
        self._low, self._high, self._device = low, high, device
        joints = len(config.observation.proprioception)

        def networks() -> dict[str, nn.Module]:
            encoder = make_encoder(config)
            return {'encoder': encoder,
                    'actor': Actor(encoder.output_dim, joints, len(low), config)}

        found = _loaded(networks, agent, device)
        self.encoder, self.actor = found['encoder'], found['actor']

    @torch.no_grad()
    def act(self, observation: Observation, time_s: float | None, begins: bool
            ) -> NDArray[np.float64]:
        """Return the action, (A,) float64 within the limits."""
        pixels = torch.from_numpy(observation['pixels'])[None].to(self._device)
        joints = observation.get('proprioception')
        seen = None if joints is None else torch.from_numpy(joints)[None].to(self._device)
        mean = self.actor(self.encoder(pixels), seen)[0].cpu().numpy()
        return scale_action(mean, self._low, self._high)


class ChunkActor:
    """Predicts a chunk every few frames and follows the blend of those that overlap."""

    def __init__(self, agent: dict[str, Any], low: NDArray[np.float64], high: NDArray[np.float64],
                 device: torch.device) -> None:
        """Build the network.

        Raises:
            ConfigError: if its settings cannot be used.
        """
        self.settings = ChunkSettings.from_json(agent[CHUNKS])
        self._low, self._high, self._device = low, high, device
        network = _loaded(lambda: {NETWORK: ChunkNetwork(self.settings)}, agent, device)[NETWORK]
        assert isinstance(network, ChunkNetwork)
        self._network = network
        self._blender = ChunkBlender(self.settings.chunk, self.settings.period_s,
                                     self.settings.blend_s)
        self._time_s = 0.0
        self._frames = 0

    def act(self, observation: Observation, time_s: float | None, begins: bool
            ) -> NDArray[np.float64]:
        """Return the action of a frame, (A,) float64 within the limits.

        Args:
            observation: of every camera, see `camera_key`.
            time_s: of the frame; None for one period after the frame before.
            begins: whether what was predicted before is of no use any more. A time that is not
                after that of the frame before does the same.
        """
        now_s = self._time_s + self.settings.period_s if time_s is None else time_s
        if begins or now_s <= self._time_s:
            self._blender.restart()
            self._frames = 0
        self._time_s = now_s
        action = self._blender.at(now_s) if self._frames % self.settings.every else None
        if action is None:
            self._frames = 0
            self._blender.add(now_s, self._predict(observation))
            action = self._blender.at(now_s)
        self._frames += 1
        assert action is not None
        return np.clip(action, self._low, self._high)

    @torch.no_grad()
    def _predict(self, observation: Observation) -> NDArray[np.float64]:
        pixels = [torch.from_numpy(observation[camera_key(index, name)])[None].to(self._device)
                  for index, name in enumerate(self.settings.cameras)]
        joints = observation.get('proprioception', np.empty(0, np.float32))
        chunk = self._network.predict(pixels, torch.from_numpy(joints)[None].to(self._device))
        return np.asarray(chunk[0].cpu().numpy(), np.float64)


def _loaded(networks: Callable[[], dict[str, nn.Module]], agent: dict[str, Any],
            device: torch.device) -> dict[str, nn.Module]:
    """Return networks with the weights of a checkpoint.

    Raises:
        CheckpointError: if its settings describe no networks, or its weights do not fit them.
    """
    with parsing('the settings of the checkpoint describe no networks', CheckpointError, _ADVICE), \
            torch.device('meta'):  # their sizes cost nothing there
        shapes = networks()
    for name, network in shapes.items():
        check_state(network, agent.get(name), f"the checkpoint's {name}", CheckpointError, _ADVICE)
    found = networks()
    for name, network in found.items():
        network.load_state_dict(agent[name])
        network.to(device).eval()
    return found


def camera_names(agent: dict[str, Any]) -> tuple[str, ...]:
    """Return the names of the cameras that a policy sees, the main one first.

    Args:
        agent: of a checkpoint.

    Returns:
        The names; a single empty one for the only camera.

    Raises:
        CheckpointError: if the settings of its chunks cannot be used.
    """
    if CHUNKS not in agent:
        return ('',)
    try:
        names = ChunkSettings.from_json(agent[CHUNKS]).cameras
    except ConfigError as error:
        raise CheckpointError(f"the checkpoint's chunks: {error}; {_ADVICE}") from error
    return names if len(names) > 1 else ('',)


def make_actor(config: TrainConfig, agent: dict[str, Any], low: NDArray[np.float64],
               high: NDArray[np.float64], device: torch.device) -> SingleActor | ChunkActor:
    """Build what acts.

    Raises:
        CheckpointError: if the networks do not fit the configuration.
    """
    if CHUNKS not in agent:
        return SingleActor(config, agent, low, high, device)
    try:
        return ChunkActor(agent, low, high, device)
    except ConfigError as error:
        raise CheckpointError(f"the checkpoint's chunks: {error}; {_ADVICE}") from error
