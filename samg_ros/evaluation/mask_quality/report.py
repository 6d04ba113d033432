# SPDX-License-Identifier: Apache-2.0
"""One page that shows how good masks are: masks.html, with the worst frames in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from samg_ros.evaluation.mask_quality.scores import MaskScores, ScoredFrame, score_table
from samg_ros.evaluation.page import Cell, Section, Shown, Strip, write_page
from samg_ros.evaluation.pictures import still
from samg_ros.evaluation.plots import iou_by_setting

PAGE_NAME = 'masks.html'
_COLUMNS = ('Prompts: share of positive prompts on the object. Clicks: share of clicks whose '
            'prompt is on the clicked body. Invents: frames in which at least 1 % of the picture '
            'is in the mask and not on the object. Steady: mean IoU of consecutive masks minus '
            'that of the true ones; flicker is below 0.')
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
    plot = iou_by_setting({(result.task, result.setting): result.iou
                           for result in results})
    overview = Section('Results', score_table(results), [
        Shown(plot, 'IoU of all frames: median, quartiles, 5th and 95th percentile.')], _COLUMNS)
    return write_page(
        Path(folder) / PAGE_NAME, 'masks against the simulator’s truth',
        'Frames with known truth; the masker knows one reference image.',
        [overview, *(Section(f'{result.task}, {result.setting}', strips=[
            _strip('Worst frames', result.worst), _strip('Frames throughout', result.typical)])
            for result in results)],
        facts, f'{Path(PAGE_NAME).stem}.json beside this page holds the figures.')


def _strip(title: str, moments: Sequence[ScoredFrame]) -> Strip:
    return Strip(f'{title} (red: missing, green: too much)', {
        'camera': [Cell(still(moment.frame), f'frame {moment.index}') for moment in moments],
        'masked': [Cell(still(np.where(moment.mask[..., None], moment.frame, 0).astype(np.uint8)))
                   for moment in moments],
        'errors': [Cell(still(shown_errors(moment)), f'IoU {moment.iou:.2f}')
                   for moment in moments]})


def shown_errors(moment: ScoredFrame) -> np.ndarray[Any, Any]:
    """Return (H, W, 3) uint8 RGB: the frame, darker, with what its mask lacks and has too many."""
    shown = moment.frame // 2
    shown[moment.truth & ~moment.mask] = MISSING
    shown[moment.mask & ~moment.truth] = INVENTED
    return shown
