# SPDX-License-Identifier: Apache-2.0
"""The table and the page of a bag's figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from samg_ros.bags.bag import Bag
from samg_ros.bags.result import BagResult
from samg_ros.bags.topics import Topics
from samg_ros.evaluation.page import write_page
from samg_ros.evaluation.pictures import still
from samg_ros.evaluation.plots import traces
from samg_ros.files.outputs import write_json

PAGE_NAME, VIDEO_NAME, FIGURES_NAME = 'bag.html', 'masked.webm', 'bag.json'
OFFLINE = 'Every frame of the bag, masked one by one as the perception node does.'
LIVE = ('The bag was played to the running nodes. Latency is from the arrival of a frame to that '
        'of its mask, with everything between.')
"""How the figures came about."""
ROWS = {'coverage': 'mask area, share of the frame', 'temporal_iou': 'IoU with the mask before',
        'predicted_iou': 'predicted IoU', 'truth_iou': 'IoU with the recorded truth',
        'latency_ms': 'latency, ms'}


def table(figures: dict[str, Any], losses: Sequence[str]) -> str:
    """Return the figures of `BagResult.summary` as lines of text."""
    unmasked = f'not masked {figures["unmasked"]}, ' if figures['unmasked'] else ''
    lines = [f'frames {figures["frames"]}, {unmasked}unusable '
             f'{sum(figures["unusable"].values())}, missing '
             f'{figures["missing_frames"]} in {figures["gaps"]} gaps (longest '
             f'{figures["longest_gap_s"]:g} s), repeated {figures["repeated_stamps"]}, empty masks '
             f'{figures["empty_masks"]}',
             f'{"":32} {"mean":>9} {"5th %":>9} {"median":>9} {"95th %":>9}']
    lines += [f'{words:32} ' + ' '.join(f'{row[key]:9.3f}' for key in
                                        ('mean', 'p5', 'median', 'p95'))
              for words, row in _rows(figures)]
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
    print(table(figures, bag.losses))
    values = {'bag': str(bag.path), 'topics': vars(topics), 'losses': list(bag.losses), **figures}
    for path in filter(None, (json_file, out and out / FIGURES_NAME)):
        write_json(path, values)
    if out is not None:
        print(_write_page(out, result, figures, bag.losses, facts, how), flush=True)


def _write_page(folder: Path, result: BagResult, figures: dict[str, Any], losses: Sequence[str],
                facts: dict[str, str], how: str) -> Path:
    masks = {'mask area': result.coverage, 'IoU with the mask before': result.temporal_iou,
             'predicted IoU': result.predicted_iou, 'IoU with the truth': result.truth_iou}
    plots = [('Masks over the time of the bag.', traces(result.times_s, masks, '', (0, 1)), True),
             ('Latency of the masker.',
              traces(result.times_s, {'ms': result.latency_ms}, 'ms'), False)]
    if (figures.get('policy') or {}).get('compared'):
        plots.append(('Greatest difference from the recorded action.', traces(
            result.times_s, {'difference': result.action_error}, 'action'), False))
    return write_page(
        folder / PAGE_NAME, 'bag.html.j2', figures=figures, rows=_rows(figures), losses=losses,
        facts=facts, plots=plots, how=how,
        video=VIDEO_NAME if (folder / VIDEO_NAME).exists() else '',
        judged='IoU with the truth' if figures['truth_iou'] else 'predicted IoU',
        worst=[{'frame': still(bad.view.frame), 'masked': still(bad.view.masked),
                'words': f'frame {bad.frame_index}: {bad.score:.2f}'} for bad in result.worst])


def _rows(figures: dict[str, Any]) -> list[tuple[str, dict[str, float]]]:
    return [(words, figures[name]) for name, words in ROWS.items() if figures[name]]
