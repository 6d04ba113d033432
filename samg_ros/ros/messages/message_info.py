# SPDX-License-Identifier: Apache-2.0
"""What the middleware knows of a message: when it came, and how many of its like never did.

A subscription of depth 1 keeps the newest frame, and what it overwrites no callback ever sees.
Publishers number their messages, though, so the gaps say how many that were. Older versions of
rclpy pass no numbers on, or do not say whose they are; then nothing can be counted, or only the
messages of a single publisher.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

_MOST_PUBLISHERS = 64
"""Remembered at a time; who restarts comes as a new one."""


class Arrivals:
    """Follows the numbers of every publisher of a topic."""

    def __init__(self) -> None:
        self._last: dict[bytes, int] = {}
        self.numbered = True
        """Whether messages had numbers so far."""

    def missed(self, info: Mapping[str, Any]) -> int:
        """Return how many messages of its publisher were lost or overwritten before this one.

        None are before the first of a publisher, or where the middleware gives no numbers.

        Args:
            info: of the message, as `qos.subscription` hands it over.
        """
        number = info.get('publication_sequence_number')
        if number is None:
            self.numbered = False
            return 0
        publisher = bytes((info.get('publisher_gid') or {}).get('data', b''))
        last = self._last.get(publisher, number - 1)
        if len(self._last) >= _MOST_PUBLISHERS:
            self._last.clear()
        self._last[publisher] = number
        return max(0, number - last - 1)


def waited_s(info: Mapping[str, Any]) -> float:
    """Return for how many seconds a message has been here, 0 if the middleware does not say."""
    received = info.get('received_timestamp') or 0
    return max(0.0, (time.time_ns() - received) / 1e9) if received > 0 else 0.0
