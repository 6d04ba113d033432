# SPDX-License-Identifier: Apache-2.0
"""Joint positions from one or several publishers, merged by name.

An arm and its gripper often have drivers of their own that publish on the same topic. Each joint
keeps its own stamp and age, so that one driver that stops is noticed while the other goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from samg_ros.errors import InvalidInputError
from samg_ros.rl.evaluation.compatibility import joints_mismatch
from samg_ros.ros.messages.pairing import NearestStamp

if TYPE_CHECKING:
    from samg_ros.arm.commands import Vector
    from samg_ros.ros.messages.time_step import Stamp

_MOST_NAMES = 64
"""Names of other joints that are remembered, for messages."""


class JointStates:
    """The newest positions of the joints that are needed."""

    def __init__(self, needed: Sequence[str], tolerance_s: float, horizon_s: float,
                 clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing known.

        Args:
            needed: names of the joints.
            tolerance_s: how far from the stamp of a frame a position may be.
            horizon_s: how long positions are kept, by their stamps.
            clock: seconds, never set back.
        """
        self.needed = tuple(needed)
        self.repeated = 0
        """Messages whose stamps had all come before."""
        self._clock = clock
        self._near = {joint: NearestStamp(tolerance_s, horizon_s) for joint in self.needed}
        self._newest: dict[str, tuple[Stamp, float, float]] = {}  # stamp, position, arrival
        self._seen: dict[str, None] = {}

    def add(self, names: Sequence[str], positions: Sequence[float], stamp: Stamp) -> bool:
        """Take the positions of a joint state.

        Args:
            names: of joints; others than the needed ones are ignored.
            positions: rad or m, one per name.
            stamp: of the message. A joint whose stamp has not changed has no new position,
                whatever the message says: its driver repeats itself.

        Returns:
            Whether a joint has a new position.

        Raises:
            InvalidInputError: if the message cannot be used; nothing is taken of it then.
        """
        if len(names) != len(positions):
            raise InvalidInputError(joints_mismatch((), names, len(positions)) or '')
        found = dict(zip(names, positions, strict=True))
        if len(found) < len(names):
            twice = next(name for name in names if list(names).count(name) > 1)
            raise InvalidInputError(f"a joint state names a joint twice: '{twice}'")
        mine = [joint for joint in self.needed if joint in found]
        if not np.isfinite([found[joint] for joint in mine]).all():
            raise InvalidInputError('a joint state has positions that are not finite')
        self._seen |= dict.fromkeys(list(names)[:max(0, _MOST_NAMES - len(self._seen))])
        self._seen |= dict.fromkeys(mine)
        fresh = [joint for joint in mine
                 if joint not in self._newest or self._newest[joint][0] != stamp]
        for joint in fresh:
            self._newest[joint] = stamp, float(found[joint]), self._clock()
            self._near[joint].add(stamp, float(found[joint]))
        self.repeated += bool(mine) and not fresh
        return bool(fresh)

    @property
    def missing(self) -> str | None:
        """Name the joints that no message has had; None before the first, or if none is missing."""
        return joints_mismatch(self.needed, tuple(self._seen), len(self._seen)) \
            if self._seen else None

    @property
    def complete(self) -> bool:
        """Whether a position of every joint was received."""
        return len(self._newest) == len(self.needed)

    @property
    def oldest_arrival(self) -> float:
        """Time of the last new position of the joint that is silent longest; -inf for never."""
        if not self.complete:
            return float('-inf')
        return min((arrival for _, _, arrival in self._newest.values()), default=float('-inf'))

    def late(self, timeout_s: float) -> tuple[str, ...]:
        """Return the joints whose newest position is older than `timeout_s`."""
        now = self._clock()
        return tuple(joint for joint in self.needed
                     if joint not in self._newest or now - self._newest[joint][2] > timeout_s)

    def positions(self, joints: Sequence[str]) -> Vector | None:
        """Return the newest positions of some of the joints, (A,); None if one is not known."""
        newest = [self._newest.get(joint) for joint in joints]
        if any(each is None for each in newest):
            return None
        return np.array([each[1] for each in newest if each is not None], np.float64)

    def set_back(self, stamp: Stamp) -> None:
        """Forget positions of before the camera's clock was set back to a stamp."""
        for each in self._near.values():
            each.set_back(stamp)

    def near(self, stamp: Stamp, joints: Sequence[str]) -> list[float] | None:
        """Return the positions nearest to a stamp; None if one has none within the tolerance."""
        found: list[Any] = [self._near[joint].find(stamp) for joint in joints]
        return None if any(each is None for each in found) else found

    def at(self, stamp: Stamp, joints: Sequence[str]) -> list[float] | None:
        """Return the newest positions if all have exactly this stamp, else None."""
        newest = [self._newest.get(joint) for joint in joints]
        if any(each is None or each[0] != stamp for each in newest):
            return None
        return [each[1] for each in newest if each is not None]
