# SPDX-License-Identifier: Apache-2.0
"""Runs a trained policy in simulation and prints its returns: simulator, perception, policy.

    ros2 launch samg_ros sim_eval.launch.py policy:=runs/walker_walk-clone-0 setting:=video_hard

Each node is a process. When the episodes are over, or when any of them dies, all nodes of this
file end. `samg run sim_eval` is the same graph in one process.
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from samg_ros.graphs.arguments import SIM_EVAL, params_file
from samg_ros.graphs.launch_actions import COMMON, Graph, declarations, read

ARGUMENTS = (*SIM_EVAL, params_file('sim_train.yaml'), *COMMON)


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([
        *(DeclareLaunchArgument(**each) for each in declarations(ARGUMENTS)),
        OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Check the arguments and return the nodes."""
    from samg_ros.files.share import parameter_file
    from samg_ros.graphs.sim_eval import PARAMETER_FILE, make_nodes

    given = read(context, ARGUMENTS)
    nodes = make_nodes(params_file=given['params_file'],
                       **{argument.name: given[argument.name] for argument in SIM_EVAL})
    graph = Graph(context, given, parameter_file(given['params_file'], PARAMETER_FILE))
    return [*graph.add(*(Node(remappings=node.remappings, **graph.settings(node))
                         for node in nodes)),
            *graph.rviz('config/samg.rviz')]
