# SPDX-License-Identifier: Apache-2.0
"""Brings together the messages of one moment, which come on several topics in any order.

A stamp identifies the moment exactly: every node copies it from its input. There is no tolerance.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from samg_ros.nodes.time_step import Stamp


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


def stamp_of(message: Any) -> Stamp:
    """Return the header stamp of a message as seconds and nanoseconds."""
    return message.header.stamp.sec, message.header.stamp.nanosec
