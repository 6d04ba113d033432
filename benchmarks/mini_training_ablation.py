# SPDX-License-Identifier: Apache-2.0
"""Trains variants of `mini` that differ in one thing; prints their mean IoU on the same frames.

All begin with the same weights and take the same steps on the same scenes, places, surroundings and
prompts: what a variant leaves out is drawn all the same (`BatchSource.without`). Validation
scenes, for the calibration of presence, are the same too, with all degradations. `other_seed`
differs from `baseline` in its draws alone: differences as small as that mean nothing.

With `--start shipped` the variants go on from the package's weights, which is cheap. Those have
seen every degradation: a variant shows what the steps without it forget, not what is never
learnt. The layers that add the trunk's maps to the decoder's input were trained for
ImageNet's trunk. In `new_trunk` they are zero again, and the trunk's standardisation and
projection are measured anew; in `random_trunk` likewise, with random weights in the trunk. So
`random_trunk` is to be compared with `new_trunk`. In both the layers that weigh the guidance stay.

With `--start random` nothing but the trunk has been trained before: the full ablation, for as many
steps as a training from the beginning takes. There is no `new_trunk`, for each is new; compare
`random_trunk` with `baseline`.

Run it again after an interruption: finished variants stay, the interrupted one goes on.
FOLDER/table.md has the table so far, FOLDER/VARIANT/scores.json each task and sequence.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mini_frames import Frames, all_frames, table
from tqdm import tqdm

from samg_ros.arguments import names, path_argument, whole
from samg_ros.errors import ConfigError, SamgError
from samg_ros.evaluation.mask_quality.degradations import parse_degradations
from samg_ros.evaluation.tables import figure
from samg_ros.files.outputs import write_json, write_text
from samg_ros.masking import Masker, MaskerSettings
from samg_ros.masking.models.mini.network import WEIGHTS, load_mini
from samg_ros.pretraining.batches import OTHER_COLOURS, BatchSource
from samg_ros.pretraining.dataset import picture_files
from samg_ros.pretraining.faults import FAULTS
from samg_ros.pretraining.start import installed_trunk
from samg_ros.pretraining.train import MiniConfig, MiniTrainer, carry_out, load_sources
from samg_ros.sim.procedural.meshes import mesh_files

VARIANTS: dict[str, dict[str, Any]] = {
    'untrained': {},
    'baseline': {},
    'other_seed': {'seed': 1},
    'new_trunk': {},
    'random_trunk': {'random_trunk': True},
    'no_faults': {'left_out': FAULTS},
    **{f'no_{name}': {'left_out': (name,)} for name in (OTHER_COLOURS, *FAULTS)},
}
"""Name -> what differs from `baseline` in MiniConfig. `untrained`: the package's weights."""
FROM_SHIPPED = ('untrained', 'new_trunk')
DEGRADATIONS = 'jpeg:80,white_balance:0.06,gamma:1.4,noise:8,blur:1.5'
RECOLOURED = 0.4
CONDITIONS = 2 + len(DEGRADATIONS.split(','))
NOT_COMPARED = ('folder', 'variants')
"""Arguments that may be others when a run goes on."""

Scores = dict[str, dict[str, dict[str, float]]]
"""Column -> 'tasks' and 'sequences' -> name -> mean IoU."""


class Ablation:
    """A run in a folder."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.variants = args.variants or [name for name in VARIANTS if self._has(name)]
        for name in self.variants:
            if name not in VARIANTS or not self._has(name):
                raise ConfigError(f"there is no variant '{name}' with --start {args.start}; there "
                                  f'are {", ".join(filter(self._has, VARIANTS))}')
            self._trunk(name)  # a missing one is named before hours of training
        args.folder.mkdir(parents=True, exist_ok=True)
        self._check_settings()

    def _has(self, name: str) -> bool:
        return self.args.start == 'shipped' or name not in FROM_SHIPPED

    def _trunk(self, name: str) -> Path | None:
        """Return the file of ImageNet's trunk for the variants that begin with it anew."""
        if name == 'random_trunk' or (self.args.start == 'shipped' and name != 'new_trunk'):
            return None
        return self.args.trunk or installed_trunk()

    def _check_settings(self) -> None:
        """Keep the settings of the first run, and refuse others in the same folder."""
        path = self.args.folder / 'settings.json'
        now = {name: value for name, value in vars(self.args).items() if name not in NOT_COMPARED}
        now = json.loads(json.dumps(now, default=str))
        if not path.exists():
            write_json(path, now)
        before = json.loads(path.read_text())
        for name, value in now.items():
            if before.get(name) != value:
                raise ConfigError(f'{self.args.folder} has variants with {name} '
                                  f'{before.get(name)}, not {value}; choose another folder')

    @cached_property
    def frames(self) -> list[Frames]:
        """Of all tasks and sequences, as they are."""
        args = self.args
        return list(all_frames(','.join(args.task), 'video_hard', args.frames, args.videos,
                               args.sequence))

    @cached_property
    def sources(self) -> tuple[BatchSource, BatchSource]:
        """What all variants are trained and validated on."""
        args = self.args
        return load_sources(
            MiniConfig(scenes=args.scenes, meshes=args.scenes, backgrounds=args.painted), args.data,
            tuple(path for folder in args.backgrounds for path in picture_files(folder)), 1,
            tuple(path for folder in args.meshes for path in mesh_files(folder)))

    def scores(self, name: str) -> Scores:
        """Return a variant's scores, which are in its folder once it is finished."""
        path = self.args.folder / name / 'scores.json'
        if not path.exists():
            weights = WEIGHTS if name == 'untrained' else self._train(name)
            masker = Masker(load_mini(weights), MaskerSettings(engine='torch'))
            path.parent.mkdir(exist_ok=True)
            columns = tqdm(_conditions(self.frames), f'{name} masks', CONDITIONS, unit='column')
            write_json(path, {column: _by_kind(frames, masker) for column, frames in columns})
        found: Scores = json.loads(path.read_text())
        return found

    def _train(self, name: str) -> Path:
        """Return the path of a variant's weights; it goes on where it was interrupted."""
        args = self.args
        config = MiniConfig(**{
            'steps': args.steps, 'references': args.references, 'bfloat16': args.bfloat16,
            'warmup': max(1, min(MiniConfig.warmup, args.steps // 10)),
            'checkpoint_every': min(50, args.steps), 'validation_batches': 1,
            'calibration_batches': args.calibration_batches, **VARIANTS[name]})
        return carry_out(MiniTrainer(config, args.folder / name, 'cpu'), *self.sources,
                         self._trunk(name), WEIGHTS if args.start == 'shipped' else None)

    def table(self) -> str:
        """Return the scores of the variants that are finished: `tasks / sequences`."""
        rows = {}
        for name in self.variants:
            if (self.args.folder / name / 'scores.json').exists():
                rows[name] = {column: ' / '.join(map(_mean, kinds.values()))
                              for column, kinds in self.scores(name).items()}
        return table(rows)


def _conditions(everything: list[Frames]) -> Iterator[tuple[str, list[Frames]]]:
    """Yield the frames as they are and degraded in each way, with what was done to them."""
    yield 'as they are', everything
    yield 'other colours', [one.recoloured(RECOLOURED) for one in everything]
    for degradation in parse_degradations(DEGRADATIONS):
        yield str(degradation), [one.degraded(degradation) for one in everything]


def _by_kind(everything: list[Frames], masker: Masker) -> dict[str, dict[str, float]]:
    return {kind: {one.name: one.iou(masker) for one in everything if one.real == real}
            for kind, real in (('tasks', False), ('sequences', True))}


def _mean(ious: Mapping[str, float]) -> str:
    return figure(float(np.mean([*ious.values()])) if ious else None)


def parse(command: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=path_argument, metavar='FOLDER',
                        help='of the run; one that was interrupted goes on')
    parser.add_argument('--start', choices=('shipped', 'random'), default='shipped')
    parser.add_argument('--variants', type=names, action='extend', default=[], metavar='NAME,...',
                        help=f'some of {", ".join(VARIANTS)} (all)')
    parser.add_argument('--steps', type=whole(1), default=200, help='of each variant (200)')
    parser.add_argument('--references', type=whole(1), default=8,
                        help='of a batch, with 4 targets each (8)')
    parser.add_argument('--bfloat16', action='store_true')
    parser.add_argument('--calibration-batches', type=whole(2), default=20,
                        help='held-out batches on which presence is calibrated (20)')
    data = parser.add_argument_group('data, as of samg train mini')
    data.add_argument('--data', type=path_argument, default=Path('runs/mini-data'))
    data.add_argument('--scenes', type=whole(1), default=600, help='of each kind (600)')
    data.add_argument('--painted', type=whole(1), default=1500, help='backgrounds (1500)')
    for name in ('--backgrounds', '--meshes'):
        data.add_argument(name, type=path_argument, action='append', default=[], metavar='DIR')
    data.add_argument('--trunk', type=path_argument, metavar='FILE')
    frames = parser.add_argument_group('frames that are masked')
    frames.add_argument('--task', type=names, metavar='NAME,...',
                        default='walker_walk,cheetah_run,cartpole_swingup,adroit_door,arm_reach')
    frames.add_argument('--frames', type=whole(1), default=30, help='per task (30)')
    frames.add_argument('--videos', type=path_argument, help='folder (painted ones)')
    frames.add_argument('--sequence', type=path_argument, action='append', default=[],
                        metavar='DIR')
    return parser.parse_args(command)


def main(command: list[str] | None = None) -> None:
    """Train what is missing and print the table."""
    args = parse(command)
    torch.set_num_threads(1)
    try:
        ablation = Ablation(args)
        for name in ablation.variants:
            ablation.scores(name)
            write_text(args.folder / 'table.md', ablation.table() + '\n')
    except SamgError as error:
        sys.exit(f'mini_training_ablation: {error}')
    print(ablation.table())


if __name__ == '__main__':
    main()
