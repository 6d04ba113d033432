# SPDX-License-Identifier: Apache-2.0
"""Evaluated episodes in one file, so that figures and strips outlive the process that took them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from samg_ros.errors import ReportError
from samg_ros.evaluation.episodes import EpisodeResults, View, flatten
from samg_ros.files.outputs import write_bytes


def save_episodes(path: Path, results: Sequence[EpisodeResults], facts: Mapping[str, Any]) -> None:
    """Write results, all but their videos, whole or not at all.

    Args:
        path: file to write.
        results: of one policy.
        facts: what was evaluated, in plain JSON types.

    Raises:
        OutputError: if the file cannot be written.
    """
    heads = [{'setting': one.setting, 'seed': one.seed, 'frames_per_s': one.frames_per_s,
              'counts': [len(ious) for ious in one.mask_ious]} for one in results]
    arrays: dict[str, Any] = {'head': np.array(json.dumps({'facts': facts, 'results': heads}))}
    for index, one in enumerate(results):
        arrays[f'{index}/returns'] = np.array(one.returns)
        arrays[f'{index}/successes'] = np.array(one.successes, dtype=bool)
        arrays[f'{index}/ious'] = np.array(flatten(one.mask_ious))
        for name in View._fields:
            arrays[f'{index}/{name}'] = np.array([getattr(view, name) for view in one.strip])
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_bytes(path, buffer.getbuffer())


def load_episodes(path: Path) -> tuple[list[EpisodeResults], dict[str, Any]]:
    """Return the results and facts of a file of `save_episodes`.

    Raises:
        ReportError: if there is none, or it is something else.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            head = json.loads(str(arrays['head']))
            results = [_read(arrays, index, one) for index, one in enumerate(head['results'])]
            return results, head['facts']
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ReportError(f'{path} holds no evaluated episodes ({error}); delete it, and they are '
                          'run again') from error


def _read(arrays: Mapping[str, np.ndarray], index: int, head: Mapping[str, Any]) -> EpisodeResults:
    ends = np.cumsum(head['counts'], dtype=int)
    episodes = np.split(arrays[f'{index}/ious'], ends[:-1]) if len(ends) else []
    views = zip(*(arrays[f'{index}/{name}'] for name in View._fields), strict=True)
    return EpisodeResults(
        head['setting'], tuple(arrays[f'{index}/returns'].tolist()),
        tuple(tuple(ious.tolist()) for ious in episodes), tuple(View(*view) for view in views),
        (), head['frames_per_s'], head['seed'], tuple(arrays[f'{index}/successes'].tolist()))
