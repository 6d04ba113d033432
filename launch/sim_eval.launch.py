# SPDX-License-Identifier: Apache-2.0
"""Runs a trained policy in simulation and prints its returns: simulator, perception, policy.

    ros2 launch samg_ros sim_eval.launch.py policy:=runs/walker_walk-quick-0 setting:=video_hard

Each node is a process. When the episodes are over, or when any of them dies, all end.
`samg run sim_eval` is the same graph in one process.
"""

from typing import Any

from launch import LaunchDescription, LaunchDescriptionEntity
from samg_ros.graphs.arguments import SIM_EVAL, params_file
from samg_ros.graphs.launch_actions import RVIZ, describe, node, rviz


def generate_launch_description() -> LaunchDescription:
    return describe((*SIM_EVAL, params_file('sim_train.yaml'), RVIZ), start)


def start(given: dict[str, Any]) -> list[LaunchDescriptionEntity]:
    """Check the arguments and return the nodes."""
    from samg_ros.files.share import parameter_file
    from samg_ros.graphs.sim_eval import PARAMETER_FILE, make_nodes

    nodes = make_nodes(params_file=given['params_file'],
                       **{argument.name: given[argument.name] for argument in SIM_EVAL})
    parameters = parameter_file(given['params_file'], PARAMETER_FILE)
    return [*(node(spec, parameters) for spec in nodes), rviz('config/samg.rviz')]
