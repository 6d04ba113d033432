# SPDX-License-Identifier: Apache-2.0
"""A thread of a node whose failure ends the node, instead of going unnoticed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from samg_ros.errors import SamgError, first_line
from samg_ros.ros.compat import steady_timer

if TYPE_CHECKING:
    from samg_ros.ros.node import ManagedNode, PlainNode

_MONITOR_PERIOD_S = 0.1


class MonitoredThread:
    """Runs a function in a daemon thread; the node's executor checks that it still runs."""

    def __init__(self, node: PlainNode | ManagedNode, name: str,
                 run: Callable[[threading.Event], None], failed: str) -> None:
        """Start.

        Args:
            node: its `error` is set if the thread ends by itself.
            name: of the thread.
            run: gets an event that is set by `stop`, and has to return soon after that.
            failed: the node's error in that case, without the cause.
        """
        self._node, self._function, self._failed = node, run, failed
        self._cause: BaseException | None = None
        self._stopping = threading.Event()
        self._timer = steady_timer(node, _MONITOR_PERIOD_S, self._monitor)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether the thread has not ended."""
        return self._thread.is_alive()

    def request_stop(self) -> None:
        """Ask the thread to end; its end is no failure from now on."""
        self._node.destroy_timer(self._timer)
        self._stopping.set()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for the end of the thread, at most `timeout_s` seconds; None sets no limit."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._function(self._stopping)
        except BaseException as error:
            self._cause = error
            raise  # printed with its traceback by threading

    def _monitor(self) -> None:
        if not self.running and self._node.error is None:
            cause = self._cause
            why = '' if cause is None else f' ({type(cause).__name__}: {first_line(cause)})'
            self._node.error = SamgError(self._failed + why)
            self._node.diagnostics.publish()  # the node ends before the next period
