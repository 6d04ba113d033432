# SPDX-License-Identifier: Apache-2.0
"""Whether a simulator that runs as a node is the one that a training was planned with."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from samg_ros.errors import ConfigError
from samg_ros.rl.config import IMITATION, TrainConfig

FACTS = ('action_low', 'action_high', 'task', 'setting', 'seed', 'action_repeat', 'height',
         'width', 'mode', 'quality', 'composite', 'expert_source')
"""Parameters of `mujoco_bridge` that are looked at."""


def check_simulator(config: TrainConfig, facts: Mapping[str, Any], name: str) -> None:
    """Compare a simulator's parameters with the settings of a run.

    Args:
        config: of the run.
        facts: values of FACTS by name.
        name: of the simulator's node, for the message.

    Raises:
        ConfigError: if one does not fit.
    """
    wanted = {'task': config.task, 'setting': config.setting, 'seed': config.seed,
              'height': config.camera_size, 'width': config.camera_size,
              'action_repeat': config.action_repeat, 'quality': config.quality,
              'composite': config.composite, 'mode': 'lockstep'}
    for fact, value in wanted.items():
        if facts[fact] != value:
            raise ConfigError(f"{name} runs with {fact} '{facts[fact]}', the trainer expects "
                              f"'{value}'; give both the same")
    low, high = (np.asarray(facts[fact]) for fact in ('action_low', 'action_high'))
    if low.dtype.kind != 'f' or low.shape != high.shape or low.size == 0 \
            or not np.isfinite([low, high]).all() or not (low < high).all():
        raise ConfigError(f"{name}'s action_low and action_high must be finite numbers, one of "
                          'each per action, the lower below the higher')
    if config.agent == IMITATION and not facts['expert_source']:
        raise ConfigError(f"{name} has no expert, and a clone learns from one; set its parameter "
                          "'expert' to own, or to an expert's file")
