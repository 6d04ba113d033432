# SPDX-License-Identifier: Apache-2.0
"""Recorded sequences with true masks: folders with frames/, masks/ and sequence.json.

A mask is a picture of object numbers, 0 elsewhere, with the name of its frame. Two protocols:
`first` takes the first frame as the reference of all others; `other` gives each frame a reference
from half a sequence away.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from samg_ros.errors import ConfigError, PictureError
from samg_ros.files.pictures import read_picture

PROTOCOLS = ('first', 'other')
_PICTURES = ('.jpg', '.jpeg', '.png')


@dataclass(frozen=True, eq=False)
class MaskedSequence:
    """Frames of one object and its true masks."""

    folder: Path
    frames: tuple[npt.NDArray[np.uint8], ...]
    """(H, W, 3) RGB each; sizes may differ."""
    masks: tuple[npt.NDArray[np.bool_], ...]
    """(H, W) each."""

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.folder.name

    def pairs(self, protocol: str) -> list[tuple[int, int]]:
        """Return (reference, frame) indices, one a frame that is scored."""
        count = len(self.frames)
        if protocol == 'first':
            return [(0, index) for index in range(1, count)]
        return [((index + count // 2) % count, index) for index in range(count)]


    def without_object(self, others: Iterable[MaskedSequence]) -> MaskedSequence:
        """Return its first frame, then the frames of other sequences, which show other things."""
        frames = [frame for other in others for frame in other.frames]
        return replace(self, frames=(self.frames[0], *frames), masks=(
            self.masks[0], *(np.zeros(frame.shape[:2], np.bool_) for frame in frames)))


def load_sequence(folder: Path | str) -> MaskedSequence:
    """Read a sequence.

    Raises:
        ConfigError: if the folder has not at least two frames with a mask each.
    """
    folder = Path(folder).expanduser()
    paths = sorted(path for path in (folder / 'frames').glob('*')
                   if path.suffix.lower() in _PICTURES)
    if len(paths) < 2:
        raise ConfigError(f"'{folder}' is no sequence: expected at least two pictures in "
                          f"'{folder / 'frames'}'")
    frames, masks = [], []
    for path in paths:
        frame = _read(path, cv2.IMREAD_COLOR)
        mask = _read(folder / 'masks' / f'{path.stem}.png', cv2.IMREAD_UNCHANGED)
        mask = mask if mask.ndim == 2 else mask.max(axis=2)
        if mask.shape != frame.shape[:2]:
            raise ConfigError(f"the mask of '{path}' has {mask.shape[1]} x {mask.shape[0]} pixels, "
                              f'the frame {frame.shape[1]} x {frame.shape[0]}')
        if not mask.any():
            raise ConfigError(f"the mask of '{path}' is empty; leave the frame out")
        frames.append(np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8))
        masks.append(mask > 0)
    return MaskedSequence(folder, tuple(frames), tuple(masks))


def _read(path: Path, how: int) -> npt.NDArray[np.uint8]:
    try:
        return np.asarray(read_picture(path, how), np.uint8)
    except PictureError as error:
        raise ConfigError(f'cannot read a picture: {error}') from error
