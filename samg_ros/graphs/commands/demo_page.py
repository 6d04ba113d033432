# SPDX-License-Identifier: Apache-2.0
"""The page of `samg demo arm`: what came of each of its commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from samg_ros.bags.bag import open_bag
from samg_ros.bags.output import MASKED
from samg_ros.bags.topics import frame_of, stamp_ns
from samg_ros.errors import OutputError
from samg_ros.evaluation.episodes import wilson_interval
from samg_ros.evaluation.page import Cell, Section, Shown, Strip, Tile, write_page
from samg_ros.evaluation.pictures import still
from samg_ros.evaluation.plots import against
from samg_ros.evaluation.tables import Table
from samg_ros.files.schema import read_json

PAGE_NAME = 'arm.html'
_MOMENTS = 8
"""Frames of the first episode that are shown."""
_SHOWN_NS = 9 * 10**9
"""So much of the first episode is shown; it takes 10 s."""
_IMAGE = '/camera/image_raw'


def write_demo_page(folder: Path, stages: Sequence[tuple[str, str, str]],
                    facts: Mapping[str, str]) -> Path:
    """Write the page and return its path.

    Args:
        folder: where the commands have left their results.
        stages: title, duration and command of each.
        facts: what was asked for, by name.

    Raises:
        OutputError: if a result is missing or the page cannot be written.
    """
    imported, cloned, tried, measured, replayed = (
        read_json(folder / name, dict[str, Any], OutputError) for name in (
            'import.json', 'cloning.json', 'episodes.json', 'measured/bag.json', 'replay.json'))
    sections = [
        Section('What was run', Table(('step', 'took', 'command'), tuple(stages), words=3)),
        Section('Demonstrations', words=f'{imported["episodes"]} episodes with '
                f'{imported["samples"]} samples.', items=[
                    f'{Path(bag).name}: left out {what}'
                    for bag, what in imported['left_out'].items()]),
        Section('Training', plots=[_curve(cloned)], words=(
            f'{cloned["parameters"]} weights; {cloned["held_out"]} of {cloned["episodes"]} '
            'episodes were held out. The policy is the state with the least loss on them.')),
        Section('What the policy saw', strips=[_strip(folder / 'session.mcap')]),
        Section('Episodes', _episodes(tried))]
    return write_page(
        folder / PAGE_NAME, 'the simulated arm, from demonstrations to a policy',
        'A scripted expert drove the arm over the topics of a leader arm. A policy learned from '
        'the recordings, behind masks, and then drove the arm through the whole graph in real '
        'time. This is a short lesson: docs/cloning.md says what a good policy takes.', sections,
        facts, 'measured/bag.html says more about masks and latency; policy/ can be run again '
        'with samg run arm --sim --policy.', _tiles(tried, measured, replayed))


def _tiles(tried: Mapping[str, Any], measured: Mapping[str, Any], replayed: Mapping[str, Any]
           ) -> list[Tile]:
    successes = [bool(each) for each in tried['successes']]
    low, high = wilson_interval(sum(successes), len(successes))
    latency = measured['latency_ms']
    tiles = [Tile('Reached the target', f'{sum(successes)} of {len(successes)}',
                  f'95 % interval {low:.0%} to {high:.0%}'),
             Tile('Camera', f'{tried["frames_per_s"]:.0f}/s', 'frames while the policy acted'),
             Tile('Empty masks', str(measured['empty_masks']), f'of {measured["frames"]} frames'),
             Tile('Commands', str(replayed['commands']), f'{replayed["equal"]} of them computed '
                  'again from the recording, equal to the bit')]
    if latency:
        tiles.append(Tile('Masking', f'{latency["median"]:.0f} ms', 'a frame, median'))
    return tiles


def _curve(cloned: Mapping[str, Any]) -> Shown:
    history = cloned['history']
    steps = [each['step'] for each in history]
    none = [0.0] * len(steps)
    series = {'training': (steps, [each['train_loss'] for each in history], none),
              'held out': (steps, [each['loss'] for each in history], none)}
    return Shown(against(series, 'steps', 'loss'), 'Error of the predicted actions, in standard '
                 'deviations of the demonstrated ones.')


def _episodes(tried: Mapping[str, Any]) -> Table:
    return Table(('episode', 'reached the target', 'return'), tuple(
        (str(index + 1), 'yes' if solved else 'no', f'{value:.1f}') for index, (solved, value)
        in enumerate(zip(tried['successes'], tried['returns'], strict=True))))


def _strip(session: Path) -> Strip:
    """Return moments of the first episode: camera, and what the policy saw."""
    wanted: dict[int, npt.NDArray[np.uint8]] = {}
    bag = open_bag(session)
    masked = {stamp_ns(each.message): frame_of(each.message) for each in bag.messages([MASKED])}
    shown = sorted(masked)
    shown = [stamp for stamp in shown if stamp - shown[0] < _SHOWN_NS]
    chosen = {shown[round(place)] for place in np.linspace(0, len(shown) - 1, _MOMENTS)}
    for each in bag.messages([_IMAGE]):
        if (stamp := stamp_ns(each.message)) in chosen:
            wanted[stamp] = frame_of(each.message)
    stamps = sorted(wanted)
    return Strip('first episode', {
        'camera': [Cell(still(wanted[stamp]), f'{(stamp - shown[0]) * 1e-9:.1f} s')
                   for stamp in stamps],
        'policy sees': [Cell(still(masked[stamp])) for stamp in stamps]})
