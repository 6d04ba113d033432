# SPDX-License-Identifier: Apache-2.0
"""Where the nodes are, and their light entry points for setup.py.

Importing a node imports torch or MuJoCo, which takes seconds, and Ctrl-C or a launch file that ends
in those seconds would leave a traceback. Here the signal handlers stand first.
"""

from __future__ import annotations

import importlib
import sys
from functools import partial
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


def run(name: str, argv: list[str] | None = None) -> NoReturn:
    """Run a node as this process.

    Args:
        name: a key of NODES.
        argv: ROS arguments; None takes those of the command line.
    """
    stop_signal = StopSignal()
    try:
        node = node_class(name)
        from samg_ros.ros.node import run_node
    except ModuleNotFoundError as error:
        print(f'samg: error: {missing_dependency(error)}', file=sys.stderr)
        exit_now(1)
    exit_now(run_node(node, argv, stop_signal))


arm_episodes = partial(run, 'arm_episodes')
bag_evaluator = partial(run, 'bag_evaluator')
bag_player = partial(run, 'bag_player')
command_guard = partial(run, 'command_guard')
evaluator = partial(run, 'evaluator')
lifecycle_manager = partial(run, 'lifecycle_manager')
mujoco_bridge = partial(run, 'mujoco_bridge')
perception = partial(run, 'perception')
policy = partial(run, 'policy')
recorder = partial(run, 'recorder')
teleop = partial(run, 'teleop')
trainer = partial(run, 'trainer')
