# SPDX-License-Identifier: Apache-2.0
"""Clicks on live images: one more prompt at once, and together a new reference.

Who clicks does so on the picture that is shown, not on the reference image. A click therefore means
the newest masked frame: the feature at that pixel of it is looked for from then on. To capture, all
clicks since the last clearing are taken to be on the frame of the last one, so the object must hold
still from the first click to the last.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from samg_ros.errors import InvalidInputError
from samg_ros.masking import Masker, Reference

Frame = npt.NDArray[np.uint8]


class Clicks:
    """The points clicked since the last clearing or capture."""

    def __init__(self, masker: Masker, most: int) -> None:
        """Begin with none.

        Args:
            masker: that is to look for them.
            most: how many there may be.
        """
        self._masker, self._most = masker, most
        self._points: list[tuple[float, float]] = []
        self._frame: Frame | None = None

    def __len__(self) -> int:
        return len(self._points)

    def add(self, x: float, y: float, frame: Frame) -> None:
        """Look for what is at a pixel of a frame, too.

        Args:
            x: column in pixels.
            y: row in pixels.
            frame: (H, W, 3) uint8 RGB, which was clicked on.

        Raises:
            InvalidInputError: if the point is outside, or there are too many.
        """
        if len(self) >= self._most:
            raise InvalidInputError(f'{self._most} points were clicked already; clear_points '
                                    'removes them')
        if self._masker.reference is not None:
            self._masker.add_points([[x, y]], frame=frame)
        elif not (0 <= x <= frame.shape[1] - 1 and 0 <= y <= frame.shape[0] - 1):
            raise InvalidInputError(f'point {x}, {y}: outside the {frame.shape[1]} x '
                                    f'{frame.shape[0]} image')
        if self._frame is not None and self._frame.shape != frame.shape:
            self._points.clear()  # they were on a picture of another size
        self._points.append((x, y))
        self._frame = frame

    def clear(self) -> None:
        """Look only for what the reference itself says."""
        self._points.clear()
        self._frame = None
        reference = self._masker.reference
        if reference is not None:
            own = reference.points
            self._masker.clear_points()
            if len(own):
                self._masker.add_points(own)

    def capture(self, folder: str) -> Reference:
        """Make a reference of the last clicked frame and all clicks, and fit the masker to it.

        Args:
            folder: where it is saved; empty for nowhere.

        Returns:
            The reference.

        Raises:
            SamgError: if nothing was clicked, nothing is cut out, or it cannot be saved; the
                masker is then as before.
        """
        if self._frame is None:
            raise InvalidInputError('nothing was clicked; publish clicked_point, or click in '
                                    'rqt_image_view, and call again')
        reference = self._masker.capture(self._frame, self._points, 'captured by perception')
        if folder:
            reference.save(Path(folder).expanduser())
        self._masker.fit(reference)
        self._points.clear()
        self._frame = None
        return reference
