# SPDX-License-Identifier: Apache-2.0
"""Where the nodes are, and their light entry points for setup.py.

Importing a node imports torch or MuJoCo, which takes seconds, and Ctrl-C or a launch file that ends
in those seconds would leave a traceback. Here the signal handlers stand first.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, NoReturn

from samg_ros.errors import missing_dependency
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


def _run(name: str) -> NoReturn:
    StopSignal()
    try:
        importlib.import_module(NODES[name][0]).main()
    except ModuleNotFoundError as error:
        print(f'samg: error: {missing_dependency(error)}', file=sys.stderr)
        exit_now(1)
    exit_now(0)


def arm_episodes() -> NoReturn:
    """Run the node `arm_episodes`."""
    _run('arm_episodes')


def bag_evaluator() -> NoReturn:
    """Run the node `bag_evaluator`."""
    _run('bag_evaluator')


def bag_player() -> NoReturn:
    """Run the node `bag_player`."""
    _run('bag_player')


def command_guard() -> NoReturn:
    """Run the node `command_guard`."""
    _run('command_guard')


def evaluator() -> NoReturn:
    """Run the node `evaluator`."""
    _run('evaluator')


def lifecycle_manager() -> NoReturn:
    """Run the node `lifecycle_manager`."""
    _run('lifecycle_manager')


def mujoco_bridge() -> NoReturn:
    """Run the node `mujoco_bridge`."""
    _run('mujoco_bridge')


def perception() -> NoReturn:
    """Run the node `perception`."""
    _run('perception')


def policy() -> NoReturn:
    """Run the node `policy`."""
    _run('policy')


def recorder() -> NoReturn:
    """Run the node `recorder`."""
    _run('recorder')


def teleop() -> NoReturn:
    """Run the node `teleop`."""
    _run('teleop')


def trainer() -> NoReturn:
    """Run the node `trainer`."""
    _run('trainer')
