# SPDX-License-Identifier: Apache-2.0
"""Clicks on live images: one more prompt at once, and together a new reference.

Who clicks does so on the picture that is shown, not on the reference image. A click therefore means
the newest masked frame: the feature at that pixel of it is looked for from then on. To capture, all
clicks since the last clearing on the camera of the last one are taken to be on that one's frame, so
the object must hold still from the first click to the last.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from samg_ros.errors import InvalidInputError
from samg_ros.masking import Masker, Reference

Frame = npt.NDArray[np.uint8]
Picture = tuple[str, tuple[int, ...]]
"""Camera and shape: what clicks have in common that are on the same picture."""


class Clicks:
    """The points clicked since the last clearing or capture."""

    def __init__(self, masker: Masker, most: int, folder: str = '') -> None:
        """Begin with none.

        Args:
            masker: that is to look for them.
            most: how many there may be.
            folder: where a captured reference is saved; empty for nowhere.
        """
        self.masker = masker
        self._most, self._folder = most, folder
        self._has_saved = False  # what others put into the folder is not overwritten
        self._points: list[tuple[Picture, float, float]] = []
        self._frame: Frame | None = None

    def __len__(self) -> int:
        return len(self._points)

    def add(self, x: float, y: float, frame: Frame, camera: str = '') -> None:
        """Look for what is at a pixel of a frame, too.

        Args:
            x: column in pixels.
            y: row in pixels.
            frame: (H, W, 3) uint8 RGB, which was clicked on.
            camera: whose it is.

        Raises:
            InvalidInputError: if the point is outside, or there are too many.
        """
        if len(self) >= self._most:
            raise InvalidInputError(f'{self._most} points were clicked already; clear_points '
                                    'removes them')
        if self.masker.reference is not None:
            self.masker.add_points([[x, y]], frame=frame)
        elif not (0 <= x <= frame.shape[1] - 1 and 0 <= y <= frame.shape[0] - 1):
            raise InvalidInputError(f'point {x}, {y}: outside the {frame.shape[1]} x '
                                    f'{frame.shape[0]} image')
        self._points.append(((camera, frame.shape), x, y))
        self._frame = frame

    def clear(self) -> None:
        """Look only for what the reference itself says."""
        self._points.clear()
        self._frame = None
        reference = self.masker.reference
        if reference is not None:
            own = reference.points
            self.masker.clear_points()
            if len(own):
                self.masker.add_points(own)

    def capture(self) -> Reference:
        """Make a reference of the last clicked frame and its clicks, and fit the masker to it.

        Returns:
            The reference.

        Raises:
            SamgError: if nothing was clicked, nothing is cut out, or it cannot be saved; the
                masker is then as before.
        """
        if self._frame is None:
            raise InvalidInputError('nothing was clicked; publish clicked_point, or click in '
                                    'rqt_image_view, and call again')
        last = self._points[-1][0]
        points = [(x, y) for picture, x, y in self._points if picture == last]
        reference = self.masker.capture(self._frame, points, 'captured by perception')
        if self._folder:
            reference.save(Path(self._folder).expanduser(), overwrite=self._has_saved)
            self._has_saved = True
        self.masker.fit(reference)
        self._points.clear()
        self._frame = None
        return reference
