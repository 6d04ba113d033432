# SPDX-License-Identifier: Apache-2.0
"""What the launch files share: their common arguments, and nodes that start and end together.

A launch file may be included in another one. So it changes nothing outside its own nodes: what
keeps them on this machine is in their environment alone, and when one of them dies the others of
its graph end, while what the including launch file started goes on. `launch_ros`'s LifecycleNode is
not used: with it the launch process itself would listen on the network (0.0.0.0, ports of the
domain), which Node does not. The graph's lifecycle_manager brings its nodes up and down.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import launch.logging
from launch.actions import (
    EmitEvent,
    ExecuteProcess,
    OpaqueFunction,
    RegisterEventHandler,
    TimerAction,
)
from launch.event_handlers import OnShutdown
from launch.events.process import ProcessExited, ShutdownProcess
from launch_ros.actions import Node

from launch import Event, EventHandler, LaunchContext, LaunchDescriptionEntity
from samg_ros.files.share import share_file
from samg_ros.graphs.arguments import Argument, from_launch
from samg_ros.graphs.spec import NodeSpec
from samg_ros.ros.domain import one_machine_environment

COMMON = (
    Argument('namespace', '', 'Namespace of all nodes and of their relative topic names.'),
    Argument('use_sim_time', False, 'Take the time from /clock.'),
    Argument('log_level', 'info', 'Log messages of at least this level are printed.',
             choices=('debug', 'info', 'warn', 'error', 'fatal')),
    Argument('use_rviz', False, 'Show camera, mask and masked image in RViz.', old_name='rviz'),
)
"""Arguments that each launch file has beside those of its graph."""

MANAGER_S = 5.0
"""How long a lifecycle manager has to notice that a node has ended and to end the others."""
RESPAWN_S = 2.0
"""How long after its death a node is started again, where the user wants that."""
_RELEASE = '0.3'

Entities = list[LaunchDescriptionEntity]


def declarations(arguments: Sequence[Argument]) -> list[dict[str, Any]]:
    """Return what DeclareLaunchArgument takes, for arguments and the names they had before."""
    declared: list[dict[str, Any]] = []
    for argument in arguments:
        is_switch = isinstance(argument.default, bool)
        default = str(argument.default).lower() if is_switch else str(argument.default)
        choices = ('true', 'false') if is_switch else argument.choices
        declared.append({'name': argument.name, 'default_value': default,
                         'description': argument.description, 'choices': list(choices) or None})
        if argument.old_name:
            declared.append({
                'name': argument.old_name, 'default_value': '',
                'description': f'Old name of {argument.name}; release {_RELEASE} drops it.',
                'choices': ['', *choices] if choices else None})
    return declared


def read(context: LaunchContext, arguments: Sequence[Argument]) -> dict[str, Any]:
    """Return name -> value of declared arguments; warn of old names.

    Raises:
        ConfigError: if one is not of its type.
    """
    given = dict(context.launch_configurations)
    for argument in arguments:
        if argument.old_name and given.get(argument.old_name):
            launch.logging.get_logger('samg_ros').warning(
                f'launch argument {argument.old_name} is now {argument.name}; release {_RELEASE} '
                'drops the old name')
            given[argument.name] = given[argument.old_name]
    return from_launch(given, arguments)


class _GraphFailed(Event):
    """A graph has ended because one of its processes failed; launch is to say so at its end."""


class Graph:
    """The processes of one launch file."""

    def __init__(self, context: LaunchContext, given: Mapping[str, Any],
                 parameter_file: Path) -> None:
        """Note what all processes share.

        Args:
            context: of the launch.
            given: values of COMMON.
            parameter_file: ROS parameters of the nodes.
        """
        self._environment = one_machine_environment(context.environment)
        self._namespace = given['namespace'] or None
        self._use_rviz = given['use_rviz']
        self._log = ['--log-level', given['log_level']]
        self._time = {'use_sim_time': True} if given['use_sim_time'] else {}
        self._parameter_file = parameter_file
        self._processes: list[ExecuteProcess] = []
        self._timers: list[TimerAction] = []
        self._ending = False

    def settings(self, spec: NodeSpec, respawn: bool = False) -> dict[str, Any]:
        """Return what `Node` takes for a node of the graph, but for its remappings.

        When the process ends the graph ends, unless it is respawned.
        """
        on_exit: Any = self._end_in_order if spec.managed else self._end
        return {'package': spec.package, 'executable': spec.executable or spec.name,
                'name': spec.name, 'namespace': self._namespace,
                'parameters': [str(self._parameter_file), {**spec.parameters, **self._time}],
                'ros_arguments': self._log, 'output': 'screen',
                'additional_env': self._environment, 'respawn': respawn,
                'respawn_delay': RESPAWN_S, 'on_exit': None if respawn else on_exit}

    def add(self, *processes: Any) -> Entities:
        """Make processes part of the graph: they end together."""
        self._processes += processes
        return list(processes)

    def command(self, words: Sequence[str]) -> Entities:
        """Start a command that may end before the others, but not with an error."""
        return self.add(ExecuteProcess(
            cmd=list(words), output='screen', additional_env=self._environment,
            on_exit=lambda event, context: self._end(event, context) if event.returncode else []))

    def rviz(self, layout: str) -> Entities:
        """Return RViz with a layout of config/, where `use_rviz` asks for it.

        A layout names topics from the root; here they are those of the graph's namespace.
        """
        if not self._use_rviz:
            return []
        path = share_file(layout)
        topics = sorted(set(re.findall(r'Value: (/\S+)', path.read_text(encoding='utf-8'))))
        return self.add(Node(
            package='rviz2', executable='rviz2', namespace=self._namespace,
            arguments=['-d', str(path)], additional_env=self._environment,
            remappings=[(topic, topic[1:]) for topic in topics]))

    def _end(self, event: ProcessExited, context: LaunchContext) -> Entities:
        """End the other processes; launch will exit with 1 if the first did not end well."""
        if context.is_shutdown or self._ending:
            return []
        self._ending = True
        for timer in self._timers:
            timer.cancel()
        failure: Entities = []
        if event.returncode:
            said = (f'{event.process_name} ended with exit code {event.returncode}; its output '
                    'above says why')
            launch.logging.get_logger('samg_ros').error(f'{said}. Ending the nodes of its graph')
            failed = _GraphFailed()

            def fail(context: LaunchContext) -> None:
                raise RuntimeError(said)

            # Raised here, it would keep the shutdown events from the other processes.
            failure = [
                RegisterEventHandler(OnShutdown(on_shutdown=[EmitEvent(event=failed)])),
                RegisterEventHandler(EventHandler(matcher=lambda event: event is failed,
                                                  entities=[OpaqueFunction(function=fail)]))]
        return [*failure, EmitEvent(event=ShutdownProcess(
            process_matcher=lambda process: any(process is ours for ours in self._processes)))]

    def _end_in_order(self, event: ProcessExited, context: LaunchContext) -> Entities:
        """Leave it to the lifecycle manager to bring the others down, but not for ever."""
        if context.is_shutdown or self._ending:
            return []
        self._timers.append(TimerAction(period=MANAGER_S, actions=[
            OpaqueFunction(function=partial(self._end, event))]))
        return [self._timers[-1]]
