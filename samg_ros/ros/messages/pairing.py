# SPDX-License-Identifier: Apache-2.0
"""Brings together the messages of one moment, which come on several topics in any order.

In simulation a stamp identifies the moment exactly, as every node copies it from its input: there
is no tolerance. A robot's joints and its camera have stamps of their own, so the nearest is taken.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:  # bags are read where no ROS is
    from collections.abc import Callable, Sequence

    from samg_ros.ros.messages.time_step import Stamp

Frame = TypeVar('Frame')
Found = TypeVar('Found')


class StampPairer:
    """Collects messages by stamp until all that are required are there."""

    def __init__(self, required: tuple[str, ...], optional: tuple[str, ...] = (),
                 depth: int = 8) -> None:
        """Begin with nothing.

        Args:
            required: names of the messages that make a moment complete.
            optional: names of messages that are handed over if they are there by then.
            depth: incomplete moments kept; the oldest then goes.
        """
        self._required = frozenset(required)
        self._known = self._required | frozenset(optional)
        self._depth = depth
        self._moments: OrderedDict[Stamp, dict[str, Any]] = OrderedDict()
        self.incomplete = 0
        """Moments that went without all their required messages."""

    def add(self, name: str, stamp: Stamp, message: Any) -> dict[str, Any] | None:
        """Add a message.

        Args:
            name: one of the names given at the start.
            stamp: seconds and nanoseconds.
            message: kept as it is; one of the same name and stamp is replaced.

        Returns:
            All messages of this stamp by name once the required ones are there, else None. They
            are then forgotten; optional ones that come later are dropped with their turn.
        """
        if name not in self._known:
            raise KeyError(name)
        moment = self._moments.setdefault(stamp, {})
        moment[name] = message
        if self._required <= moment.keys():
            del self._moments[stamp]
            return moment
        while len(self._moments) > self._depth:
            _, gone = self._moments.popitem(last=False)
            self.incomplete += bool(gone.keys() & self._required)
        return None


class NearestStamp:
    """Keeps the recent messages of one topic and finds that which is nearest to a stamp."""

    def __init__(self, tolerance_s: float, horizon_s: float) -> None:
        """Begin with nothing.

        Args:
            tolerance_s: how far from the stamp a message may be.
            horizon_s: how long a message is kept, by the stamps of those after it; what asks for
                an older one comes too late.
        """
        self._tolerance_ns, self._horizon_ns = round(tolerance_s * 1e9), round(horizon_s * 1e9)
        self._recent: deque[tuple[int, Any]] = deque()

    def add(self, stamp: Stamp, message: Any) -> None:
        """Add a message; if its stamp is before the last one's, the clock was set back."""
        at = _nanoseconds(stamp)
        if self._recent and at < self._recent[-1][0]:
            self._recent.clear()
        self._recent.append((at, message))
        while at - self._recent[0][0] > self._horizon_ns:
            self._recent.popleft()

    def set_back(self, stamp: Stamp) -> None:
        """Forget what came before another topic's clock was set back to a stamp.

        What is within the tolerance of it may stay: it is of the new clock, or as good.
        """
        if self._recent and self._recent[-1][0] - _nanoseconds(stamp) > self._tolerance_ns:
            self._recent.clear()

    def reaches(self, stamp: Stamp) -> bool:
        """Whether a message of this stamp or a later one has come: none that is nearer will."""
        return bool(self._recent) and self._recent[-1][0] >= _nanoseconds(stamp)

    def find(self, stamp: Stamp) -> Any | None:
        """Return the message nearest to a stamp, None if none is within the tolerance."""
        wanted = _nanoseconds(stamp)
        nearest, found = self._tolerance_ns + 1, None
        for at, message in reversed(self._recent):
            if abs(at - wanted) < nearest:
                nearest, found = abs(at - wanted), message
            elif at < wanted:
                break
        return found


class CameraPairer(Generic[Frame]):
    """Puts the frames of further cameras to those of the main one, as they come.

    A frame of the main camera waits until each further camera has sent one of the same stamp or a
    later one: then it is known which is nearest. Of frames that are complete at the same time the
    newest counts. Those before it are dropped, and those that waited for too long.
    """

    def __init__(self, more: Sequence[str], tolerance_s: float, timeout_s: float,
                 on_drop: Callable[[Frame], None]) -> None:
        """Begin with nothing.

        Args:
            more: names of the further cameras.
            tolerance_s: greatest difference between the stamps of frames that belong together.
            timeout_s: how long a frame waits or is kept, by the stamps of those after it.
            on_drop: gets every frame of the main camera that is dropped.
        """
        self._more = {name: NearestStamp(tolerance_s, timeout_s) for name in more}
        self._timeout_ns, self._on_drop = round(timeout_s * 1e9), on_drop
        self._waiting: deque[tuple[Stamp, Frame]] = deque()
        self._newest: Stamp = (-1, 0)  # of the main camera

    @property
    def waiting(self) -> int:
        """How many frames of the main camera wait."""
        return len(self._waiting)

    def add(self, stamp: Stamp, frame: Frame) -> bool:
        """Add a frame of the main camera.

        Returns:
            Whether its clock was set back; then the frames of the others from before are forgotten.
        """
        set_back, self._newest = stamp < self._newest, stamp
        if set_back:
            for frames in self._more.values():
                frames.set_back(stamp)
        self._waiting.append((stamp, frame))
        while abs(_nanoseconds(stamp) - _nanoseconds(self._waiting[0][0])) > self._timeout_ns:
            self.drop_oldest()  # too old, or of before the clock was set back
        return set_back

    def add_more(self, camera: str, stamp: Stamp, frame: Frame) -> None:
        """Add a frame of a further camera."""
        self._more[camera].add(stamp, frame)

    def take(self, complete: Callable[[Frame, dict[str, Frame]], Found | None]) -> Found | None:
        """Take the newest frame of the main camera that is complete.

        Args:
            complete: gets a frame and those of the further cameras by name; None if something
                else has not come yet.

        Returns:
            What `complete` returned; None if no frame is complete.
        """
        for place in range(len(self._waiting) - 1, -1, -1):
            stamp, frame = self._waiting[place]
            more = {name: found for name, frames in self._more.items()
                    if frames.reaches(stamp) and (found := frames.find(stamp)) is not None}
            if len(more) < len(self._more) or (made := complete(frame, more)) is None:
                continue
            for _ in range(place):
                self.drop_oldest()
            self._waiting.popleft()
            return made
        return None

    def drop_oldest(self) -> None:
        """Let the frame go that has waited longest."""
        self._on_drop(self._waiting.popleft()[1])


def _nanoseconds(stamp: Stamp) -> int:
    return stamp[0] * 10**9 + stamp[1]


def stamp_of(message: Any) -> Stamp:
    """Return the header stamp of a message as seconds and nanoseconds."""
    return message.header.stamp.sec, message.header.stamp.nanosec
