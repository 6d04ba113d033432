# SPDX-License-Identifier: Apache-2.0
"""The time in which the arm moves: the wall clock, or /clock if `use_sim_time` is set.

Velocities are limited and integrated in the arm's own time, so that a simulation at half speed
keeps its limits. The watchdog's timeouts stay on the wall clock, which nothing can stop or set: in
front of a simulation that runs faster than that they would come too late, and so it is refused.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rclpy.node import Node

FASTEST = 1.25
"""Simulated seconds per second of the wall clock above which the arm may not be enabled. Limits
count with this factor; it leaves room for the error of the measurement."""
_WINDOW_S, _SHORTEST_S = 2.0, 1.0
"""Over how long the speed is measured: /clock at 8 Hz or more then gives it within 1/8."""
_JUMP_S = 1.0
"""A step of /clock that is longer is not motion but a clock that was set."""


class RobotClock:
    """The arm's time, and how fast it runs."""

    def __init__(self, simulated: Callable[[], bool], simulated_s: Callable[[], float],
                 wall_s: Callable[[], float] = time.monotonic) -> None:
        """Begin to measure.

        Args:
            simulated: whether /clock counts.
            simulated_s: time of /clock in seconds; stands still until the first message.
            wall_s: seconds, never set back.
        """
        self._simulated, self._simulated_s, self._wall_s = simulated, simulated_s, wall_s
        self._ticks: deque[tuple[float, float]] = deque()  # wall and simulated time, when it moved
        self._lock = threading.Lock()  # the watchdog measures, the executor asks

    @classmethod
    def of_node(cls, node: Node) -> RobotClock:
        """Return the clock of a node: /clock if `use_sim_time` is true, else the system's."""
        clock: Any = node.get_clock()
        return cls(lambda: bool(clock.ros_time_is_active), lambda: clock.now().nanoseconds * 1e-9)

    @property
    def simulated(self) -> bool:
        """Whether time comes from /clock; otherwise from the system."""
        return self._simulated()

    def now_s(self) -> float:
        """Return the arm's time in seconds; only differences mean something."""
        return self._simulated_s() if self.simulated else self._wall_s()

    def measure(self) -> None:
        """Look at /clock; call it more often than /clock comes."""
        if not self.simulated:
            return
        wall, simulated = self._wall_s(), self._simulated_s()
        with self._lock:
            step = simulated - self._ticks[-1][1] if self._ticks else 0.0
            if not 0.0 <= step <= _JUMP_S:
                self._ticks.clear()
            if simulated > 0.0 and (not self._ticks or step > 0.0):
                self._ticks.append((wall, simulated))
            while len(self._ticks) > 2 and wall - self._ticks[1][0] > _WINDOW_S:
                self._ticks.popleft()

    @property
    def speed(self) -> float | None:
        """Simulated seconds per second of the wall clock; None if not known."""
        with self._lock:
            if not self._ticks:
                return None
            (wall, simulated), (last_wall, last) = self._ticks[0], self._ticks[-1]
        if last_wall - wall < _SHORTEST_S:
            return None
        return (last - simulated) / (last_wall - wall)

    @property
    def too_fast(self) -> str | None:
        """Say that simulated time runs too fast; None if it does not, or is not known."""
        speed = self.speed if self.simulated else None
        if speed is None or speed <= FASTEST:
            return None
        return (f'simulated time runs at {speed:.2g} times the wall clock, so the watchdog would '
                f'stop the arm too late; run the simulation at most {FASTEST:g} times as fast, '
                'or in lockstep')

    @property
    def reason_not_to_enable(self) -> str | None:
        """The reason why the policy must not be enabled with this clock; None if it may."""
        if not self.simulated or self.speed is not None:
            return self.too_fast
        if not self._ticks:
            return 'use_sim_time is set, but nothing comes on /clock'
        return ('the speed of simulated time is not known yet: /clock has to advance for '
                f'{_SHORTEST_S:g} s')
