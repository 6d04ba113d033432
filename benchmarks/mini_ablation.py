# SPDX-License-Identifier: Apache-2.0
"""Prints what each part of `mini` is worth: mean IoU over tasks and real sequences, part by part.

Every variant sees the same frames. A task's reference is rendered in `train`, a sequence's is its
first frame. A map of the guidance is taken away by zeros in its place, as in training. The second
table leaves out what a camera does: of each degradation the loss against clean frames.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from mini_frames import all_frames, table
from torch import Tensor

from samg_ros.evaluation.mask_quality.degradations import parse_degradations
from samg_ros.masking import Masker, MaskerSettings
from samg_ros.masking.models.mini.network import Mini, load_mini

REGION, PHOTO, PHOTO_BESIDE, OWN, OWN_BESIDE, NARROW, WIDE = range(7)
WITHOUT: dict[str, tuple[int, ...]] = {
    'as shipped': (),
    'no cells of the trunk': (PHOTO, PHOTO_BESIDE),
    'no cells of its own': (OWN, OWN_BESIDE),
    'no surroundings': (PHOTO_BESIDE, OWN_BESIDE),
    'no narrow colour': (NARROW,),
    'no wide colour': (WIDE,),
    'no colour': (NARROW, WIDE),
    'colour alone': (REGION, PHOTO, PHOTO_BESIDE, OWN, OWN_BESIDE),
}
SETTINGS: dict[str, dict[str, object]] = {
    'not guided': {'similarity_prompt': 'off'},
    '2 passes': {'passes': 2},
    'weights fitted': {'fit_weights': True},
    'second look': {'second_look': True},
}
DEGRADATIONS = 'jpeg:95,jpeg:80,white_balance:0.06,gamma:1.4,noise:8,blur:1.5'


class Without(Mini):
    """`mini` with zeros in the place of some maps of its guidance."""

    gone: tuple[int, ...] = ()

    def evidence_logits(self, guide: Tensor) -> Tensor:
        """See Mini."""
        return super().evidence_logits(self._left(guide))

    def decode_with_presence(self, *arguments: object) -> tuple[Tensor, Tensor, Tensor | None]:
        """See Mini."""
        *others, guide = arguments
        left = None if guide is None else self._left(guide)  # type: ignore[arg-type]
        return super().decode_with_presence(*others, left)  # type: ignore[arg-type]

    def _left(self, guide: Tensor) -> Tensor:
        guide = guide.clone()
        guide[:, list(self.gone)] = 0
        return guide


def maskers(weights: str | None) -> Iterator[tuple[str, Masker]]:
    """Yield a masker of every variant."""
    for name, gone in WITHOUT.items():
        model = load_mini(weights)
        model.__class__ = Without
        model.gone = gone  # type: ignore[assignment]
        yield name, Masker(model, MaskerSettings(fit_weights=False, engine='torch'))
    for name, changes in SETTINGS.items():
        settings = MaskerSettings(**{'fit_weights': False, **changes})  # type: ignore[arg-type]
        yield name, Masker(load_mini(weights), settings)


def _cells(rows: dict[str, dict[str, float]]) -> dict[str, dict[str, str]]:
    return {name: {column: f'{value:.3f}' for column, value in row.items()}
            for name, row in rows.items()}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--task', default='walker_walk,cheetah_run,cartpole_swingup,finger_spin,'
                        'ball_in_cup_catch,adroit_relocate,arm_reach', metavar='NAME[,NAME]')
    parser.add_argument('--setting', default='video_hard')
    parser.add_argument('--videos', type=Path, default=None, help='folder (painted ones)')
    parser.add_argument('--sequence', type=Path, action='append', default=[], metavar='DIR')
    parser.add_argument('--frames', type=int, default=40, help='per task (40)')
    parser.add_argument('--weights', default=None, help="of mini (the package's)")
    parser.add_argument('--json', type=Path, default=None)
    args = parser.parse_args()
    torch.set_num_threads(1)
    everything = list(all_frames(args.task, args.setting, args.frames, args.videos, args.sequence))
    parts = {name: {one.name: one.iou(masker) for one in everything}
             for name, masker in maskers(args.weights)}
    print(table(_cells(parts)), end='\n\n')
    plain = Masker(load_mini(args.weights), MaskerSettings(fit_weights=False))
    cameras = {str(degradation): {one.name: one.degraded(degradation).iou(plain)
                                  for one in everything}
               for degradation in parse_degradations(DEGRADATIONS)}
    print(table(_cells(cameras)))
    if args.json is not None:
        args.json.write_text(json.dumps({'parts': parts, 'cameras': cameras}, indent=2) + '\n')


if __name__ == '__main__':
    main()
