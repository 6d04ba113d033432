# SPDX-License-Identifier: Apache-2.0
"""Switches a policy on as soon as it lets itself be switched on.

A policy refuses until it has seen a good frame. Where nobody stands beside an arm, in simulation
and in front of a bag, no person needs to say when.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from std_srvs.srv import SetBool

if TYPE_CHECKING:
    from rclpy.node import Node

_RETRY_S = 0.1


class Enabling:
    """Asks until the answer is yes."""

    def __init__(self, node: Node, policy: str) -> None:
        """Begin to ask.

        Args:
            node: the node that asks.
            policy: name of the node to enable.
        """
        self.enabled = False
        self.answer = ''
        """What it said last; empty before it said anything."""
        self._future: Any = None
        self._client: Any = node.create_client(SetBool, f'{policy}/enable')
        self._timer = node.create_timer(_RETRY_S, self._try,
                                        clock=Clock(clock_type=ClockType.STEADY_TIME))

    @property
    def there(self) -> bool:
        """Whether the policy can be asked."""
        return bool(self._client.service_is_ready())

    def _try(self) -> None:
        if self._future is None and self._client.service_is_ready():
            self._future = self._client.call_async(SetBool.Request(data=True))
            self._future.add_done_callback(self._on_answer)

    def _on_answer(self, future: Any) -> None:
        self._future = None
        if future.cancelled() or future.exception() is not None:
            return
        self.answer = future.result().message
        self.enabled = future.result().success
        if self.enabled:
            self._timer.cancel()
