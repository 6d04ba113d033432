# SPDX-License-Identifier: Apache-2.0
"""What the launch files share: arguments and nodes as launch actions, and ending together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown, TimerAction
from launch.conditions import IfCondition
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from samg_ros.files.share import share_file
from samg_ros.graphs.arguments import Argument, from_launch
from samg_ros.graphs.spec import NodeSpec
from samg_ros.ros.domain import stay_on_this_machine

RVIZ = Argument('rviz', False, 'Show camera, mask and masked image in RViz.')

MANAGER_S = 5.0
"""How long a lifecycle manager has to notice that a node has ended and to end the others."""

Entities = list[LaunchDescriptionEntity]


def describe(arguments: Sequence[Argument],
             make: Callable[[dict[str, Any]], Entities]) -> LaunchDescription:
    """Return the description of a launch file.

    Args:
        arguments: what it takes.
        make: gets name -> value, returns what to start.
    """
    def declared(argument: Argument) -> DeclareLaunchArgument:
        choices = ('true', 'false') if isinstance(argument.default, bool) else argument.choices
        return DeclareLaunchArgument(
            argument.name, default_value=str(argument.default).lower()
            if isinstance(argument.default, bool) else str(argument.default),
            description=argument.description, choices=list(choices) or None)

    def start(context: LaunchContext) -> Entities:
        stay_on_this_machine()  # the processes inherit it
        return make(from_launch(context.launch_configurations, arguments))

    return LaunchDescription([*map(declared, arguments), OpaqueFunction(function=start)])


def node(spec: NodeSpec, parameter_file: Path) -> Node:
    """Return the process of a node; when it ends, all end."""
    return Node(package=spec.package, executable=spec.executable or spec.name, name=spec.name,
                parameters=[str(parameter_file), dict(spec.parameters)],
                remappings=list(spec.remappings), output='screen',
                on_exit=end_in_order if spec.managed else end_all)


def rviz(layout: str) -> Node:
    """Return RViz with a layout of config/, started where the argument RVIZ says so."""
    return Node(package='rviz2', executable='rviz2', arguments=['-d', str(share_file(layout))],
                condition=IfCondition(LaunchConfiguration(RVIZ.name)))


def end_all(event: ProcessExited, context: LaunchContext) -> Entities:
    """End the graph with the node that ended; launch exits with 1 if it did not end well."""
    if context.is_shutdown:
        return []
    if event.returncode:
        raise RuntimeError(f'{event.process_name} ended with exit code {event.returncode}; its '
                           'output above says why')
    return [Shutdown(reason=f'{event.process_name} has finished')]


def end_if_failed(event: ProcessExited, context: LaunchContext) -> Entities:
    """End the graph if a process that may end before the others did not end well."""
    return end_all(event, context) if event.returncode else []


def end_in_order(event: ProcessExited, context: LaunchContext) -> Entities:
    """Leave it to the lifecycle manager to bring the others down, but not for ever."""
    return [] if context.is_shutdown else [
        TimerAction(period=MANAGER_S, actions=[OpaqueFunction(function=partial(end_all, event))])]
