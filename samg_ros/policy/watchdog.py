# SPDX-License-Identifier: Apache-2.0
"""Notices that an input or the output has stopped, on a clock that cannot be set.

The watchdog has a thread of its own: whatever keeps the executor busy, be it another node of the
same process or a GPU that hangs, must not keep the arm from being stopped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from samg_ros.policy.threads import MonitoredThread

if TYPE_CHECKING:
    from samg_ros.ros.node import ManagedNode, PlainNode

CHECK_S = 0.02
"""Period of the watchdog, and so of repeated safe actions."""
ACKNOWLEDGED_S = 0.2
"""Longest wait for the controller to acknowledge the last command before its publisher goes."""
ENDED = 'the watchdog has ended: nothing would stop the arm'


def of_camera(name: str, camera: str) -> str:
    """Return how an input is called if it is one of several cameras'; an empty name is the only."""
    return f'{name} of {camera}' if camera else name


class Deadlines:
    """When each of several inputs was last good."""

    def __init__(self, timeout_s: float, names: Sequence[str],
                 clock: Callable[[], float] = time.monotonic) -> None:
        """Begin as if all had just been good.

        Args:
            timeout_s: age above which an input is late.
            names: the inputs, causes before their effects.
            clock: seconds, never set back.
        """
        self._timeout_s, self._clock = timeout_s, clock
        self._names = tuple(names)
        self.restart()

    def restart(self) -> None:
        """Treat all inputs as if they had just arrived."""
        self._good_at = dict.fromkeys(self._names, self._clock())

    def mark_fresh(self, name: str, at: float | None = None) -> None:
        """Count an input as good.

        Args:
            name: names that are not monitored are ignored.
            at: since when, by the clock; None for now.
        """
        if name in self._good_at:
            self._good_at[name] = self._clock() if at is None else at

    def mark_late(self, name: str, age_s: float) -> None:
        """Take back what was marked in the last seconds: it has turned out not to be good."""
        if name in self._good_at:
            self._good_at[name] = min(self._good_at[name], self._clock() - age_s)

    def age_s(self, name: str) -> float:
        """Seconds since an input was good."""
        return self._clock() - self._good_at[name]

    def is_late(self, name: str) -> bool:
        """Whether an input was not good for `timeout_s`; one not monitored is never late."""
        return name in self._good_at and self.age_s(name) > self._timeout_s

    @property
    def missed(self) -> str | None:
        """The first late input in the order of the names; None if there is none."""
        return next(filter(self.is_late, self._good_at), None)


class Watchdog:
    """Calls a function periodically from a thread of its own, until it is stopped."""

    def __init__(self, node: PlainNode | ManagedNode, check: Callable[[], None]) -> None:
        """Start.

        Args:
            node: gets ENDED as its error if the thread ends; its report should say so too.
            check: called from the thread every CHECK_S; must not raise.
        """
        self._check = check
        self._thread = MonitoredThread(node, 'watchdog', self._run, ENDED)

    @property
    def running(self) -> bool:
        """Whether it still checks; a `check` that raised has ended it."""
        return self._thread.running

    def stop(self) -> None:
        """Return when `check` is not running and will not be called again."""
        self._thread.request_stop()
        self._thread.join()

    def _run(self, stopping: threading.Event) -> None:
        while not stopping.wait(CHECK_S):
            self._check()
