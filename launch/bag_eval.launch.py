# SPDX-License-Identifier: Apache-2.0
"""Plays a bag to perception and policy, and reports what they made of it.

    ros2 launch samg_ros bag_eval.launch.py bag:=my_bag reference:=my_reference

Each node is a process. `ros2 bag play` starts when all who have to listen do; when the bag is over
the report is written and all nodes of this file end. `samg run bag_eval` is the same graph in one
process.
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction, RegisterEventHandler
from launch.event_handlers import OnProcessIO
from launch.events.process import ProcessIO
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from samg_ros.graphs.arguments import BAG_EVAL, params_file
from samg_ros.graphs.launch_actions import COMMON, Graph, declarations, read

ARGUMENTS = (*BAG_EVAL, params_file('bag_eval.yaml'), *COMMON)


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([
        *(DeclareLaunchArgument(**each) for each in declarations(ARGUMENTS)),
        OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Check the arguments and return the nodes."""
    from samg_ros.files.share import parameter_file
    from samg_ros.graphs.bag_eval import PARAMETER_FILE, make_plan
    from samg_ros.nodes.bag_evaluator_node import READY

    given = read(context, ARGUMENTS)
    plan = make_plan(params_file=given['params_file'],
                     **{argument.name: given[argument.name] for argument in BAG_EVAL})
    graph = Graph(context, given, parameter_file(given['params_file'], PARAMETER_FILE))
    nodes = graph.add(*(Node(remappings=node.remappings, **graph.settings(node))
                        for node in plan.nodes))
    waiting = graph.command(plan.command)

    def play(event: ProcessIO) -> list[LaunchDescriptionEntity]:
        return [waiting.pop()] if waiting and READY in event.text.decode() else []

    return [RegisterEventHandler(OnProcessIO(target_action=nodes[-1], on_stdout=play)),
            *nodes, *graph.rviz('config/samg.rviz')]
