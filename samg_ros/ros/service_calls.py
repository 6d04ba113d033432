# SPDX-License-Identifier: Apache-2.0
"""Asks another node's service until the answer is one to go on with.

The other node may not be there yet, may not know yet, or may go away with the question.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import ParameterEvent
from rcl_interfaces.srv import GetParameters
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import qos_profile_parameter_events
from std_srvs.srv import SetBool

from samg_ros.ros.compat import steady_timer

if TYPE_CHECKING:
    from rclpy.node import Node

RETRY_S = 0.1
GIVE_UP_S = 2.0
"""After so long without an answer the other node went away, and the question is put again."""

NOT_ENABLED, MEND_FIRST = 'not enabled: ', 'not enabled; mend this first: '
"""How a refusal to be enabled begins: of what may pass by itself, and of what does not."""
LEASE_S = 20.0
"""For so long a node that was killed is still seen by others: Fast DDS's lease. Every other problem
that does not pass by itself stays as long as one waits."""


class Answer:
    """The last answer of a node that was asked to be enabled."""

    def __init__(self) -> None:
        self.text = ''
        """Empty before the first answer."""
        self._since = 0.0

    def set(self, text: str) -> None:
        """Take the newest answer; the time counts from when this text was first given."""
        if text != self.text:
            self.text, self._since = text, time.monotonic()

    @property
    def is_final(self) -> bool:
        """Whether asking again is no use: it names a problem, and has for LEASE_S."""
        return self.text.startswith(MEND_FIRST) and time.monotonic() - self._since > LEASE_S


class RetryingCall:
    """Calls a service again and again until an answer is accepted."""

    def __init__(self, node: Node, service_type: Any, service: str, request: Any,
                 on_answer: Callable[[Any], bool]) -> None:
        """Begin to ask.

        Args:
            node: the node that asks.
            service_type: such as std_srvs' SetBool.
            service: name of the service.
            request: the request of every call.
            on_answer: is given the response; returns true if no further call is needed.
        """
        self.done = False
        """Whether an answer was accepted, after which no call is made."""
        self._request, self._on_answer = request, on_answer
        self._waited_s = 0.0
        self._future: Any = None
        self._client: Any = node.create_client(service_type, service)
        self._timer = steady_timer(node, RETRY_S, self._try)

    @property
    def there(self) -> bool:
        """Whether the service is available."""
        return bool(self._client.service_is_ready())

    def again(self) -> None:
        """Call again, whether or not an earlier call was answered."""
        self._forget()
        self.done = False
        self._timer.reset()

    def _forget(self) -> None:
        if self._future is not None:
            self._client.remove_pending_request(self._future)
            self._future = None

    def _try(self) -> None:
        self._waited_s += RETRY_S
        if self._future is not None and self._waited_s > GIVE_UP_S:
            self._forget()
        if self.done or self._future is not None or not self.there:
            return
        self._waited_s = 0.0
        self._future = self._client.call_async(self._request)
        self._future.add_done_callback(self._on_done)

    def _on_done(self, future: Any) -> None:
        if future is not self._future:
            return
        self._future = None
        if future.cancelled() or future.exception() is not None:
            return
        self.done = self._on_answer(future.result())
        if self.done:
            self._timer.cancel()


class PolicyEnabler:
    """Calls a policy's `~/enable` until the policy lets itself be enabled."""

    def __init__(self, node: Node, policy: str) -> None:
        """Begin to ask.

        Args:
            node: the node that asks.
            policy: name of the node to enable.
        """
        self.answer = Answer()
        self._asking = RetryingCall(node, SetBool, f'{policy}/enable', SetBool.Request(data=True),
                              self._on_answer)

    @property
    def enabled(self) -> bool:
        """Whether the policy has been enabled."""
        return self._asking.done

    @property
    def there(self) -> bool:
        """Whether the policy can be asked."""
        return self._asking.there

    def _on_answer(self, response: Any) -> bool:
        self.answer.set(response.message)
        return bool(response.success)


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
        self._asking = RetryingCall(node, GetParameters, f'{remote}/get_parameters',
                              GetParameters.Request(names=self._names), self._on_answer)
        if follow:
            node.create_subscription(ParameterEvent, '/parameter_events', self._on_event,
                                     qos_profile_parameter_events)

    def _on_event(self, event: ParameterEvent) -> None:
        set_now = {each.name for each in (*event.new_parameters, *event.changed_parameters)}
        if f'{event.node}/get_parameters' == self._service and set_now.intersection(self._names):
            self.ready = False
            self._asking.again()  # the pending call may have been answered before the change

    def _on_answer(self, response: Any) -> bool:
        values = [parameter_value_to_python(value) for value in response.values]
        if len(values) != len(self._names) or any(value is None for value in values):
            return False  # not declared yet
        self.ready = True
        self._on_ready(dict(zip(self._names, values, strict=True)))
        return True
