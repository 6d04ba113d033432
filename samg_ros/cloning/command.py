# SPDX-License-Identifier: Apache-2.0
"""`samg train clone`: of an expert in simulation, or of recorded demonstrations."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samg_ros.arguments import named_path, parse_settings, path_argument, refuse_unused, whole
from samg_ros.errors import ConfigError
from samg_ros.files.outputs import write_json
from samg_ros.interruption import EXIT_INTERRUPTED, stop_on_signals
from samg_ros.progress import ProgressLine, duration
from samg_ros.rl.agents.chunk_network import LEARNED
from samg_ros.rl.commands import train_clone

if TYPE_CHECKING:
    from samg_ros.cloning.training import Cloning

_SETTINGS = ('steps', 'batch_size', 'learning_rate', 'hidden_dim', 'shift_pad', 'checkpoint_every')
"""What `--set` may change of a training on demonstrations, beside the observation."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg train clone`."""
    train_clone.add_arguments(parser)
    group = parser.add_argument_group('from demonstrations, in place of an expert')
    group.add_argument('--demonstrations', type=path_argument, default=None, metavar='DIR',
                       help='LeRobot data set, or imported HDF5 file, to learn from')
    group.add_argument('--chunk', type=whole(1, 1000), default=8, metavar='K',
                       help='actions predicted at once; 1 for one a frame (%(default)s)')
    group.add_argument('--every', type=whole(1, 1000), default=1, metavar='FRAMES',
                       help='frames from one prediction to the next (%(default)s)')
    group.add_argument('--learn', choices=LEARNED, default=None,
                       help='velocities: recorded positions as changes per second, for '
                       'action_interface velocity; as_recorded: actions as they stand '
                       '(velocities if each action is the position of a joint)')
    group.add_argument('--camera', action='append', default=[], metavar='NAME',
                       help='use only this camera of the data set; repeatable')
    group.add_argument('--camera-reference', action='append', type=named_path, default=[],
                       metavar='NAME=DIR', help='reference of a further camera; repeatable')


def _only(values: list[Any] | None, option: str, default: Any) -> Any:
    """Return the one value of an option of which `train clone` takes several for experts."""
    if values and len(values) > 1:
        raise ConfigError(f'{option}: give one; demonstrations are learned from in one run')
    return values[0] if values else default


def run(args: argparse.Namespace) -> int:
    """Train the clone that the command line asks for.

    Returns:
        0, or 130 after Ctrl-C, when what was learned is saved.
    """
    if args.demonstrations is None:
        refuse_unused(args, ('chunk', 'every', 'learn', 'camera', 'camera_reference'),
                      'is for learning from --demonstrations')
        return train_clone.run(args)
    refuse_unused(args, ('task', 'expert', 'finetune', 'masks', 'temporal', 'episodes', 'videos',
                         'colours', 'eval_setting', 'ray', 'cores', 'gpus', 'retries'),
                  'is for cloning an expert in simulation and means nothing to demonstrations')
    from samg_ros.cloning.runs import CloneChoices, begin, finish

    references = {name: Path(path) for name, _, path in
                  (pair.partition('=') for pair in args.camera_reference)}
    choices = CloneChoices(
        args.demonstrations, args.run_dir, args.reference, references,
        tuple(args.camera), _only(args.source, '--source', 'masked'), args.model, args.weights,
        args.device, args.chunk, args.every, args.learn, _only(args.seed, '--seed', 0),
        _settings(args))

    def show_masking(done: int, of: int) -> None:
        line.update(f'preparing frames: episode {done} of {of}')

    def show(cloning: Cloning) -> None:
        newest = cloning.history[-1] if cloning.history else None
        found = '' if newest is None else f'  held out {newest.loss:.4f}'
        line.update(f'step {cloning.step}/{cloning.config.steps}{found}')

    with stop_on_signals() as should_stop, ProgressLine() as line:
        started = begin(choices, show_masking)
        started.cloning.run(show, should_stop)
    cloning = started.cloning
    if not cloning.done:
        print(f'Saved in {started.run_dir} at step {cloning.saved_step}; the same command goes on.')
        return EXIT_INTERRUPTED
    figures = finish(started)
    _print(figures)
    if args.json:
        write_json(args.json, figures)
    print(started.run_dir)
    return 0


def _print(figures: dict[str, Any]) -> None:
    print(f'{figures["episodes"]} episodes, {figures["held_out"]} of them held out; '
          f'{figures["parameters"]} weights; {duration(figures["seconds"])}')
    print('   step   loss   held out   error of the first action, by its name')
    for each in figures['history']:
        errors = ' '.join(f'{error:.4f}' for error in each['errors'])
        print(f'{each["step"]:7} {each["train_loss"]:6.4f} {each["loss"]:10.4f}   {errors}')
    best = figures['best']
    print(f'kept: step {best["step"]}, loss {best["loss"]:.4f} on held-out episodes, blending '
          f'{figures["blend_s"]:.3g} s')
    for name, error in best['action_error'].items():
        print(f'  {name}: {error:.4f}')


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    settings = parse_settings(args.set, ('task', 'seed'), steps=args.steps)
    if unknown := sorted(set(settings) - {*_SETTINGS, 'observation'}):
        raise ConfigError(f"the setting '{unknown[0]}' means nothing to a training on "
                          f'demonstrations; known are {", ".join((*_SETTINGS, "observation"))}')
    return settings
