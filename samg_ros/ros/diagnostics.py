# SPDX-License-Identifier: Apache-2.0
"""/diagnostics, without diagnostic_updater, which is not to be had as a wheel.

A node adds named reports; once a period they all go out in one DiagnosticArray. Whatever a node
drops it counts here under the name of the cause.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from samg_ros.errors import LONGEST_ERROR, plain
from samg_ros.ros.compat import steady_timer
from samg_ros.ros.parameters import declare

if TYPE_CHECKING:
    from rclpy.node import Node

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
_LOG_EVERY_S = 5.0


@dataclass(frozen=True)
class Report:
    """One status: how bad, in words, in figures."""

    level: bytes
    """OK, WARN or ERROR."""
    message: str
    values: Mapping[str, Any] = field(default_factory=dict)


class Diagnostics:
    """Publishes a node's reports on /diagnostics, on the wall clock even in simulated time."""

    def __init__(self, node: Node, hardware_id: str = '') -> None:
        """Declare `diagnostics_period_s` and begin to publish.

        Args:
            node: the node whose reports these are.
            hardware_id: what they are about: a task, a camera.
        """
        self._node = node
        self._hardware_id = hardware_id
        self._reports: dict[str, Callable[[], Report]] = {}
        self.mismatches: dict[str, str] = {}
        """Topic -> what does not fit; see `qos`."""
        self.received: Counter[str] = Counter()
        """Topic -> messages that came."""
        self.add('connections', self._connections)
        period_s = declare(node, 'diagnostics_period_s', 1.0,
                           'Seconds between two messages on /diagnostics.', between=(0.01, 60.0))
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._timer = steady_timer(node, period_s, self.publish)

    def add(self, name: str, report: Callable[[], Report]) -> None:
        """Add a report that is made anew for each message, or replace the one of that name."""
        self._reports[name] = report

    def publish(self) -> None:
        """Publish all reports now."""
        message = DiagnosticArray()
        message.header.stamp = self._node.get_clock().now().to_msg()
        for name, make in self._reports.items():
            report = make()
            message.status.append(DiagnosticStatus(
                level=report.level, name=f'{self._node.get_name()}: {name}',
                message=plain(report.message), hardware_id=self._hardware_id,
                values=[KeyValue(key=plain(key), value=_text(value))
                        for key, value in report.values.items()]))
        self._publisher.publish(message)

    def _connections(self) -> Report:
        values = {**self.received, **self.mismatches}
        if self.mismatches:
            return Report(ERROR, '; '.join(self.mismatches.values()), values)
        return Report(OK, 'no QoS mismatch', values)


class Drops:
    """Counts what a node drops, by cause, and reports it; the log gets a line now and then."""

    def __init__(self, node: Node, what: str) -> None:
        """Begin at nothing dropped.

        Args:
            node: whose log gets the lines.
            what: what is dropped, in the plural: 'commands'.
        """
        self._node = node
        self._what = what
        self.counts: Counter[str] = Counter()
        self.mended: Counter[str] = Counter()
        self._reported = 0
        self._last = ''
        self._logged_at: dict[str, float] = {}

    @property
    def last(self) -> str:
        """The last one in words, empty before."""
        return self._last

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def add(self, cause: str, message: str) -> None:
        """Count one.

        Args:
            cause: short name, a key in the diagnostics.
            message: one line for people.
        """
        self._count(self.counts, 'dropped', cause, message)

    def count(self, cause: str, number: int, message: str) -> None:
        """Count several drops that are normal, without a line in the log; as `add`."""
        self.counts[cause] += number
        self._last = f'{cause}: {plain(message)}'

    def count_repaired(self, cause: str, message: str) -> None:
        """Count one that was put right and used; as `add`."""
        self._count(self.mended, 'put right', cause, message)

    def _count(self, counts: Counter[str], done: str, cause: str, message: str) -> None:
        counts[cause] += 1
        self._last = f'{cause}: {plain(message)}'
        now = time.monotonic()
        if now - self._logged_at.get(cause, -_LOG_EVERY_S) >= _LOG_EVERY_S:
            self._logged_at[cause] = now
            self._node.get_logger().warning(f'{done} ({counts[cause]} so far) {self._last}')

    def report(self) -> Report:
        """WARN if anything was dropped or put right since the last report."""
        count = self.total + sum(self.mended.values())
        fresh, self._reported = count - self._reported, count
        values = {'dropped': self.total, **self.counts, **self.mended, 'last': self._last}
        if fresh:
            done = 'dropped or put right' if self.mended else 'dropped'
            return Report(WARN, f'{fresh} {self._what} {done}; last {self._last}', values)
        return Report(OK, f'no {self._what} dropped since the last report', values)


class Rate:
    """Rate of the last 200 events and how long each took."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=200)
        self._durations: deque[float] = deque(maxlen=200)
        self.count = 0

    def tick(self, duration_s: float = 0.0) -> None:
        """Note an event, now.

        Args:
            duration_s: seconds that it took.
        """
        self._times.append(time.monotonic())
        self._durations.append(duration_s)
        self.count += 1

    @property
    def hz(self) -> float:
        """Events per second over the window, 0 with fewer than two."""
        if len(self._times) < 2 or self._times[-1] == self._times[0]:
            return 0.0
        return (len(self._times) - 1) / (self._times[-1] - self._times[0])

    @property
    def age_s(self) -> float:
        """Seconds since the last event, infinite before the first."""
        return time.monotonic() - self._times[-1] if self._times else float('inf')

    @property
    def last_s(self) -> float:
        """Seconds that the last event took, 0 before the first."""
        return self._durations[-1] if self._durations else 0.0

    def duration_ms(self, percentile: float) -> float:
        """A percentile (0 to 100) of the durations in milliseconds, 0 before the first."""
        if not self._durations:
            return 0.0
        return float(np.percentile(self._durations, percentile)) * 1e3

    def interval_ms(self, percentile: float) -> float:
        """A percentile (0 to 100) of the time between two events in milliseconds."""
        if len(self._times) < 2:
            return 0.0
        return float(np.percentile(np.diff(self._times), percentile)) * 1e3

    def jitter_ms(self, percentile: float, period_s: float) -> float:
        """A percentile of how far the time between two events was off, in milliseconds."""
        if len(self._times) < 2:
            return 0.0
        off = np.abs(np.diff(self._times) - period_s)
        return float(np.percentile(off, percentile)) * 1e3


def _text(value: Any) -> str:
    return f'{value:.4g}' if isinstance(value, float) else plain(value, LONGEST_ERROR)
