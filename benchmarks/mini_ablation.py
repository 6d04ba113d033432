# SPDX-License-Identifier: Apache-2.0
"""Prints what each part of the method is worth with `mini`: mean IoU over tasks, part by part.

Every variant sees the same frames. A reference is rendered in `train`; clicked points lie in the
middle of its largest bodies.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tqdm import tqdm

from samg_ros.evaluation.mask_quality.rollouts import Rollouts, collect_frames
from samg_ros.evaluation.mask_quality.scores import evaluate_masks
from samg_ros.masking import Masker, MaskerSettings
from samg_ros.sim.reference import best_view, choose_points, render_reference

VARIANTS: dict[str, tuple[dict[str, object], int]] = {
    'as shipped': ({}, 0),
    'descriptors alone': ({'features': ('dino',)}, 0),
    'SAM embedding alone': ({'features': ('sam',)}, 0),
    '2 passes': ({'passes': 2}, 0),
    '3 passes': ({'passes': 3}, 0),
    'weights not fitted': ({'fit_weights': False}, 0),
    'guided without colour': ({'similarity_prompt': 'dense'}, 0),
    'guided by one feature': ({'similarity_prompt': 'region'}, 0),
    'not guided': ({'similarity_prompt': 'off'}, 0),
    '1 point': ({}, 1),
    '3 points': ({}, 3),
    '5 points': ({}, 5),
}
"""Changes of the settings, and clicked points."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--task', default='walker_walk,cheetah_run,cartpole_swingup,finger_spin,'
                        'hopper_stand,quadruped_walk,ball_in_cup_catch', metavar='NAME[,NAME]')
    parser.add_argument('--setting', default='video_hard')
    parser.add_argument('--videos', type=Path, default=None, help='folder (painted ones)')
    parser.add_argument('--frames', type=int, default=100, help='per task (100)')
    parser.add_argument('--weights', default=None, help="of mini (the package's)")
    parser.add_argument('--json', type=Path, default=None)
    args = parser.parse_args()
    tasks = args.task.split(',')
    ious: dict[str, dict[str, float | None]] = {name: {} for name in VARIANTS}
    for task in tqdm(tasks, leave=False):
        frames = collect_frames(Rollouts(task, args.setting, args.frames, videos=args.videos))
        step, bodies = best_view(task)
        assert step.mask is not None
        in_view = len(set(bodies[step.mask].tolist()))
        for name, (changes, clicks) in VARIANTS.items():
            if clicks > in_view:
                ious[name][task] = None
                continue
            points = choose_points(bodies, step.mask, clicks)
            settings = MaskerSettings(colour_rules=True, **changes)  # type: ignore[arg-type]
            masker = Masker.load('mini', settings, weights=args.weights).fit(
                render_reference(task, points=points.tolist()))
            ious[name][task] = float(evaluate_masks(masker, frames).iou.mean())
    print(' ' * 22 + ''.join(f'{task[:17]:>18}' for task in tasks))
    for name, row in ious.items():
        cells = ('-' if value is None else f'{value:.3f}' for value in row.values())
        print(f'{name:22}' + ''.join(f'{cell:>18}' for cell in cells))
    if args.json is not None:
        args.json.write_text(json.dumps(ious, indent=2) + '\n')


if __name__ == '__main__':
    main()
