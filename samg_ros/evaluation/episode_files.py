# SPDX-License-Identifier: Apache-2.0
"""Evaluated episodes in one file, from which tables and pages can be made again later."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from msgspec import Meta, Struct

from samg_ros.errors import ReportError
from samg_ros.evaluation.episodes import EpisodeResults, View, flatten
from samg_ros.files.arrays import Arrays, ArraySpec, check_arrays, read_npz
from samg_ros.files.outputs import write_bytes
from samg_ros.files.reading import parsing
from samg_ros.files.schema import parse_json


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
    advice = 'delete it, and they are run again'
    arrays = read_npz(path, {'head': ArraySpec('U', ())}, ReportError, advice)
    if 'head' not in arrays:
        raise ReportError(f'{path} holds no evaluated episodes; {advice}')
    head = parse_json(str(arrays['head']), _Head, f'head of {path}', ReportError)
    with parsing(f'{path} holds no evaluated episodes', ReportError, advice):
        return [_read(arrays, index, one) for index, one in enumerate(head.results)], head.facts


class _OneHead(Struct):
    """What is said of one setting beside its arrays."""

    setting: str
    seed: int
    frames_per_s: float
    counts: list[Annotated[int, Meta(ge=0)]]


class _Head(Struct):
    """What is said beside the arrays."""

    facts: dict[str, Any]
    results: list[_OneHead]


def _read(arrays: Arrays, index: int, head: _OneHead) -> EpisodeResults:
    parts = {name: arrays[f'{index}/{name}'] for name in ('ious', 'returns', 'successes')}
    strip = {name: arrays[f'{index}/{name}'] for name in View._fields}
    count = len(strip['frame'])
    specs = {'ious': ArraySpec('f', (sum(head.counts),)), 'returns': ArraySpec('f', (None,)),
             'successes': ArraySpec('b', (None,))}
    if count:
        height, width = strip['frame'].shape[1:3]
        specs |= {'frame': ArraySpec('u', (count, height, width, 3)),
                  'mask': ArraySpec('b', (count, height, width)),
                  'masked': ArraySpec('u', (count, None, None, 3))}
    check_arrays(parts | strip, specs, f'result {index}', ReportError, 'delete the file')
    if len(parts['returns']) == 0 or len(parts['successes']) not in (0, len(parts['returns'])) \
            or len(head.counts) not in (0, len(parts['returns'])):
        raise ValueError('its episodes are not equally many')
    episodes = np.split(parts['ious'], np.cumsum(head.counts)[:-1]) if head.counts else []
    return EpisodeResults(
        head.setting, tuple(parts['returns'].tolist()),
        tuple(tuple(ious.tolist()) for ious in episodes),
        tuple(View(*view) for view in zip(*strip.values(), strict=True)), (), head.frames_per_s,
        head.seed, tuple(parts['successes'].tolist()))
