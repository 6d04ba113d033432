# SPDX-License-Identifier: Apache-2.0
"""Blends chunks of actions that overlap in time into one action at a time.

ACT (arXiv 2304.13705, section IV-A) averages what all chunks say of a moment, the oldest with the
greatest weight. Here the newest has it, since it knows the newest frame, and the time constant is
found on demonstrations that were held out. Chunks are read by time, not by count of frames: a
camera that drops a frame does not delay the actions.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

Actions = npt.NDArray[np.float64]
_BEYOND = 0.5
"""How far beyond its last action a chunk is still followed, in periods."""


class ChunkBlender:
    """Collects chunks of actions and returns the blended action for a point in time."""

    def __init__(self, chunk: int, period_s: float, blend_s: float) -> None:
        """Begin without a chunk.

        Args:
            chunk: actions in each.
            period_s: between two of them.
            blend_s: time constant of the weights by age; 0 takes the newest chunk alone.
        """
        self._period_s, self._blend_s = period_s, blend_s
        self._last = chunk - 1
        self._chunks: deque[tuple[float, Actions]] = deque()

    def restart(self) -> None:
        """Forget all chunks."""
        self._chunks.clear()

    def add(self, time_s: float, actions: Actions) -> None:
        """Add a chunk.

        Args:
            time_s: of its first action.
            actions: (chunk, A).
        """
        self._chunks.append((time_s, actions))

    def at(self, time_s: float) -> Actions | None:
        """Return the action of a moment, (A,); None if no chunk reaches it.

        Times must not decrease; chunks that end before are forgotten.
        """
        reach_s = (self._last + _BEYOND) * self._period_s
        while self._chunks and time_s - self._chunks[0][0] > reach_s:
            self._chunks.popleft()
        if not self._chunks:
            return None
        newest_s = self._chunks[-1][0]
        total, weights = np.zeros_like(self._chunks[-1][1][0]), 0.0
        for begin_s, actions in self._chunks:
            if self._blend_s:
                weight = float(np.exp((begin_s - newest_s) / self._blend_s))
            else:
                weight = float(begin_s == newest_s)
            total += weight * self._read(actions, (time_s - begin_s) / self._period_s)
            weights += weight
        blended: Actions = total / weights
        return blended

    def _read(self, actions: Actions, place: float) -> Actions:
        """Return the action at a place between 0 and the last, interpolated."""
        place = min(max(place, 0.0), float(self._last))
        before = int(place)
        share = place - before
        after = min(before + 1, self._last)
        read: Actions = (1 - share) * actions[before] + share * actions[after]
        return read
