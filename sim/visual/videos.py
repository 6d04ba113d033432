# SPDX-License-Identifier: Apache-2.0
"""What plays behind the robot: the next video at every reset, one frame per agent step.

Videos come from a folder, or are painted by `backgrounds` where no folder is given. Reading is
lazy, because an episode seldom shows a whole video, and each frame is decoded once as long as the
memory allowance lasts.
"""

from __future__ import annotations

import collections
import functools
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import cv2
import numpy as np

from samg_ros.errors import SamgError, VideoError
from samg_ros.files.pictures import open_video
from samg_ros.sim.visual.backgrounds import ProceduralVideo

VIDEO_SUFFIXES = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm')
DEFAULT_MEMORY_BYTES = 128 * 2**20
MAX_FRAMES = 1001
"""Frames of a video that an episode can show: one per agent step and one at the reset."""


class Backgrounds(Protocol):
    """Videos for the background, one an episode."""

    @property
    def faults(self) -> Mapping[str, str]:
        """What is wrong with which file, in words."""

    def seed(self, seed: int) -> None:
        """Draw a new order of the videos; the next call of `next_video` begins with its first."""

    def next_video(self) -> None:
        """Go to the next video."""

    def frame(self, index: int) -> np.ndarray:
        """Return frame `index` of the present video, (H, W, 3) uint8 RGB; a short video loops."""


class ProceduralBackgrounds:
    """Videos that are drawn by a program; they are new each time and never end."""

    faults: Mapping[str, str] = MappingProxyType({})

    def __init__(self, height: int, width: int, seed: int) -> None:
        self._height, self._width = height, width
        self.seed(seed)

    def seed(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._video: ProceduralVideo | None = None

    def next_video(self) -> None:
        self._video = ProceduralVideo(int(self._rng.integers(2**31)), self._height, self._width)

    def frame(self, index: int) -> np.ndarray:
        if self._video is None:
            self.next_video()
        assert self._video is not None
        return self._video.frame(index)


class Resize(Protocol):
    """Brings a frame to a size."""

    def __call__(self, frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Return (height, width, 3) uint8 RGB of (H, W, 3) uint8 RGB and (width, height)."""


def resize_bilinear(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize bilinearly, rounded to the nearest level; see `Resize`."""
    return cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)


class VideoFolder:
    """The videos of a folder, in an order drawn from the seed, over and over.

    A file that cannot be read, at once or later, is left out; one that is cut short is shown as far
    as it goes. Either is a warning, and stays in `faults`.

    Args:
        folder: holds the videos, whatever their names; other files are not looked at.
        height: pixels of a frame.
        width: pixels of a frame.
        seed: of the order.
        resize: what brings a frame to (width, height); bilinear unless given.
        memory_bytes: allowance for decoded frames. Frames so large that one video would not fit
            are not kept but read again.

    Raises:
        VideoError: if the folder is missing or holds no video that can be read.
    """

    def __init__(self, folder: str | Path, height: int, width: int, seed: int,
                 resize: Resize = resize_bilinear,
                 memory_bytes: int = DEFAULT_MEMORY_BYTES) -> None:
        self.faults: dict[str, str] = {}
        self._folder = Path(folder)
        self._paths = [path for path in _video_paths(self._folder) if self._is_readable(path)]
        self._check_any_left()
        self._resize = functools.partial(resize, size=(width, height))
        frame_bytes = height * width * 3
        self._keep = frame_bytes * MAX_FRAMES <= memory_bytes
        self._capacity = memory_bytes // frame_bytes
        self._open: collections.OrderedDict[Path, _Video] = collections.OrderedDict()
        self.seed(seed)

    def seed(self, seed: int) -> None:
        self._order = np.random.default_rng(seed).permutation(len(self._paths))
        self._position = -1

    def next_video(self) -> None:
        self._position += 1

    def frame(self, index: int) -> np.ndarray:
        while True:
            video = self._present()
            frame = video.frame(index)
            if video.fault:
                self._note(video.path, video.fault)
            if frame is not None:
                break
            self._leave_out(video.path)
        while len(self._open) > 1 and sum(map(len, self._open.values())) > self._capacity:
            self._open.popitem(last=False)[1].pause()
        return frame

    def _present(self) -> _Video:
        path = self._paths[self._order[max(self._position, 0) % len(self._order)]]
        video = self._open.get(path)
        if video is None:
            for other in self._open.values():
                other.pause()
            video = self._open[path] = _Video(path, self._resize, self._keep)
        self._open.move_to_end(path)
        return video

    def _is_readable(self, path: Path) -> bool:
        try:
            capture = open_video(path)
        except SamgError as error:
            self._note(path, f'{_UNREADABLE}: {error}')
            return False
        readable = bool(capture.isOpened() and capture.read()[0])
        capture.release()
        if not readable:
            self._note(path, _UNREADABLE)
        return readable

    def _leave_out(self, path: Path) -> None:
        """Go on without a video: the next one in the order takes its place."""
        lost = self._paths.index(path)
        self._open.pop(path).pause()
        del self._paths[lost]
        self._check_any_left()
        order = self._order[self._order != lost]
        self._order = order - (order > lost)

    def _check_any_left(self) -> None:
        if not self._paths:
            raise VideoError(f"the folder '{self._folder}' holds no video that can be read: "
                             + '; '.join(f'{name}: {what}' for name, what in self.faults.items()))

    def _note(self, path: Path, what: str) -> None:
        if self.faults.get(path.name) != what:
            self.faults[path.name] = what
            warnings.warn(f"the video '{path}': {what}", stacklevel=2)


_UNREADABLE = ('left out, for it cannot be read (not a video, without a frame, cut short, or a '
               'format OpenCV lacks); put back a whole copy')


class _Video:
    """One video file, read forward as far as it is asked for."""

    def __init__(self, path: Path, resize: Callable[[np.ndarray], np.ndarray], keep: bool,
                 ) -> None:
        self.path, self._resize, self._keep = path, resize, keep
        self.fault = ''
        self._frames: list[np.ndarray] = []
        self._capture: cv2.VideoCapture | None = None
        self._next = 0
        self._length: int | None = None
        self._promised = 0
        self._latest: np.ndarray | None = None

    def __len__(self) -> int:
        """Return the number of decoded frames held."""
        return max(len(self._frames), 1)

    def frame(self, index: int) -> np.ndarray | None:
        """Return a frame, or None where the file gives none at all; `fault` says what is wrong."""
        index %= self._length or MAX_FRAMES
        if index < len(self._frames):
            return self._frames[index]
        if self._capture is None or index < self._next - 1:
            self._rewind()
        while self._next <= index:
            image = self._read()
            if image is None:
                if self._next == 0:
                    self.fault = _UNREADABLE
                    return None
                self._length = self._next
                if self._length < self._promised:
                    self.fault = (f'cut short, it gives {self._length} of its {self._promised} '
                                  'frames; put back a whole copy')
                return self.frame(index)
        assert self._latest is not None
        return self._latest

    def pause(self) -> None:
        """Close the file; the frames stay."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _rewind(self) -> None:
        self.pause()
        self._capture = open_video(self.path)
        self._promised = round(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._next = 0
        while self._next < len(self._frames) and self._capture.grab():
            self._next += 1

    def _read(self) -> np.ndarray | None:
        assert self._capture is not None
        ok, image = self._capture.read()
        if not ok:
            return None
        image = self._resize(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        self._latest = image
        if self._keep and self._next == len(self._frames):
            self._frames.append(image)
        self._next += 1
        return image


def _video_paths(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise VideoError(f"there is no folder of videos at '{folder}'; give a folder that holds "
                         f'{", ".join(VIDEO_SUFFIXES)} files, or none for painted backgrounds')
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
    if not paths:
        raise VideoError(f"the folder '{folder}' holds no video; looked for "
                         f'{", ".join(VIDEO_SUFFIXES)}')
    return paths


def make_backgrounds(folder: str | Path | None, height: int, width: int, seed: int,
                     resize: Resize = resize_bilinear) -> Backgrounds:
    """Return the videos of a folder, or painted ones where no folder is given."""
    if folder is None:
        return ProceduralBackgrounds(height, width, seed)
    return VideoFolder(folder, height, width, seed, resize)


def videos_of(folder: str | Path | None, setting: str) -> str | Path | None:
    """Return the folder below with a setting's own videos, if there is one, or else the folder.

    Args:
        folder: of videos, or of one such folder a setting, as DMC-GB's `video_easy/` and
            `video_hard/`; None for no folder.
        setting: name of the visual setting.
    """
    own = None if folder is None else Path(folder) / setting
    return own if own is not None and own.is_dir() else folder
