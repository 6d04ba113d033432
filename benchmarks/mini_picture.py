# SPDX-License-Identifier: Apache-2.0
"""Draws docs/images/mini.jpg: of each task three ordinary masks and the three worst.

Red: missing; green: too much.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from samg_ros.evaluation.mask_quality.report import shown_errors
from samg_ros.evaluation.mask_quality.rollouts import Rollouts, collect_frames
from samg_ros.evaluation.mask_quality.scores import evaluate_masks
from samg_ros.masking import Masker, MaskerSettings
from samg_ros.sim.reference import render_reference

TASKS = ('walker_walk', 'cheetah_run', 'cartpole_swingup', 'finger_spin', 'quadruped_walk',
         'ball_in_cup_catch')
EACH = 3
CAPTION = 12


def column(task: str, setting: str, frames: int, videos: Path | None) -> np.ndarray:
    """Return (H, 168, 3) uint8 RGB: frame and errors side by side, ordinary ones first."""
    masker = Masker.load('mini', MaskerSettings(fit_weights=False)).fit(render_reference(task))
    found = evaluate_masks(masker, collect_frames(Rollouts(task, setting, frames, videos=videos)))
    moments = [*found.typical[:EACH], *found.worst[:EACH]]
    cells = []
    for moment, words in zip(moments, [task, '', '', 'worst', '', ''], strict=True):
        caption = np.full((CAPTION, 2 * moment.frame.shape[1], 3), 255, np.uint8)
        cv2.putText(caption, f'{moment.iou:.2f}  {words}', (2, CAPTION - 3),
                    cv2.FONT_HERSHEY_SIMPLEX, 0.35, (30, 30, 30), 1, cv2.LINE_AA)
        cells += [caption, np.hstack([moment.frame, shown_errors(moment)])]
    return np.vstack(cells)


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--setting', default='video_hard')
    parser.add_argument('--videos', type=Path, default=None, help='folder (painted ones)')
    parser.add_argument('--frames', type=int, default=200, help='per task (200)')
    parser.add_argument('--out', type=Path, default=Path('docs/images/mini.jpg'))
    args = parser.parse_args()
    picture = np.hstack([column(task, args.setting, args.frames, args.videos) for task in TASKS])
    cv2.imwrite(str(args.out), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    print(args.out)


if __name__ == '__main__':
    main()
