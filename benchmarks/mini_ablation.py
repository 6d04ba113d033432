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
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from samg_ros.evaluation.mask_quality.degradations import degraded, parse_degradations
from samg_ros.evaluation.mask_quality.rollouts import Rollouts, collect_frames
from samg_ros.evaluation.mask_quality.sequences import load_sequence
from samg_ros.evaluation.metrics import mask_iou
from samg_ros.masking import Masker, MaskerSettings, Reference
from samg_ros.masking.models.mini.network import Mini, load_mini
from samg_ros.sim.reference import render_reference

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


@dataclass(frozen=True)
class Frames:
    """What is masked, and what should come out."""

    name: str
    reference: Reference
    images: list[npt.NDArray[np.uint8]]
    truths: list[npt.NDArray[np.bool_]]

    def iou(self, masker: Masker, images: list[npt.NDArray[np.uint8]] | None = None) -> float:
        """Return the mean IoU of a masker fitted to the reference."""
        masks = [masker(image[None])[0] for image in images or self.images]
        return float(np.mean([mask_iou(mask, truth)
                              for mask, truth in zip(masks, self.truths, strict=True)]))


def frames_of(args: argparse.Namespace) -> Iterator[Frames]:
    """Yield the frames of every task and sequence."""
    for task in filter(None, args.task.split(',')):
        found = collect_frames(Rollouts(task, args.setting, args.frames, videos=args.videos))
        yield Frames(task, render_reference(task), list(found.images), list(found.truths))
    for folder in args.sequence:
        found = load_sequence(folder)
        yield Frames(found.name, Reference(found.frames[0], found.masks[0]),
                     list(found.frames[1:]), list(found.masks[1:]))


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


def table(columns: list[str], rows: dict[str, dict[str, float]]) -> str:
    """Return a table in Markdown."""
    lines = ['| | ' + ' | '.join(columns) + ' |', '|---' * (1 + len(columns)) + '|']
    lines += [f'| {name} | ' + ' | '.join(f'{row[column]:.3f}' for column in columns) + ' |'
              for name, row in rows.items()]
    return '\n'.join(lines)


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
    everything = list(frames_of(args))
    columns = [one.name for one in everything]
    parts = {name: {one.name: one.iou(masker.fit(one.reference)) for one in everything}
             for name, masker in maskers(args.weights)}
    print(table(columns, parts), end='\n\n')
    plain = Masker(load_mini(args.weights), MaskerSettings(fit_weights=False))
    cameras: dict[str, dict[str, float]] = {}
    for degradation in parse_degradations(DEGRADATIONS):
        cameras[str(degradation)] = {
            one.name: one.iou(plain.fit(one.reference), degraded(one.images, degradation, 0))
            for one in everything}
    print(table(columns, cameras))
    if args.json is not None:
        args.json.write_text(json.dumps({'parts': parts, 'cameras': cameras}, indent=2) + '\n')


if __name__ == '__main__':
    main()
