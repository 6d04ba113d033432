# SPDX-License-Identifier: Apache-2.0
"""The statistics of a LeRobotDataset v3: per episode, and of all episodes together.

Source of names and shapes: lerobot/datasets/compute_stats.py (lerobot 0.4). Quantiles of all
episodes together are the means of those of the episodes, weighted by their length, as there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

QUANTILES = {'q01': 0.01, 'q10': 0.1, 'q50': 0.5, 'q90': 0.9, 'q99': 0.99}
_MOST_FRAMES = 100
"""Frames of an episode that image statistics are taken of, spread evenly."""
_MOST_PIXELS_A_SIDE = 150
"""Most pixels a side of the frames for the statistics, which need no more."""

Stats = dict[str, npt.NDArray[Any]]


def column_stats(values: npt.NDArray[Any]) -> Stats:
    """Return min, max, mean, std, count and quantiles of (T, k) values, each (k,)."""
    real = values.astype(np.float64)
    return {'min': values.min(axis=0), 'max': values.max(axis=0), 'mean': real.mean(axis=0),
            'std': real.std(axis=0), 'count': np.array([len(values)]),
            **{name: np.quantile(real, share, axis=0) for name, share in QUANTILES.items()}}


def image_stats(frames: npt.NDArray[np.uint8]) -> Stats:
    """Return the statistics of (T, H, W, 3) frames, channels of 0 to 1, each (3, 1, 1)."""
    picked = np.unique(np.linspace(0, len(frames) - 1, _MOST_FRAMES).round().astype(int))
    step = max(1, -(-max(frames.shape[1:3]) // _MOST_PIXELS_A_SIDE))
    stats = column_stats(frames[picked, ::step, ::step].reshape(-1, 3))
    return {name: np.array([len(picked)]) if name == 'count'
            else (value.astype(np.float64) / 255).reshape(3, 1, 1)
            for name, value in stats.items()}


def merged(episodes: Sequence[Mapping[str, Stats]]) -> dict[str, Stats]:
    """Return the statistics of all episodes together, column -> name -> array."""
    result = {}
    for column in episodes[0]:
        each = [stats[column] for stats in episodes]
        counts = np.array([int(stats['count'][0]) for stats in each], np.float64)

        weights = counts / counts.sum()
        mean = _average([stats['mean'] for stats in each], weights)
        variance = _average([stats['std'] ** 2 + (stats['mean'] - mean) ** 2 for stats in each],
                            weights)
        result[column] = {
            'min': np.min([stats['min'] for stats in each], axis=0),
            'max': np.max([stats['max'] for stats in each], axis=0),
            'mean': mean, 'std': np.sqrt(variance), 'count': np.array([int(counts.sum())]),
            **{name: _average([stats[name] for stats in each], weights) for name in QUANTILES}}
    return result


def _average(values: Sequence[npt.NDArray[Any]], weights: npt.NDArray[np.float64]
             ) -> npt.NDArray[Any]:
    return np.tensordot(weights, np.stack(values).astype(np.float64), axes=1)
