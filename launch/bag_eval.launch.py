# SPDX-License-Identifier: Apache-2.0
"""Plays a bag to perception and policy, and reports what they made of it.

    ros2 launch samg_ros bag_eval.launch.py bag:=my_bag reference:=my_reference

Each node is a process. `ros2 bag play` starts when all who have to listen do; when the bag is over
the report is written and all end. `samg run bag_eval` is the same graph in one process.
"""

from typing import Any

from launch.actions import ExecuteProcess, RegisterEventHandler
from launch.event_handlers import OnProcessIO
from launch.events.process import ProcessIO

from launch import LaunchDescription, LaunchDescriptionEntity
from samg_ros.graphs.arguments import BAG_EVAL, params_file
from samg_ros.graphs.launch_actions import RVIZ, describe, end_if_failed, node, rviz


def generate_launch_description() -> LaunchDescription:
    return describe((*BAG_EVAL, params_file('bag_eval.yaml'), RVIZ), start)


def start(given: dict[str, Any]) -> list[LaunchDescriptionEntity]:
    """Check the arguments and return the nodes."""
    from samg_ros.files.share import parameter_file
    from samg_ros.graphs.bag_eval import PARAMETER_FILE, make_plan
    from samg_ros.nodes.bag_evaluator_node import READY

    plan = make_plan(params_file=given['params_file'],
                     **{argument.name: given[argument.name] for argument in BAG_EVAL})
    parameters = parameter_file(given['params_file'], PARAMETER_FILE)
    nodes = [node(spec, parameters) for spec in plan.nodes]
    player = ExecuteProcess(cmd=plan.command, output='screen', on_exit=end_if_failed)
    waiting = [player]

    def play(event: ProcessIO) -> list[LaunchDescriptionEntity]:
        return [waiting.pop()] if waiting and READY in event.text.decode() else []

    return [RegisterEventHandler(OnProcessIO(target_action=nodes[-1], on_stdout=play)),
            *nodes, rviz('config/samg.rviz')]
