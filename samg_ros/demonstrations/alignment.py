# SPDX-License-Identifier: Apache-2.0
"""From streams to episodes: which frame, joint positions and action make up each sample.

Nothing is interpolated and nothing is filled in: a sample whose parts are further apart than the
tolerance is left out and counted, and where samples are missing for longer than the largest gap an
episode ends.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from samg_ros.demonstrations.contract import Contract
from samg_ros.demonstrations.streams import Series, Streams, Stretch
from samg_ros.errors import BagError

MIN_SAMPLES = 2
"""A shorter episode has no action that leads from one sample to the next."""

Stamps = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class EpisodeSamples:
    """The samples of one episode; the pixels are read later."""

    stamps: Stamps
    """(T,) ns, of the first camera's frames."""
    frames: dict[str, npt.NDArray[np.int64]]
    """Camera -> (T,) places of the frames to read among the messages of its topic."""
    joints: npt.NDArray[np.float64]
    """(T, J) rad or m."""
    actions: npt.NDArray[np.float64]
    """(T, A)."""


def align(streams: Streams, contract: Contract) -> tuple[list[EpisodeSamples], Counter[str]]:
    """Make episodes of the streams of one bag.

    Args:
        streams: from `read_streams`.
        contract: rate, tolerance and largest gap.

    Returns:
        The episodes, and what was left out -> how often.

    Raises:
        BagError: if a camera is slower than `rate_hz`, or nothing can be put together.
    """
    notes: Counter[str] = Counter(streams.notes)
    first = next(iter(streams.topics))
    episodes = [episode for stretch in streams.stretches
                for part in _parts(stretch.frames[first].stamps, streams.starts)
                for episode in _episodes(part, first, stretch, contract, notes)]
    if not episodes:
        raise BagError('no sample has a frame, joint positions and an action within '
                       f'{contract.tolerance_s} s of each other; left out: '
                       f'{describe(notes) or "nothing"}')
    return episodes, notes


def describe(notes: Counter[str]) -> str:
    """Return counts as text: `3 repeated frames, 1 gap`."""
    return ', '.join(f'{count} {what}' for what, count in notes.items())


def _parts(stamps: Stamps, starts: Stamps) -> list[Stamps]:
    """Split the frames where an episode begins."""
    begins = np.flatnonzero(np.isin(stamps, starts))
    return [part for part in np.split(stamps, begins) if len(part)]


def _episodes(base: Stamps, first: str, stretch: Stretch, contract: Contract,
              notes: Counter[str]) -> list[EpisodeSamples]:
    """Return the episodes within one part of the recording."""
    tolerance = round(contract.tolerance_s * 1e9)
    if contract.rate_hz:
        base = _thinned(base, contract.rate_hz, tolerance, first, notes)
    good = np.ones(len(base), bool)

    def at(series: Series, what: str) -> npt.NDArray[np.float64]:
        nonlocal good
        places, distance = series.nearest(base)
        good = _keep(good, distance <= tolerance, f'samples without a {what}', notes)
        return series.values[places]

    frames = {camera: at(series, f'frame of {camera}')[:, 0].astype(np.int64)
              for camera, series in stretch.frames.items()}
    columns = [at(series, f'position of {joint}') for joint, series in stretch.joints.items()]
    joints = np.hstack(columns) if columns else np.empty((len(base), 0))
    actions, answered = _actions(base, joints, stretch.action)
    good = _keep(good, answered, 'samples without an action', notes)
    return [EpisodeSamples(base[kept], {camera: each[kept] for camera, each in frames.items()},
                           joints[kept], actions[kept])
            for kept in _runs(base, good, contract, notes)]


def _thinned(base: Stamps, rate_hz: float, tolerance: int, camera: str, notes: Counter[str]
             ) -> Stamps:
    """Take the frame nearest to each tick of the rate, if one is within half a tick."""
    period = 1e9 / rate_hz
    spacing = float(np.median(np.diff(base))) if len(base) > 1 else period
    if spacing > 1.5 * period:
        raise BagError(f'{camera} has {1e9 / spacing:.1f} frames/s, fewer than rate_hz '
                       f'{rate_hz:g}; choose a lower rate')
    ticks = base[0] + np.round(np.arange((base[-1] - base[0]) / period + 0.5) * period)
    nearest, distance = Series(base, np.empty((len(base), 0))).nearest(ticks.astype(np.int64))
    near = distance <= max(tolerance, period / 2)
    if missed := int((~near).sum()):
        notes[f'ticks of the rate without a frame of {camera}'] += missed
    return base[np.unique(nearest[near])]


def _actions(base: Stamps, joints: npt.NDArray[np.float64], action: Series | None
             ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return the action of each sample, (T, A), and whether there is one, (T,) bool.

    A recorded action belongs to the last sample before it. Without recorded actions the action is
    the joint positions of the next sample.
    """
    following = np.append(base[1:], base[-1] + (base[-1] - base[-2] if len(base) > 1 else 10**9))
    if action is None:
        answered = np.ones(len(base), bool)
        answered[-1] = False
        return np.vstack([joints[1:], joints[-1:]]), answered
    place = np.searchsorted(action.stamps, base)
    there = place < len(action.stamps)
    place = np.minimum(place, len(action.stamps) - 1)
    return action.values[place], there & (action.stamps[place] < following)


def _keep(good: npt.NDArray[np.bool_], fits: npt.NDArray[np.bool_], what: str,
          notes: Counter[str]) -> npt.NDArray[np.bool_]:
    if lost := int((good & ~fits).sum()):
        notes[what] += lost
    return good & fits


def _runs(base: Stamps, good: npt.NDArray[np.bool_], contract: Contract, notes: Counter[str]
          ) -> list[npt.NDArray[np.int64]]:
    """Return the indices of samples that follow each other without a gap, a list of runs."""
    kept = np.flatnonzero(good)
    if not len(kept):
        return []
    breaks = np.flatnonzero(np.diff(base[kept]) > contract.max_gap_s * 1e9) + 1
    if len(breaks):
        notes[f'gaps longer than {contract.max_gap_s:g} s'] += len(breaks)
    runs = np.split(kept, breaks)
    short = sum(len(run) < MIN_SAMPLES for run in runs)
    if short:
        notes[f'episodes of fewer than {MIN_SAMPLES} samples'] += short
    return [run for run in runs if len(run) >= MIN_SAMPLES]
