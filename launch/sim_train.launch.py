# SPDX-License-Identifier: Apache-2.0
"""Trains a policy on masked frames of a simulated robot: simulator, perception, trainer.

    ros2 launch samg_ros sim_train.launch.py task:=walker_walk

Each node is a process. When the trainer has finished and written its report, or when any of them
dies, all nodes of this file end. `samg run sim_train` is the same graph in one process.
"""

from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from samg_ros.graphs.arguments import SIM_TRAIN, params_file
from samg_ros.graphs.launch_actions import COMMON, Graph, declarations, read

ARGUMENTS = (*SIM_TRAIN, params_file('sim_train.yaml'), *COMMON)


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([
        *(DeclareLaunchArgument(**each) for each in declarations(ARGUMENTS)),
        OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Check the arguments, prepare the reference, and return the nodes."""
    from samg_ros.files.share import parameter_file
    from samg_ros.graphs.sim_train import PARAMETER_FILE, make_plan, prepare_reference

    given = read(context, ARGUMENTS)
    plan = make_plan(**{argument.name: given[argument.name] for argument in SIM_TRAIN},
                     params_file=given['params_file'])
    graph = Graph(context, given, parameter_file(given['params_file'], PARAMETER_FILE))
    return [LogInfo(msg=f'run folder: {plan.run_dir}'), LogInfo(msg=prepare_reference(plan)),
            *graph.add(*(Node(remappings=node.remappings, **graph.settings(node))
                         for node in plan.nodes)),
            *graph.rviz('config/samg.rviz')]
