# SPDX-License-Identifier: Apache-2.0
"""Asks another node's service until the answer is one to go on with.

The other node may not be there yet, may not know yet, or may go away with the question.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rclpy.clock import Clock
from rclpy.clock_type import ClockType

if TYPE_CHECKING:
    from rclpy.node import Node

RETRY_S = 0.1
GIVE_UP_S = 2.0
"""After so long without an answer the other node went away, and the question is put again."""


class Asking:
    """Asks, and asks again."""

    def __init__(self, node: Node, service_type: Any, service: str, request: Any,
                 on_answer: Callable[[Any], bool]) -> None:
        """Begin to ask.

        Args:
            node: the node that asks.
            service_type: such as std_srvs' SetBool.
            service: name of the service.
            request: what is asked.
            on_answer: gets the response, and says whether that is all.
        """
        self.done = False
        """Whether the last answer was one to go on with."""
        self._request, self._on_answer = request, on_answer
        self._waited_s = 0.0
        self._future: Any = None
        self._client: Any = node.create_client(service_type, service)
        self._timer = node.create_timer(RETRY_S, self._try,
                                        clock=Clock(clock_type=ClockType.STEADY_TIME))

    @property
    def there(self) -> bool:
        """Whether somebody can be asked."""
        return bool(self._client.service_is_ready())

    def again(self) -> None:
        """Ask once more, whatever was answered or is under way."""
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
