# SPDX-License-Identifier: Apache-2.0
"""Masks the frames of one camera in their order, and looks first where the objects were.

An object in a video does not jump: a crop around its last mask shows it, and one look at the crop
replaces a look at the frame and a second one. Where it is not whole in the crop, or is no longer
there, the whole frame is looked at again, so that no error stays for longer than it shows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import Tensor

from samg_ros.masking.frames.prediction import Prediction
from samg_ros.masking.masker import Masker

LONGEST_GAP_S = 0.3
"""Between two frames. A crop leaves 0.3 of the object's size at each side (MARGIN of
`second_look`), so what moves by its own size in a second has left it after this time."""


class Tracker:
    """A masker with a memory of one frame; with `temporal` 'off', a masker."""

    def __init__(self, masker: Masker) -> None:
        """Wrap a masker; several trackers may share it."""
        self.masker = masker
        self._before: Tensor | None = None
        self._stamp_s = 0.0
        self._near: Tensor | None = None  # what the last frame was looked at by

    @property
    def remembers(self) -> bool:
        """Whether the mask of a frame depends on the frame before."""
        return self.masker.settings.temporal == 'prior'

    def predict(self, frame: npt.NDArray[np.uint8], stamp_s: float) -> Prediction:
        """Return the masks of the next frame.

        Args:
            frame: (H, W, 3) uint8 RGB.
            stamp_s: when it was taken, seconds. After a jump back, or a gap longer than
                LONGEST_GAP_S, nothing is known of where the objects are. A frame that comes again,
                with the same stamp, is masked as at first.

        Raises:
            InvalidInputError, NotFittedError: see `Masker.predict`.
        """
        gap_s, self._stamp_s = stamp_s - self._stamp_s, stamp_s
        before, self._before = self._before if gap_s else self._near, None
        self._near = before if 0 <= gap_s <= LONGEST_GAP_S else None
        known = self._near is not None and self._near.shape[2:] == frame.shape[:2] \
            and self._near.shape[1] == len(self.masker.objects)
        prediction = self.masker._near(frame, self._near) if known and self._near is not None \
            else None
        prediction = prediction or self.masker.predict(frame[None])
        if self.remembers:
            self._before = prediction.object_masks
        return prediction

    def mask(self, frame: npt.NDArray[np.uint8], time_ns: int) -> npt.NDArray[np.bool_]:
        """Return the mask of the next frame, (H, W) bool, of all objects together.

        Args:
            frame: (H, W, 3) uint8 RGB.
            time_ns: when it was taken, see `predict`.

        Raises:
            InvalidInputError, NotFittedError: see `Masker.predict`.
        """
        found: npt.NDArray[np.bool_] = self.predict(frame, time_ns * 1e-9).masks.cpu().numpy()[0]
        return found
