# SPDX-License-Identifier: Apache-2.0
"""The encoder of each agent, by the configuration."""

from samg_ros.rl.agents.frozen_encoder import FrozenEncoder
from samg_ros.rl.agents.networks import Encoder, PixelEncoder
from samg_ros.rl.config import TrainConfig


def make_encoder(config: TrainConfig) -> PixelEncoder:
    """Build the encoder that the configuration's agent has, with random weights.

    Raises:
        ConfigError: if the observation does not fit the encoder.
        MissingDependencyError: if the encoder's library is not installed.
    """
    if config.agent == 'pieg':
        return FrozenEncoder(config)
    return Encoder(config)
