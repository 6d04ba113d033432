# SPDX-License-Identifier: Apache-2.0
"""Reads parameters of another node, which may not be there yet.

Some facts are known to one node and needed by another: the action limits to the simulator, the
masker's settings to perception. Asking for them beats writing them down twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import ParameterEvent
from rcl_interfaces.srv import GetParameters
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import qos_profile_parameter_events

from samg_ros.nodes.asking import Asking

if TYPE_CHECKING:
    from rclpy.node import Node


class RemoteParameters:
    """Asks until all parameters are set, then calls back."""

    def __init__(self, node: Node, remote: str, names: tuple[str, ...],
                 on_ready: Callable[[dict[str, Any]], None], follow: bool = False) -> None:
        """Begin to ask.

        Args:
            node: the node that asks.
            remote: name of the node that knows.
            names: the parameters.
            on_ready: gets name -> value, once.
            follow: call back again whenever the other node has set one of them, in a new life too.
        """
        self._names, self._on_ready = list(names), on_ready
        self.remote = remote
        self.ready = False
        """Whether all are known."""
        self._service = node.resolve_service_name(f'{remote}/get_parameters')
        self._asking = Asking(node, GetParameters, f'{remote}/get_parameters',
                              GetParameters.Request(names=self._names), self._on_answer)
        if follow:
            node.create_subscription(ParameterEvent, '/parameter_events', self._on_event,
                                     qos_profile_parameter_events)

    def _on_event(self, event: ParameterEvent) -> None:
        set_now = {each.name for each in (*event.new_parameters, *event.changed_parameters)}
        if f'{event.node}/get_parameters' == self._service and set_now.intersection(self._names):
            self.ready = False
            self._asking.again()  # what is under way may have been answered before

    def _on_answer(self, response: Any) -> bool:
        values = [parameter_value_to_python(value) for value in response.values]
        if len(values) != len(self._names) or any(value is None for value in values):
            return False  # not declared yet
        self.ready = True
        self._on_ready(dict(zip(self._names, values, strict=True)))
        return True
