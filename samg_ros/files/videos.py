# SPDX-License-Identifier: Apache-2.0
"""Writing videos: under a name of their own until they are whole, and read back before that.

OpenCV's writer says nothing when a disk is full or a codec drops frames.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from samg_ros.errors import VideoError
from samg_ros.files.outputs import beside, replacing
from samg_ros.files.pictures import open_video, opencv_path, shown

_FRAME_BYTES = 8
"""A frame takes no less in a file: the header of an AVI's chunk, an MP4's entries of its tables."""

_Own = TypeVar('_Own', bound='VideoFile')


class VideoFile:
    """A video that is being written; a context that finishes it, or on an error discards it."""

    def __init__(self, path: Path, code: str, rate: float, backend: int = cv2.CAP_ANY) -> None:
        """Name the file; it is begun with the first frame, whose size it has.

        Args:
            path: final name; what is there is replaced at the end.
            code: four letters of the codec.
            rate: frames per second.
            backend: OpenCV's, cv2.CAP_*.
        """
        self.path = path
        self._code, self._rate, self._backend = code, rate, backend
        self._part = beside(path)
        self._writer: Any = None
        self._count = 0
        self.size = (0, 0)
        """(height, width) of its frames; (0, 0) before the first."""

    def __enter__(self: _Own) -> _Own:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if kind is None:
            self.finish()
        else:
            self.discard()

    def write(self, frame: npt.NDArray[np.uint8]) -> None:
        """Write a frame, (H, W, 3) uint8 BGR, contiguous.

        Raises:
            VideoError: if OpenCV cannot write such a video there.
        """
        if self._writer is None:
            self.size = frame.shape[:2]
            self._writer = cv2.VideoWriter(
                opencv_path(self._part), self._backend, cv2.VideoWriter.fourcc(*self._code),
                self._rate, self.size[::-1])
            if not self._writer.isOpened():
                self.discard()
                raise VideoError(f'{shown(self.path)}: OpenCV cannot write {self._code} video with '
                                 f'{self._rate:g} frames per second there; check the folder, and '
                                 'that opencv-python-headless is the one of PyPI')
        self._writer.write(frame)
        self._count += 1

    def finish(self) -> None:
        """Close the video, read it back and give it its name; without a frame, write none.

        Raises:
            VideoError: if it cannot be read back as it was written; it is deleted then.
            OutputError: if it cannot be renamed.
        """
        if self._writer is None:
            return
        self._writer.release()
        try:
            self._check()
            with replacing(self.path) as part:
                os.replace(self._part, part)
        finally:
            self.discard()

    def discard(self) -> None:
        """Close the video and delete it; one that is finished stays."""
        if self._writer is not None:
            self._writer.release()
        self._writer = None
        self._part.unlink(missing_ok=True)

    def _check(self) -> None:
        frames, size = 0, self.size
        capture = open_video(self._part)
        try:
            while frames < self._count and size == self.size:
                there, picture = capture.read()
                if not there:
                    break
                frames, size = frames + 1, picture.shape[:2]
        finally:
            capture.release()
        if size != self.size:
            raise VideoError(f'{shown(self.path)}: {size[0]} x {size[1]} pixels were written, not '
                             f'{self.size[0]} x {self.size[1]}')
        if frames < self._count:
            raise VideoError(f'{shown(self.path)}: {frames} of {self._count} frames can be read '
                             'back; is the disk full?')


def announced_frames(capture: cv2.VideoCapture, path: Path) -> int:
    """Return how many frames a video says it has, at most as many as its file can hold."""
    announced = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return round(min(max(announced, 0), path.stat().st_size // _FRAME_BYTES))
