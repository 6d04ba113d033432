# SPDX-License-Identifier: Apache-2.0
"""The frames that a policy was shown, found in its recording by camera and stamp."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from samg_ros.bags.bag import Bag
from samg_ros.bags.output import MASKED
from samg_ros.bags.topics import check_topics, find_camera, find_more, frame_of, stamp_ns
from samg_ros.errors import BagError
from samg_ros.masking import Masker, apply_mask
from samg_ros.rl.evaluation.policy import Policy

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
        self._bag, self._maskers, self._fill = bag, maskers, policy.spec.fill
        main, *more = policy.cameras
        if maskers is not None or policy.spec.source == 'raw':
            check_topics(bag, {'image': image})
            self._cameras = {image or find_camera(bag, more): main, **find_more(bag, more)}
        else:
            self._cameras = {f'/{name}{MASKED}' if name else MASKED: name
                             for name in policy.cameras}
        if missing := [topic for topic in self._cameras if topic not in bag.topics]:
            raise BagError(f"the bag has no '{missing[0]}', which the policy saw")
        self._needed = {name: {look[name] for look in looks} for name in policy.cameras}
        self._known: dict[str, dict[int, Pixels]] = {name: {} for name in policy.cameras}
        self._used: dict[str, int] = {}
        self._frames = self._read()

    def find(self, look: Look) -> dict[str, Pixels] | None:
        """Return (H, W, 3) of each camera as the policy was shown it; None if one is not there."""
        for name, at in look.items():
            before = self._used.get(name, at)
            if at < before:  # the clock was set back, so this stamp may come again
                self._known[name].pop(before, None)
            self._used[name] = at
        while not all(at in self._known[name] for name, at in look.items()):
            if (found := next(self._frames, None)) is None:
                return None
            name, at, pixels = found
            self._known[name].setdefault(at, pixels)  # a repeated stamp was ignored by the policy
        shown = {name: self._known[name][at] for name, at in look.items()}
        for name, at in look.items():
            self._known[name] = {stamp: pixels for stamp, pixels in self._known[name].items()
                                 if stamp >= at}
        return shown

    def _read(self) -> Iterator[tuple[str, int, Pixels]]:
        for each in self._bag.messages(self._cameras):
            name, at = self._cameras[each.topic], stamp_ns(each.message)
            if at not in self._needed[name]:
                continue
            frame = frame_of(each.message)
            if self._maskers is not None:
                frame = apply_mask(frame[None], self._maskers[name](frame[None]), self._fill)[0]
            yield name, at, frame
