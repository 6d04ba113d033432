# SPDX-License-Identifier: Apache-2.0
"""The pictures of a report page, as data URIs: frames and short videos."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from samg_ros.evaluation.episodes import View, small_view
from samg_ros.files.pictures import data_uri
from samg_ros.files.videos import VideoFile

_SIDE = 168
"""Least height of a frame in a video, in pixels."""
_FRAMES_PER_S = 25


def still(picture: NDArray[Any]) -> str:
    """Return a frame or mask as a PNG data URI, pixel for pixel; the page enlarges it.

    Args:
        picture: (H, W, 3) uint8 RGB, or (H, W) bool.
    """
    return data_uri('image/png', _png(_rgb(picture)))


class Video(VideoFile):
    """A WebM file of camera, mask outline and what the policy sees side by side, as a context."""

    def __init__(self, path: Path) -> None:
        """Name the file; it is begun with the first moment, whose size it has."""
        super().__init__(path, 'VP80', _FRAMES_PER_S)

    def add(self, view: View) -> None:
        """Write the next moment; one of another size is fitted to the first's.

        Raises:
            VideoError: if this machine's OpenCV cannot write VP8.
        """
        frame = np.ascontiguousarray(_triptych(small_view(view))[..., ::-1])
        if frame.shape[:2] != self.size and any(self.size):
            frame = np.asarray(cv2.resize(frame, self.size[::-1]), np.uint8)
        with _quiet_stderr() if not any(self.size) else contextlib.nullcontext():
            self.write(frame)


def video(views: Sequence[View]) -> str:
    """Return a Video of consecutive moments, at least one, as a data URI.

    Raises:
        VideoError: if this machine's OpenCV cannot write VP8.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'video.webm'
        with Video(path) as made:
            for view in views:
                made.add(view)
        return data_uri('video/webm', path.read_bytes())


def _triptych(view: View) -> NDArray[np.uint8]:
    """Put camera, outlined camera and masked frame side by side, enlarged."""
    outlined = _large(view.frame).copy()
    mask = _large(view.mask)[..., 0]
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(outlined, contours, -1, (255, 64, 160), 1)
    row = np.concatenate([_large(view.frame), outlined, _large(view.masked)], axis=1)
    # VP8 wants even sides.
    return row[: row.shape[0] // 2 * 2, : row.shape[1] // 2 * 2]


def _large(picture: NDArray[Any]) -> NDArray[np.uint8]:
    """Enlarge a picture by a whole factor to at least _SIDE pixels of height, as RGB."""
    rgb = _rgb(picture)
    factor = max(1, -(-_SIDE // rgb.shape[0]))
    return np.ascontiguousarray(rgb.repeat(factor, axis=0).repeat(factor, axis=1))


def _rgb(picture: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a frame or mask as (H, W, 3) uint8."""
    if picture.dtype == np.bool_:
        return np.repeat(picture[..., None], 3, axis=2) * np.uint8(255)
    return np.asarray(picture, np.uint8)


def _png(rgb: NDArray[np.uint8]) -> bytes:
    good, data = cv2.imencode('.png', rgb[..., ::-1])
    assert good
    return data.tobytes()


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep FFmpeg's remark about WebM's codec tags, printed from C, off the terminal."""
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with open(os.devnull, 'wb') as nothing:
            os.dup2(nothing.fileno(), 2)
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
