# SPDX-License-Identifier: Apache-2.0
"""What a number of evaluated episodes came to, for tables and the report page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray


class View(NamedTuple):
    """One moment as the camera, the masker and the policy have it."""

    frame: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB camera frame."""
    mask: NDArray[np.bool_]
    """(H, W) bool; all true where nothing is masked."""
    masked: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB, what goes on to the policy."""


MOST_SHOWN_SIDE = 480
"""Longer side in pixels of the frames on a page, which shows them 240 pixels wide."""


def small_view(view: View) -> View:
    """Return a view of its own memory, at most MOST_SHOWN_SIDE pixels high and wide.

    A page and the memory of an evaluation are then bounded, whatever the camera's size.
    """
    height, width = view.frame.shape[:2]
    scale = MOST_SHOWN_SIDE / max(height, width)
    if scale >= 1:
        return View(view.frame.copy(), view.mask.copy(), view.masked.copy())
    size = max(1, round(width * scale)), max(1, round(height * scale))
    frame, masked = (np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
                     for picture in (view.frame, view.masked))
    mask = cv2.resize(view.mask.view(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return View(frame, mask > 0, masked)


@dataclass(frozen=True)
class EpisodeResults:
    """Episodes of one policy in one visual setting."""

    setting: str
    """Name of the visual setting."""
    returns: tuple[float, ...]
    """Sum of rewards of each episode."""
    mask_ious: tuple[tuple[float, ...], ...] = ()
    """IoU of mask and truth of every frame, by episode; empty where nothing was masked."""
    strip: tuple[View, ...] = ()
    """A few moments of the first episode."""
    video: tuple[View, ...] = ()
    """Consecutive moments of the first episode."""
    frames_per_s: float = 0.0
    """Camera frames per second through simulator, masker and policy."""
    seed: int = 0
    """Of the episodes."""
    successes: tuple[bool, ...] = ()
    """Whether each episode solved the task; empty for tasks that only know rewards."""

    @property
    def mean_return(self) -> float:
        """Mean over the episodes."""
        return float(np.mean(self.returns))

    @property
    def return_error(self) -> float:
        """Standard error of the mean return; 0 for a single episode."""
        return standard_error(self.returns)

    @property
    def success_rate(self) -> float | None:
        """Share of episodes that solved the task; None for tasks that only know rewards."""
        return float(np.mean(self.successes)) if self.successes else None

    @property
    def success_interval(self) -> tuple[float, float] | None:
        """95 % interval of the success rate; None for tasks that only know rewards."""
        count = len(self.successes)
        return wilson_interval(sum(self.successes), count) if count else None

    @property
    def mean_iou(self) -> float | None:
        """Mean over all frames of all episodes; None where nothing was masked."""
        values = flatten(self.mask_ious)
        return float(np.mean(values)) if values else None

    def to_dict(self) -> dict[str, Any]:
        """Return the figures, without the pictures, in plain JSON types."""
        values = flatten(self.mask_ious)
        return {
            'setting': self.setting,
            'seed': self.seed,
            'returns': list(self.returns),
            'mean_return': self.mean_return,
            'return_error': self.return_error,
            'successes': list(self.successes),
            'success_rate': self.success_rate,
            'success_interval': self.success_interval,
            'mean_iou': self.mean_iou,
            'iou_percentile_5': float(np.percentile(values, 5)) if values else None,
            'frames_per_s': self.frames_per_s,
        }


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of the mean; 0 for a single value."""
    if len(values) < 2:
        return 0.0
    return float(np.std(values, ddof=1) / math.sqrt(len(values)))


_Z_95 = 1.959964
"""Standard deviations around the mean that hold 95 % of a normal distribution."""


def wilson_interval(successes: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a success rate, for `count` of at least 1.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference": it does
    not shrink to nothing where all succeed.
    """
    share, weight = successes / count, _Z_95**2 / count
    middle = (share + weight / 2) / (1 + weight)
    half = math.sqrt(share * (1 - share) * weight + weight**2 / 4) / (1 + weight)
    return max(0.0, middle - half), min(1.0, middle + half)


def flatten(groups: Sequence[Sequence[float]]) -> list[float]:
    """Return all values of all groups in one list."""
    return [value for group in groups for value in group]
