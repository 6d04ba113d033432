# SPDX-License-Identifier: Apache-2.0
"""The table and the page of a bag's figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from samg_ros.bags.bag import Bag
from samg_ros.bags.result import BagResult
from samg_ros.bags.topics import Topics
from samg_ros.evaluation.page import Cell, Section, Shown, Strip, Tile, write_page
from samg_ros.evaluation.pictures import still
from samg_ros.evaluation.plots import traces
from samg_ros.evaluation.tables import Table, figure
from samg_ros.files.outputs import write_json

PAGE_NAME, VIDEO_NAME, FIGURES_NAME = 'bag.html', 'masked.webm', 'bag.json'
OFFLINE = 'Every frame of the bag, masked one by one as the perception node does.'
LIVE = ('The bag was played to the running nodes. Latency is from the arrival of a frame to that '
        'of its mask, with everything between.')
"""How the figures came about."""
ROWS = {'coverage': 'mask area, share of the frame', 'temporal_iou': 'IoU with the previous mask',
        'predicted_iou': 'predicted IoU', 'truth_iou': 'IoU with the recorded truth',
        'latency_ms': 'latency, ms'}


def figures_table(figures: dict[str, Any]) -> Table:
    """Return the figures of all frames, by `BagResult.summary`, as a table."""
    rows = [(words, figures[name], '.3f') for name, words in ROWS.items()]
    rows.append(('difference of the action', figures.get('policy', {}).get('difference'), '.3g'))
    return Table(('of all frames', 'mean', '5th %', 'median', '95th %'), tuple(
        (words, *(figure(row[key], form) for key in ('mean', 'p5', 'median', 'p95')))
        for words, row, form in rows if row), words=1)


def text(figures: dict[str, Any], losses: Sequence[str]) -> str:
    """Return the figures of `BagResult.summary` as lines of text."""
    unmasked = f'not masked {figures["unmasked"]}, ' if figures['unmasked'] else ''
    lines = [f'frames {figures["frames"]}, {unmasked}unusable '
             f'{sum(figures["unusable"].values())}, missing '
             f'{figures["missing_frames"]} in {figures["gaps"]} gaps (longest '
             f'{figures["longest_gap_s"]:g} s), repeated {figures["repeated_stamps"]}, empty masks '
             f'{figures["empty_masks"]}', figures_table(figures).text()]
    if policy := figures.get('policy'):
        lines.append(f'actions {policy["actions"]}, beside a recorded one {policy["compared"]}, of '
                     f'these equal to the bit {policy["equal_to_the_bit"]}')
        lines += [f'  no action on {count} frames: {cause}'
                  for cause, count in policy['no_action'].items()]
    lines += [f'unusable: {count} x {cause}' for cause, count in figures['unusable'].items()]
    lines += [f'lost: {loss}' for loss in losses]
    return '\n'.join(lines)


def present(result: BagResult, bag: Bag, topics: Topics, out: Path | None,
            json_file: Path | None, facts: dict[str, str], how: str) -> None:
    """Print the table of an evaluation; write its figures and its page.

    Args:
        result: of the evaluation.
        bag: that was evaluated.
        topics: of it.
        out: folder of the page, which has VIDEO_NAME already; None for none.
        json_file: a further place for the figures; None for none.
        facts: what was evaluated, by name.
        how: OFFLINE or LIVE.

    Raises:
        OutputError: if the page cannot be written.
    """
    figures = result.summary()
    print(text(figures, bag.losses))
    values = {'bag': str(bag.path), 'topics': vars(topics), 'losses': list(bag.losses), **figures}
    for path in filter(None, (json_file, out and out / FIGURES_NAME)):
        write_json(path, values)
    if out is not None:
        print(_write_page(out, result, figures, bag.losses, facts, how), flush=True)


def _write_page(folder: Path, result: BagResult, figures: dict[str, Any], losses: Sequence[str],
                facts: dict[str, str], how: str) -> Path:
    masks = {'mask area': result.coverage, 'IoU with the previous mask': result.temporal_iou,
             'predicted IoU': result.predicted_iou, 'IoU with the truth': result.truth_iou}
    plots = [Shown(traces(result.times_s, masks, '', (0, 1)), 'Masks over the time of the bag.'),
             Shown(traces(result.times_s, {'ms': result.latency_ms}, 'ms'),
                   'Latency of the masker.', wide=False)]
    policy = figures.get('policy') or {}
    if policy.get('compared'):
        plots.append(Shown(traces(result.times_s, {'difference': result.action_error}, 'action'),
                           'Greatest difference from the recorded action.', wide=False))
    no_action = ', '.join(f'{count} frames ({cause})'
                          for cause, count in policy.get('no_action', {}).items())
    sections = [Section('Figures', figures_table(figures), plots,
                        f'No action on {no_action}.' if no_action else '')]
    lost = [*losses, *(f'{count} × {cause}' for cause, count in figures['unusable'].items())]
    if lost:
        sections.insert(0, Section('What could not be read', items=lost))
    if result.worst:
        judged = 'IoU with the truth' if figures['truth_iou'] else 'predicted IoU'
        sections.append(Section(f'Worst frames by {judged}', strips=[Strip('', {
            'frame': [Cell(still(bad.view.frame)) for bad in result.worst],
            'masked': [Cell(still(bad.view.masked), f'frame {bad.frame_index}: {bad.score:.2f}')
                       for bad in result.worst]})]))
    if (folder / VIDEO_NAME).exists():
        sections.append(Section('Video', words=f'The file {VIDEO_NAME} lies beside this page and '
                                'has to go with it.', video=VIDEO_NAME))
    return write_page(folder / PAGE_NAME, 'a recorded bag, masked', how, sections, facts,
                      f'{FIGURES_NAME} beside this page holds the figures.', _tiles(figures))


def _tiles(figures: dict[str, Any]) -> list[Tile]:
    unmasked = f'{figures["unmasked"]} not masked, ' if figures['unmasked'] else ''
    unusable = sum(figures['unusable'].values())
    tiles = [Tile('Frames', str(figures['frames']), f'{unusable} unusable, {unmasked}'
                  f'{figures["empty_masks"]} with an empty mask'),
             Tile('Missing frames', str(figures['missing_frames']), f'{figures["gaps"]} gaps in '
                  f'the stamps, longest {figures["longest_gap_s"]:.2f} s')]
    if truth := figures['truth_iou']:
        tiles.append(Tile('IoU with the truth', f'{truth["mean"]:.3f}',
                          f'5th percentile {truth["p5"]:.3f}'))
    if latency := figures['latency_ms']:
        tiles.append(Tile('Latency', f'{latency["median"]:.1f} ms',
                          f'95th percentile {latency["p95"]:.1f} ms'))
    if policy := figures.get('policy'):
        tiles.append(Tile('Actions', str(policy['actions']), f'{policy["equal_to_the_bit"]} of '
                          f'{policy["compared"]} recorded ones equal to the bit'))
    return tiles
