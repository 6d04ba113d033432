# SPDX-License-Identifier: Apache-2.0
"""Work that takes long, put behind all that has come already.

An executor that queues events, as rclpy's EventsExecutor does, works off one for every message that
came, even for those that a newer one has overwritten. A callback that takes longer than messages
are apart therefore gets ever further behind, and timers and services with it. If callbacks only
put a message down and the work is done once they are through, the queue stays short.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from samg_ros.ros.compat import steady_timer

if TYPE_CHECKING:
    from rclpy.node import Node


class Deferred:
    """Calls a function once for any number of requests that came before its turn."""

    def __init__(self, node: Node, work: Callable[[], None]) -> None:
        """Wait for requests.

        Args:
            node: on whose executor it is called.
            work: what is put off.
        """
        self._work = work
        # A timer that is due at once. A task would do, but Kilted's EventsExecutor crashes when
        # one raises.
        self._timer = steady_timer(node, 0.0, self._run)
        self._timer.cancel()

    def request(self) -> None:
        """Have the work done after what has come."""
        self._timer.reset()

    def _run(self) -> None:
        self._timer.cancel()
        self._work()
