# SPDX-License-Identifier: Apache-2.0
"""`samg train clone`: a policy that imitates an expert, and how well it does."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samg_ros.arguments import (
    RunFolder,
    add_json,
    names,
    parse_settings,
    path_argument,
    seeds as read_seeds,
    whole,
)
from samg_ros.errors import ConfigError
from samg_ros.interruption import EXIT_INTERRUPTED, stop_on_signals
from samg_ros.observation import SOURCES
from samg_ros.progress import ProgressLine, progress_line
from samg_ros.rl.commands.sweep import add_comparison_arguments, run_many
from samg_ros.rl.config import TrainConfig, field_help
from samg_ros.rl.evaluation.episodes import SETTINGS
from samg_ros.rl.evaluation.run_report import evaluate_and_report
from samg_ros.rl.presets import clone_config, finetune_config
from samg_ros.rl.training.direct import make_masker, train_direct
from samg_ros.rl.training.rollout import MASKS

if TYPE_CHECKING:
    from samg_ros.masking import Masker

STEPS = 30_000
"""Of a clone of an expert."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg train clone`."""
    help_of = field_help()
    parser.add_argument('--task', type=names, action='extend', metavar='NAME[,NAME]',
                        help='task with an expert (arm_reach); several tasks, sources or seeds are '
                        'many runs')
    parser.add_argument('--masks', default=MASKS[0], choices=MASKS,
                        help='what masks the frames learned from: the truth with random errors, '
                        'quick and for any masker, the masker itself, or the masker for the last '
                        'third (%(default)s)')
    parser.add_argument('--expert', type=path_argument, default=None, metavar='FILE.npz',
                        help="expert to learn from (the task's own: scripted, or trained)")
    parser.add_argument('--source', type=names, action='extend', metavar='NAME[,NAME]',
                        help=f'what the policy sees: {", ".join(SOURCES)} (masked)')
    parser.add_argument('--seed', type=read_seeds, action='extend', metavar='N[,N]',
                        help=help_of['seed'])
    parser.add_argument('--steps', type=whole(1), default=None,
                        help=f'agent steps, each with a frame and an update ({STEPS}; from '
                        'demonstrations 6000)')
    parser.add_argument('--run-dir', action=RunFolder, default=None,
                        help='run folder (runs/TASK-clone-SEED); resumed if used')
    parser.add_argument('--reference', type=path_argument, default=None,
                        help='reference folder (one rendered from the simulator)')
    parser.add_argument('--model', default='', help="mask model (default: the task's)")
    parser.add_argument('--weights', metavar='FILE',
                        help='its weights; NAME=PATH,NAME=PATH for a pair')
    parser.add_argument('--device', default='cpu', help='torch device of masker and networks')
    parser.add_argument('--set', action='append', default=[], metavar='NAME=VALUE',
                        help='another setting, value as JSON; fields of TrainConfig; repeatable')
    parser.add_argument('--finetune', type=whole(0), default=0, metavar='STEPS',
                        help='then go on for so many agent steps by DrQ-v2, on reward and behind '
                        'the masker, in RUN_DIR/finetuned (%(default)s)')
    parser.add_argument('--episodes', type=whole(0), default=10,
                        help='episodes of the evaluation; 0 for none (%(default)s)')
    parser.add_argument('--videos', type=path_argument, default=None,
                        help='background videos of the evaluation (painted ones)')
    add_json(parser)
    add_comparison_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Clone, evaluate and write the report; its path is the last line printed.

    Returns:
        0, or 130 after Ctrl-C, when what was learned is saved; of many runs, see `run_many`.
    """
    overrides = {'steps': STEPS, **parse_settings(args.set, ('task', 'seed'), steps=args.steps)}
    tasks, sources = args.task or ['arm_reach'], args.source or ['masked']
    seeds = args.seed or [0]
    if max(map(len, (tasks, sources, seeds))) > 1:
        if args.finetune:
            raise ConfigError('--finetune goes on with one run; name one task, source and seed')
        return run_many(args, tasks=tasks, settings=['train'], sources=sources, seeds=seeds,
                        overrides=overrides, method='clone', masks=args.masks,
                        expert=args.expert and args.expert.absolute())
    overrides['observation'] = {'source': sources[0], **overrides.get('observation', {})}
    config = clone_config(tasks[0], seed=seeds[0], **overrides)
    run_dir = args.run_dir or Path('runs') / f'{config.task}-{config.preset}-{config.seed}'
    masker = make_masker(config, run_dir, args.reference, args.model, args.device,
                         args.weights)
    progress = _train(config, run_dir, masker, args.device, masks=args.masks, expert=args.expert)
    if progress['done'] and args.finetune:
        start, run_dir = run_dir, run_dir / 'finetuned'
        config = finetune_config(config, start, steps=args.finetune)
        progress = _train(config, run_dir, masker, args.device)
    if not progress['done']:
        print(f'Saved in {run_dir} at step {progress["step"]}; the same command goes on.')
        return EXIT_INTERRUPTED
    if args.episodes:
        facts = {'Command': shlex.join(['samg', *sys.argv[1:]])}
        print(evaluate_and_report(run_dir, args.episodes, args.videos, facts, args.json,
                                  args.eval_setting or SETTINGS, args.colours))
    return 0


def _train(config: TrainConfig, run_dir: Path, masker: 'Masker', device: str,
           **options: Any) -> dict[str, Any]:
    """Train with a line of progress, until the end or Ctrl-C; returns the progress."""
    with stop_on_signals() as should_stop, ProgressLine() as line:
        progress = train_direct(
            config, run_dir, masker=masker, device=device, should_stop=should_stop,
            on_progress=lambda p: line.update(progress_line(p)), **options)
        line.update(progress_line(progress), force=True)
    return progress
