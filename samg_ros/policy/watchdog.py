# SPDX-License-Identifier: Apache-2.0
"""Notices that something has stopped, on a clock that nobody can set.

It has a thread of its own: what keeps the executor busy, be it another node of the same process
or a GPU that hangs, must not keep the arm from being stopped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rclpy.clock import Clock
from rclpy.clock_type import ClockType

from samg_ros.errors import SamgError

if TYPE_CHECKING:
    from samg_ros.ros.node import ManagedNode, PlainNode

CHECK_S = 0.02
"""Between two looks at what is late, and so between two safe actions."""
ACKNOWLEDGED_S = 0.2
"""How long the last command is waited for before its publisher goes."""
ENDED = 'the watchdog has ended: nothing would stop the arm'
_LOOK_S = 0.1
"""Between two looks at the watchdog itself."""


class Deadlines:
    """When each of several things was good for the last time."""

    def __init__(self, timeout_s: float, names: Sequence[str],
                 clock: Callable[[], float] = time.monotonic) -> None:
        """Begin as if all had just been good.

        Args:
            timeout_s: how long a thing may stay away.
            names: the things, causes before their effects.
            clock: seconds, never set back.
        """
        self._timeout_s, self._clock = timeout_s, clock
        self._good_at = dict.fromkeys(names, clock())

    def mark_fresh(self, name: str) -> None:
        """Note that one is good now; what is not waited for is let be."""
        if name in self._good_at:
            self._good_at[name] = self._clock()

    def age_s(self, name: str) -> float:
        """Seconds since it was good."""
        return self._clock() - self._good_at[name]

    def is_late(self, name: str) -> bool:
        """Whether it was not good for `timeout_s`; what is not waited for is never late."""
        return name in self._good_at and self.age_s(name) > self._timeout_s

    @property
    def missed(self) -> str | None:
        """The first, in the order of the names, that is late; None if none is."""
        return next(filter(self.is_late, self._good_at), None)


class Watchdog:
    """Calls a function every so often from a thread of its own, until it is stopped.

    The node's executor watches it in turn: where the thread has ended, so does the node.
    """

    def __init__(self, node: PlainNode | ManagedNode, check: Callable[[], None]) -> None:
        """Start.

        Args:
            node: is given ENDED as its error if the thread ends; its report should say so too.
            check: called from the thread every CHECK_S; must not raise.
        """
        self._node, self._check = node, check
        self._timer = node.create_timer(_LOOK_S, self._look,
                                        clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name='watchdog', daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it still watches; a `check` that raised has ended it."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Return when no call is under way and none will come."""
        self._node.destroy_timer(self._timer)
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(CHECK_S):
            self._check()

    def _look(self) -> None:
        if not self.running and self._node.error is None:
            self._node.error = SamgError(ENDED)
            self._node.diagnostics.publish()  # there will be no other
