# SPDX-License-Identifier: Apache-2.0
"""Where pictures are chosen from: the frames of a video, of a bag, or what a camera sends now."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from samg_ros.bags.bag import SUFFIXES as BAG_SUFFIXES, open_bag
from samg_ros.bags.topics import find_topics, frame_of
from samg_ros.errors import InvalidInputError, VideoError
from samg_ros.files.pictures import VIDEO_ADVICE, open_video
from samg_ros.mask_command import VIDEO_SUFFIXES
from samg_ros.reference_maker.pictures import Image, limited

MOST_SHOWN = 200
"""Frames of a bag that are offered, evenly spread."""


class Source(Protocol):
    """Something with frames, numbered from 0."""

    name: str
    count: int

    def frame(self, index: int) -> Image:
        """Return frame `index` as (H, W, 3) uint8 RGB, at most `MOST_SIDE` long."""


class VideoFrames:
    """The frames of a video file."""

    def __init__(self, path: Path, name: str = '') -> None:
        """Open a video, which is called `name` in errors, or as its file.

        Raises:
            VideoError: if OpenCV reads no frame of it.
        """
        self.path, self.name = path, name or path.name
        capture = open_video(path)
        announced = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        first, _ = capture.read()
        capture.release()
        if not first:
            raise VideoError(f'{self.name}: no frame of this video can be read; '
                             f'{VIDEO_ADVICE}')
        self.count = max(1, announced)

    def frame(self, index: int) -> Image:
        """See Source."""
        check_index(self, index)
        capture = open_video(self.path)
        try:
            capture.set(cv2.CAP_PROP_POS_FRAMES, index)
            there, picture = capture.read()
        finally:
            capture.release()
        if not there:
            raise VideoError(f'{self.name}: frame {index} cannot be read; choose an earlier one')
        return limited(np.asarray(picture[..., ::-1], np.uint8))


class BagFrames:
    """The camera frames of a recorded bag, MOST_SHOWN of them at most."""

    def __init__(self, path: Path, topic: str | None = None) -> None:
        """Open a bag.

        Args:
            path: folder or storage file.
            topic: of the camera; None takes the only one.

        Raises:
            BagError: if there is no bag, or no camera in it.
        """
        self._bag = open_bag(path)
        self._topic = find_topics(self._bag, image=topic).image
        recorded = self._bag.counts[self._topic]
        self.count = min(recorded, MOST_SHOWN)
        self._places = np.linspace(0, recorded - 1, self.count).round().astype(int).tolist()
        self.name = f'{path.name} {self._topic}'

    def frame(self, index: int) -> Image:
        """See Source; reads the bag up to there."""
        check_index(self, index)
        for place, recorded in enumerate(self._bag.messages([self._topic])):
            if place == self._places[index]:
                return limited(frame_of(recorded.message))
        raise InvalidInputError(f'{self.name}: frame {index} cannot be read; choose an earlier one')


def open_source(path: Path, topic: str | None = None) -> Source | None:
    """Return the frames of a video or bag; None if the path is that of a picture.

    Raises:
        InvalidInputError: if there is no such file or folder.
        SamgError: if it is a video or bag that cannot be read.
    """
    if not path.exists():
        raise InvalidInputError(f'{path}: no such file or folder; give a picture, video or bag')
    if path.is_dir() or path.name.endswith(BAG_SUFFIXES):
        return BagFrames(path, topic)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return VideoFrames(path)
    return None


def spread_frames(source: Source, count: int) -> list[Image]:
    """Return `count` frames of a source, evenly spread, or all if it has fewer."""
    places = np.linspace(0, source.count - 1, min(count, source.count)).round().astype(int)
    return [source.frame(int(place)) for place in places]


def check_index(source: Source, index: Any) -> None:
    """Raise InvalidInputError if a source has no frame of that number."""
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < source.count:
        raise InvalidInputError(f'frame {str(index)[:20]}: {source.name} has frames 0 to '
                                f'{source.count - 1}')
