# SPDX-License-Identifier: Apache-2.0
"""Notices a mask that is not empty and yet is likely to be wrong.

A masker that takes another object for the one of the reference gives a clean picture of the wrong
thing, and the policy acts on it. But a body moves and grows only so much from frame to frame. A
mask that jumps is doubtful: the arm is slowed down, and unless the mask comes back to where the
body can be within the watchdog's timeout, the safe action is sent. Where the mask stays at the new
place, the body was moved; after some time it is taken for good again. A mask of which the masker's
network itself expects a low IoU with the truth is doubtful too, for as long as that is so. Where
masks jump again and again, all are doubtful, those that happen to be within reach too.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from samg_ros.errors import ConfigError

SLOWEST_S = 1e-3
"""Shortest time between two frames that counts, seconds."""
_FRAMES = 2
"""Frames within which a mask has to be back in reach to be good at once."""
_LEAST_JUMPS, _SHARE_JUMPS = 4, 1 / 3
"""From so many jumps, and this share of all steps from mask to mask, masks jump about. A body that
is moved and brought back jumps twice. Good masks raised no alarm in 2,500 frames (docs/results.md),
so by chance 4 of 8 steps are jumps less than once in a thousand million times."""


@dataclass(frozen=True)
class MaskLimits:
    """How fast a mask may change.

    Raises:
        ConfigError: if a value is out of range.
    """

    max_speed: float = 0.0
    """Greatest speed of the mask's centroid, frame widths per second; 0 for any."""
    max_growth: float = 0.0
    """Greatest rate at which its area may grow or shrink, as change of the natural logarithm per
    second: 0.7 is a factor of 2 in a second; 0 for any."""
    slow_down: float = 0.3
    """Share of the policy's speed while the mask is doubtful."""
    min_iou: float = 0.0
    """Least IoU with the true mask that the masker may predict, 0 to 1; 0 for any."""

    def __post_init__(self) -> None:
        if not (self.max_speed >= 0 and self.max_growth >= 0 and 0 <= self.slow_down <= 1
                and 0 <= self.min_iou <= 1):
            raise ConfigError('mask_max_speed and mask_max_growth must be 0 or more, '
                              'mask_slow_down and mask_min_iou from 0 to 1, got '
                              f'{self.max_speed}, {self.max_growth}, {self.slow_down} and '
                              f'{self.min_iou}')


class MaskShape(NamedTuple):
    """Where a mask is and how large, in shares of the frame's width."""

    area: float
    """Share of the frame, 0 to 1."""
    x: float
    y: float


class Doubt(NamedTuple):
    """Why a mask is likely to be wrong."""

    cause: str
    """SPEED, GROWTH, IOU or UNSTEADY: under which it is counted."""
    words: str
    since_s: float | None = None
    """Of UNSTEADY: stamp of the last mask before the jumps."""


SPEED, GROWTH, IOU, UNSTEADY = 'mask_speed', 'mask_growth', 'mask_iou', 'mask_unsteady'


class _Seen(NamedTuple):
    at_s: float
    shape: MaskShape


class _Step(NamedTuple):
    """From one mask to the next."""

    begin_s: float
    end_s: float
    jump: bool


def mask_shape(frame: npt.NDArray[np.uint8], fill: tuple[int, int, int]) -> MaskShape:
    """Return area and centroid of what is not fill in a masked frame.

    Args:
        frame: (H, W, 3) uint8 RGB.
        fill: RGB colour outside the mask.

    Returns:
        The shape; with area 0 the centroid is that of the frame.
    """
    height, width = frame.shape[:2]
    outside = cv2.inRange(frame, fill, fill)
    moments = cv2.moments(cv2.bitwise_not(outside), binaryImage=True)
    count = moments['m00']
    if count == 0:
        return MaskShape(0.0, 0.5, height / width / 2)
    return MaskShape(count / (height * width), moments['m10'] / count / width,
                     moments['m01'] / count / width)


class MaskGuard:
    """Compares each mask with the last one that was good."""

    def __init__(self, limits: MaskLimits, settle_s: float) -> None:
        """Begin with no mask.

        Args:
            limits: how fast a mask may change.
            settle_s: time for which a mask that has jumped has to move steadily before it is good,
                and for which jumps are counted.
        """
        self._limits, self._settle_s = limits, settle_s
        self._good: _Seen | None = None
        self._jumped: _Seen | None = None  # first doubtful mask of a steady series
        self._newest: _Seen | None = None  # last one of that series
        self._steps: deque[_Step] = deque()  # from the first jump that counts on
        self._before: _Seen | None = None  # the mask before, whatever it is like

    def restart(self) -> None:
        """Take the next mask as good, whatever it is like."""
        self._good = self._jumped = self._newest = self._before = None
        self._steps.clear()

    def doubt(self, at_s: float, shape: MaskShape, predicted_iou: float = 1.0) -> Doubt | None:
        """Say why a mask is likely to be wrong; None if it is not.

        Args:
            at_s: stamp of the frame, seconds. After a clock that is set back, any mask can follow.
            shape: of a mask that is not empty.
            predicted_iou: what the masker says of the mask, 0 to 1.
        """
        now = _Seen(at_s, shape)
        unsteady = self._unsteady(now)
        if predicted_iou < self._limits.min_iou:
            return Doubt(IOU, f'the masker predicts an IoU of {predicted_iou:.2f} for the mask, '
                         f'less than {self._limits.min_iou:g}')
        reason = self._doubt(now)
        if reason is None:
            self._good, self._jumped, self._newest = now, None, None
        return unsteady or reason

    def _unsteady(self, now: _Seen) -> Doubt | None:
        """Count the step from the mask before; say so if too many of late were jumps."""
        before, self._before = self._before, now
        steps = self._steps
        if before is None or now.at_s <= before.at_s:
            steps.clear()
            return None
        jump = self._excess(before, now, now.at_s - before.at_s) is not None
        steps.append(_Step(before.at_s, now.at_s, jump))
        while steps and (not steps[0].jump or now.at_s - steps[0].end_s > self._settle_s):
            steps.popleft()
        jumps = sum(step.jump for step in steps)
        if jumps < max(_LEAST_JUMPS, _SHARE_JUMPS * len(steps)):
            return None
        return Doubt(UNSTEADY, f'the mask jumps about: {jumps} times in {len(steps)} frames',
                     steps[0].begin_s)

    def _doubt(self, now: _Seen) -> Doubt | None:
        good, jumped, newest = self._good, self._jumped, self._newest
        if good is None or now.at_s <= (newest or good).at_s:
            return None
        if jumped is None or newest is None:
            reason = self._excess(good, now, now.at_s - good.at_s)
            if reason is not None:
                self._jumped = self._newest = now
            return reason
        # A step that was only just too long is made up for by the next frame.
        soon_s = min(now.at_s - good.at_s, _FRAMES * (jumped.at_s - good.at_s))
        reason = self._excess(good, now, soon_s)
        if reason is None:
            return None
        if self._excess(newest, now, now.at_s - newest.at_s) is None:
            self._newest = now
            return reason if now.at_s - jumped.at_s < self._settle_s else None
        if self._excess(good, now, now.at_s - good.at_s) is None:
            return None
        self._jumped = self._newest = now
        return reason

    def _excess(self, before: _Seen, now: _Seen, seconds: float) -> Doubt | None:
        """Say which limit the change from one mask to another is beyond, within so much time."""
        limits, seconds = self._limits, max(seconds, SLOWEST_S)
        (area, x, y), (area_now, x_now, y_now) = before.shape, now.shape
        speed = math.hypot(x_now - x, y_now - y) / seconds
        growth = abs(math.log(area_now / area)) / seconds
        if limits.max_speed and speed > limits.max_speed:
            return Doubt(SPEED, f'the mask moved at {speed:.2g} frame widths per second, more '
                         f'than {limits.max_speed:g}')
        if limits.max_growth and growth > limits.max_growth:
            return Doubt(GROWTH, f'the area of the mask changed at {growth:.2g} per second '
                         f'(logarithm), more than {limits.max_growth:g}')
        return None
