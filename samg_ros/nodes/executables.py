# SPDX-License-Identifier: Apache-2.0
"""Where the nodes are, and their light entry points for setup.py.

Importing a node imports torch or MuJoCo, which takes seconds, and Ctrl-C or a launch file that ends
in those seconds would leave a traceback. Here the signal handlers stand first.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from samg_ros.ros.signals import StopSignal, exit_now

NODES = {
    'arm_episodes': ('samg_ros.nodes.arm_episodes_node', 'ArmEpisodes'),
    'bag_evaluator': ('samg_ros.nodes.bag_evaluator_node', 'BagEvaluator'),
    'bag_player': ('samg_ros.nodes.bag_player_node', 'BagPlayer'),
    'evaluator': ('samg_ros.nodes.evaluator_node', 'Evaluator'),
    'lifecycle_manager': ('samg_ros.nodes.lifecycle_manager_node', 'LifecycleManager'),
    'mujoco_bridge': ('samg_ros.nodes.mujoco_bridge_node', 'MujocoBridge'),
    'perception': ('samg_ros.nodes.perception_node', 'Perception'),
    'command_guard': ('samg_ros.nodes.command_guard_node', 'CommandGuard'),
    'policy': ('samg_ros.nodes.policy_node', 'PolicyNode'),
    'recorder': ('samg_ros.nodes.recorder_node', 'EpisodeRecorder'),
    'teleop': ('samg_ros.nodes.teleop_node', 'Teleop'),
    'trainer': ('samg_ros.nodes.trainer_node', 'Trainer'),
}
"""Name of a node and its executable -> module and class."""


def node_class(name: str) -> Any:
    """Import and return the class of a node."""
    module, class_name = NODES[name]
    return getattr(importlib.import_module(module), class_name)


def __getattr__(name: str) -> Callable[[], NoReturn]:
    """Return the entry point of a node, by its name."""
    if name not in NODES:
        raise AttributeError(f'{__name__} has no entry point {name!r}')
    return partial(_run, name)


def _run(name: str) -> NoReturn:
    StopSignal()
    importlib.import_module(NODES[name][0]).main()
    exit_now(0)
