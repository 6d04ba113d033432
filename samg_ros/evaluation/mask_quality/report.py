# SPDX-License-Identifier: Apache-2.0
"""One page that shows how good masks are: masks.html, with the worst frames in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from samg_ros.evaluation.mask_quality.scores import MaskScores, ScoredFrame
from samg_ros.evaluation.page import write_page
from samg_ros.evaluation.pictures import still
from samg_ros.evaluation.plots import iou_by_setting

PAGE_NAME = 'masks.html'
MISSING, INVENTED = (255, 60, 60), (60, 255, 60)
"""Colours of pixels that a mask lacks and that it has too many."""


def write_mask_report(folder: str | Path, results: Sequence[MaskScores],
                      facts: dict[str, str]) -> Path:
    """Write the page of an evaluation.

    Args:
        folder: where `masks.html` goes.
        results: at least one.
        facts: what was evaluated, by name.

    Returns:
        Path of the page.

    Raises:
        OutputError: if the page cannot be written.
    """
    rows = [result.summary() for result in results]
    return write_page(
        Path(folder) / PAGE_NAME, 'masks.html.j2', rows=rows, facts=facts,
        plot=iou_by_setting({(row['task'], row['setting']): result.iou
                             for row, result in zip(rows, results, strict=True)}),
        sections=[{'name': f'{row["task"]}, {row["setting"]}',
                   'strips': {'Worst frames': _strip(result.worst),
                              'Frames throughout': _strip(result.typical)}}
                  for row, result in zip(rows, results, strict=True)])


def _strip(moments: Sequence[ScoredFrame]) -> dict[str, list[dict[str, str]]]:
    """Return rows of pictures and what stands below each."""
    return {
        'camera': [_cell(moment.frame, f'frame {moment.index}') for moment in moments],
        'masked': [_cell(np.where(moment.mask[..., None], moment.frame, 0).astype(np.uint8), '')
                   for moment in moments],
        'errors': [_cell(shown_errors(moment), f'IoU {moment.iou:.2f}') for moment in moments],
    }


def _cell(picture: np.ndarray, words: str) -> dict[str, str]:
    return {'picture': still(picture), 'words': words}


def shown_errors(moment: ScoredFrame) -> np.ndarray[Any, Any]:
    """Return (H, W, 3) uint8 RGB: the frame, darker, with what its mask lacks and has too many."""
    shown = moment.frame // 2
    shown[moment.truth & ~moment.mask] = MISSING
    shown[moment.mask & ~moment.truth] = INVENTED
    return shown
