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
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import qos_profile_parameter_events

if TYPE_CHECKING:
    from rclpy.node import Node

_RETRY_S = 0.1
_GIVE_UP_S = 2.0


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
        self._node, self._names, self._on_ready = node, list(names), on_ready
        self.remote = remote
        self.ready = False
        self._waited_s = 0.0
        self._future: Any = None
        self._client: Any = node.create_client(GetParameters, f'{remote}/get_parameters')
        self._timer = node.create_timer(_RETRY_S, self._try,
                                        clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._service = node.resolve_service_name(f'{remote}/get_parameters')
        if follow:
            node.create_subscription(ParameterEvent, '/parameter_events', self._on_event,
                                     qos_profile_parameter_events)

    def _on_event(self, event: ParameterEvent) -> None:
        set_now = {each.name for each in (*event.new_parameters, *event.changed_parameters)}
        if f'{event.node}/get_parameters' == self._service and set_now.intersection(self._names):
            if self._future is not None:  # it may have been answered before
                self._client.remove_pending_request(self._future)
            self.ready, self._future = False, None
            self._timer.reset()

    def _try(self) -> None:
        self._waited_s += _RETRY_S
        if self.ready or not self._client.service_is_ready():
            return
        if self._future is None or self._waited_s > _GIVE_UP_S:
            if self._future is not None:  # the other node went away before it answered
                self._client.remove_pending_request(self._future)
            self._waited_s = 0.0
            self._future = self._client.call_async(GetParameters.Request(names=self._names))
            self._future.add_done_callback(self._on_answer)

    def _on_answer(self, future: Any) -> None:
        if future is not self._future:
            return
        self._future = None
        if future.cancelled() or future.exception() is not None:
            return
        values = [parameter_value_to_python(value) for value in future.result().values]
        if self.ready or len(values) != len(self._names) or None in [
                value if value is None else 0 for value in values]:
            return  # not declared yet
        self.ready = True
        self._timer.cancel()
        self._on_ready(dict(zip(self._names, values, strict=True)))
