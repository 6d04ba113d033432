# SPDX-License-Identifier: Apache-2.0
"""What can learn, by name, and the few methods that the learner asks of it.

A new agent is a class with these methods, in a file of its own, with a line below and its name in
the configuration's AGENTS. What it sees is the ObservationSpec's affair, never the agent's.
"""

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samg_ros.errors import CheckpointError
from samg_ros.files.reading import parsing
from samg_ros.observation import Observation
from samg_ros.rl.agents.drqv2 import DrQv2Agent
from samg_ros.rl.agents.imitation import Imitator
from samg_ros.rl.agents.pieg import PieGAgent
from samg_ros.rl.agents.svea import SveaAgent
from samg_ros.rl.config import IMITATION, TrainConfig
from samg_ros.rl.data.replay import Batch

AGENT_CLASSES = {'drqv2': DrQv2Agent, 'svea': SveaAgent, 'pieg': PieGAgent}
"""Every agent of reinforcement learning by its name in the configuration."""


class Agent(Protocol):
    """Acts, learns from batches, and can be written down."""

    device: torch.device

    def load_pretrained(self) -> None:
        """Get what the agent does not learn but begins with, where there is such a thing.

        Called once, for a new run; afterwards `state_dict` holds it.

        Raises:
            WeightsError: if it cannot be had or does not fit.
        """

    def act(self, observation: Observation, step: int | None = None) -> NDArray[np.float32]:
        """Choose an action in [-1, 1]; with exploration if an agent step is given."""

    def random_action(self) -> NDArray[np.float32]:
        """Return a uniformly random action in [-1, 1]."""

    def update(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Learn from a batch; returns scalars by name."""

    def state_dict(self) -> dict[str, Any]:
        """Return everything that changes, as tensors and plain types.

        'encoder' and 'actor' are what a Policy builds of it.
        """

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave.

        Raises:
            CheckpointError: if it was given on another kind of device.
        """


def make_agent(
    config: TrainConfig, actions: int, device: str = 'cpu', state: dict[str, Any] | None = None
) -> Agent:
    """Build the configuration's agent.

    Args:
        config: settings of the run.
        actions: number of action components.
        device: torch device.
        state: from an agent's `state_dict`, to go on with; None begins anew.

    Raises:
        ConfigError: if the configuration does not fit the agent, or the device cannot be used.
        CheckpointError: if the state is of another kind of device.
        WeightsError: if the agent needs pre-trained weights that cannot be had.
        MissingDependencyError: if a library of the agent is not installed.
    """
    make = Imitator if config.agent == IMITATION else AGENT_CLASSES[config.agent]
    agent: Agent = make(config, actions, device)
    if state is None:
        agent.load_pretrained()
    else:
        with parsing("the run's networks do not fit its settings", CheckpointError,
                     'restore the checkpoint, or start a new run in another folder'):
            agent.load_state_dict(state)
    return agent


def start_from(agent: Agent, state: dict[str, Any]) -> None:
    """Let a new agent begin with encoder and actor of another, of whatever kind.

    Raises:
        CheckpointError: if its networks are of other sizes.
    """
    with parsing('a run cannot start from a policy of other networks', CheckpointError,
                 'keep observation, convolutions, feature_dim and hidden_dim of the policy'):
        for name in ('encoder', 'actor'):
            getattr(agent, name).load_state_dict(state[name])
