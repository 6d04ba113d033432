# SPDX-License-Identifier: Apache-2.0
"""The frames that a policy was shown, found in its recording by camera and stamp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from samg_ros.bags.bag import Bag, Recorded
from samg_ros.bags.output import MASKED
from samg_ros.bags.topics import check_topics, find_camera, find_more, frame_of, stamp_ns
from samg_ros.errors import BagError
from samg_ros.masking import Masker, apply_mask
from samg_ros.masking.tracker import Tracker
from samg_ros.rl.evaluation.policy import Policy

_LATE_NS = 1_000_000_000
"""By how much a frame may have been recorded after the look at it: its messages are larger."""

Look = Mapping[str, int]
"""Camera -> stamp of its frame in ns."""
Pixels = npt.NDArray[np.uint8]


class ShownFrames:
    """Reads the frames of one look after the other; keeps those that a later look may need."""

    def __init__(self, bag: Bag, policy: Policy, looks: Sequence[Look],
                 maskers: Mapping[str, Masker] | None = None, image: str | None = None) -> None:
        """Begin to read.

        Args:
            bag: the policy's recording.
            policy: that was recorded.
            looks: all that will be asked for.
            maskers: of each camera, to mask its frames again; None takes the masked ones.
            image: topic of the main camera, where raw frames are read; None takes the only one.

        Raises:
            BagError: if the bag lacks a camera that the policy saw.
        """
        self._trackers = {name: Tracker(each) for name, each in (maskers or {}).items()}
        self._fill = policy.spec.fill
        main, *more = policy.cameras
        if maskers is not None or policy.spec.source == 'raw':
            check_topics(bag, {'image': image})
            image = image or find_camera(bag, more)
            self._cameras = {image: main, **find_more(bag, more, image)}
        else:
            self._cameras = {f'/{name}{MASKED}' if name else MASKED: name
                             for name in policy.cameras}
        if missing := [topic for topic in self._cameras if topic not in bag.topics]:
            raise BagError(f"the bag has no '{missing[0]}', which the policy saw")
        self._needed = {name: {look[name] for look in looks} for name in policy.cameras}
        self._known: dict[str, dict[int, Pixels]] = {name: {} for name in policy.cameras}
        self._newest: dict[str, int] = {}
        self._messages = bag.messages(self._cameras)
        self._next = next(self._messages, None)

    def find(self, look: Look, logged_ns: int) -> dict[str, Pixels] | None:
        """Return the frames of the next look.

        Args:
            look: its frames.
            logged_ns: when it was recorded. Where the clock was set back a stamp comes again, and
                the last frame before that time counts.

        Returns:
            (H, W, 3) of each camera as the policy was shown it; None if one is not there.
        """
        while self._next is not None and self._next.log_time_ns <= logged_ns + (
                0 if self._has(look) else _LATE_NS):
            self._keep(self._next)
            self._next = next(self._messages, None)
        if not self._has(look):
            return None
        for name, at in look.items():
            known = [*self._known[name]]
            for before in known[:known.index(at)]:
                del self._known[name][before]
        return {name: self._known[name][at] for name, at in look.items()}

    def _has(self, look: Look) -> bool:
        return all(at in self._known[name] for name, at in look.items())

    def _keep(self, each: Recorded) -> None:
        """Keep a frame if it is needed, behind those that came before it."""
        name, at = self._cameras[each.topic], stamp_ns(each.message)
        before, self._newest[name] = self._newest.get(name), at
        if at == before:  # a repeated stamp is not looked at
            return
        tracker, needed = self._trackers.get(name), at in self._needed[name]
        if not needed and (tracker is None or not tracker.remembers):
            return
        frame = frame_of(each.message)
        if tracker is not None:
            frame = apply_mask(frame, tracker.mask(frame, at), self._fill)
        if not needed:
            return
        self._known[name].pop(at, None)
        self._known[name][at] = frame
