# SPDX-License-Identifier: Apache-2.0
"""The table and the page of a bag's figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from samg_ros.bags.evaluate import BagResult
from samg_ros.evaluation.page import write_page
from samg_ros.evaluation.pictures import still
from samg_ros.evaluation.plots import traces

PAGE_NAME = 'bag.html'
ROWS = {'coverage': 'mask area, share of the frame', 'temporal_iou': 'IoU with the mask before',
        'predicted_iou': 'predicted IoU', 'truth_iou': 'IoU with the recorded truth',
        'latency_ms': 'latency, ms'}


def table(figures: dict[str, Any], losses: Sequence[str]) -> str:
    """Return the figures of `BagResult.summary` as lines of text."""
    lines = [f'frames {figures["frames"]}, unusable {sum(figures["unusable"].values())}, missing '
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


def write_report(folder: Path, result: BagResult, losses: Sequence[str], facts: dict[str, str],
                 video: str) -> Path:
    """Write the page of an evaluation.

    Args:
        folder: where `bag.html` goes.
        result: of the evaluation.
        losses: what of the bag cannot be read.
        facts: what was evaluated, by name.
        video: name of the masked video beside the page.

    Returns:
        Path of the page.

    Raises:
        ReportError: if the page cannot be written.
    """
    figures = result.summary()
    masks = {'mask area': result.coverage, 'IoU with the mask before': result.temporal_iou,
             'predicted IoU': result.predicted_iou, 'IoU with the truth': result.truth_iou}
    plots = [('Masks over the time of the bag.', traces(result.times_s, masks, '', (0, 1)), True),
             ('Latency of the masker.',
              traces(result.times_s, {'ms': result.latency_ms}, 'ms'), False)]
    if figures.get('policy', {}).get('compared'):
        plots.append(('Greatest difference from the recorded action.', traces(
            result.times_s, {'difference': result.action_error}, 'action'), False))
    return write_page(
        folder / PAGE_NAME, 'bag.html.j2', figures=figures, rows=_rows(figures), losses=losses,
        facts=facts, plots=plots, video=video,
        judged='IoU with the truth' if figures['truth_iou'] else 'predicted IoU',
        worst=[{'frame': still(bad.view.frame), 'masked': still(bad.view.masked),
                'words': f'frame {bad.frame_index}: {bad.score:.2f}'} for bad in result.worst])


def _rows(figures: dict[str, Any]) -> list[tuple[str, dict[str, float]]]:
    return [(words, figures[name]) for name, words in ROWS.items() if figures[name]]
