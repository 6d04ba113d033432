# SPDX-License-Identifier: Apache-2.0
"""The figures of a bag, by frame and in all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from samg_ros.evaluation.episodes import View
from samg_ros.step_types import BETWEEN_EPISODES_NS

_GAP = 1.5
"""Intervals between stamps from which a frame counts as missing."""

Series = npt.NDArray[np.float64]


class Bad(NamedTuple):
    """One of the frames with the worst masks, for the page."""

    score: float
    frame_index: int
    view: View


@dataclass(eq=False)
class BagResult:
    """The figures of a bag, by frame: a list has a value for each, NaN where there is none."""

    stamps_ns: list[int] = field(default_factory=list)
    log_times_ns: list[int] = field(default_factory=list)
    coverage: list[float] = field(default_factory=list)
    """Share of the frame that is in the mask."""
    temporal_iou: list[float] = field(default_factory=list)
    """IoU with the mask of the previous frame."""
    predicted_iou: list[float] = field(default_factory=list)
    """What the model thinks of the mask."""
    truth_iou: list[float] = field(default_factory=list)
    """IoU with the recorded true mask of the same stamp."""
    latency_ms: list[float] = field(default_factory=list)
    """From pixels to mask."""
    action_error: list[float] = field(default_factory=list)
    """Greatest difference of the policy's action from the recorded one."""
    actions: int = 0
    unmasked: int = 0
    """Frames that no mask was made of."""
    unusable: Counter[str] = field(default_factory=Counter)
    """Image messages that gave no frame, by cause."""
    no_action: Counter[str] = field(default_factory=Counter)
    """Frames on which the policy did not act, by cause."""
    worst: list[Bad] = field(default_factory=list)
    """Lowest score first: IoU with the truth, or where there is none, predicted IoU."""
    with_policy: bool = False

    @property
    def times_s(self) -> Series:
        """(N,) seconds since the first stamp."""
        stamps = np.array(self.stamps_ns, np.float64)
        return np.asarray((stamps - stamps[0]) * 1e-9, np.float64)

    def drops(self) -> dict[str, Any]:
        """Return what the stamps say about frames that are not there.

        A gap as long as a reset of the simulation is one between two episodes.
        """
        steps = np.diff(np.array(self.stamps_ns, np.int64))
        forward = steps[(steps > 0) & (steps != BETWEEN_EPISODES_NS)]
        interval = float(np.median(forward)) if len(forward) else 0.0
        wide = forward[np.asarray(forward, np.float64) > _GAP * interval]
        return {'missing_frames': int(np.sum(np.rint(wide / interval) - 1)) if len(wide) else 0,
                'gaps': len(wide), 'longest_gap_s': round(float(wide.max()) * 1e-9, 4)
                if len(wide) else 0.0, 'repeated_stamps': int((steps == 0).sum()),
                'set_back': int((steps < 0).sum()),
                'rate_hz': round(1e9 / interval, 2) if interval else None}

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield the figures of each frame as plain JSON types; null where there is none."""
        names = ('coverage', 'temporal_iou', 'predicted_iou', 'truth_iou', 'latency_ms',
                 'action_error')
        for index, stamp in enumerate(self.stamps_ns):
            line: dict[str, Any] = {'frame': index, 'stamp_ns': stamp,
                                    'log_time_ns': self.log_times_ns[index]}
            for name in names:
                values = getattr(self, name)
                known = index < len(values) and np.isfinite(values[index])
                line[name] = float(values[index]) if known else None
            yield line

    def summary(self) -> dict[str, Any]:
        """Return the figures as plain JSON types."""
        values = {'frames': len(self.stamps_ns), 'unusable': dict(self.unusable),
                  'unmasked': self.unmasked, **self.drops(),
                  'empty_masks': sum(area == 0 for area in self.coverage)}
        for name in ('coverage', 'temporal_iou', 'predicted_iou', 'truth_iou', 'latency_ms'):
            values[name] = _mean_and_tails(getattr(self, name))
        if self.with_policy:
            errors = np.array(self.action_error, np.float64)
            compared = errors[np.isfinite(errors)]
            values['policy'] = {
                'actions': self.actions, 'no_action': dict(self.no_action),
                'compared': len(compared),
                'equal_to_the_bit': int((compared == 0).sum()),
                'difference': _mean_and_tails(self.action_error)}
        return values


def _mean_and_tails(values: list[float]) -> dict[str, float] | None:
    """Mean, median and tails of the values that there are; None if there are none."""
    known = np.array(values, np.float64)
    known = known[np.isfinite(known)]
    if not len(known):
        return None
    low, middle, high = np.percentile(known, (5, 50, 95))
    return {name: round(float(value), 6) for name, value in (
        ('mean', known.mean()), ('p5', low), ('median', middle), ('p95', high),
        ('max', known.max()))}
