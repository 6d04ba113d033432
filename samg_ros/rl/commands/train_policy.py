# SPDX-License-Identifier: Apache-2.0
"""`samg train policy`: one run, or many; and what `samg train clone` shares with it."""

import argparse
import shlex
import sys
import time
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
from samg_ros.interruption import EXIT_INTERRUPTED, stop_on_signals
from samg_ros.observation import SOURCES
from samg_ros.progress import ProgressLine, duration, progress_line
from samg_ros.rl.commands.sweep import add_comparison_arguments, run_many
from samg_ros.rl.config import AGENTS, PRESETS, TrainConfig, field_help
from samg_ros.rl.evaluation.episodes import SETTINGS
from samg_ros.rl.evaluation.run_report import evaluate_and_report
from samg_ros.rl.presets import TEMPORAL_MASKS, preset
from samg_ros.rl.training.direct import make_masker, train_direct

if TYPE_CHECKING:
    from samg_ros.masking import Masker


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg train policy`."""
    help_of = field_help()
    parser.add_argument('--task', type=names, action='extend', metavar='NAME[,NAME]',
                        help=f'{help_of["task"]} Several tasks, settings, sources or seeds are '
                        'many runs.')
    parser.add_argument('--preset', default='quick', choices=PRESETS, help='Where settings start.')
    parser.add_argument('--agent', choices=AGENTS, help=help_of['agent'])
    parser.add_argument('--setting', type=names, action='extend', metavar='NAME[,NAME]',
                        help=help_of['setting'])
    parser.add_argument('--steps', type=whole(1), help=help_of['steps'])
    parser.add_argument('--demonstrations', type=path_argument,
                        help='Folder of demonstrations to begin the replay with.')
    parser.add_argument('--with-expert', type=whole(0), default=0, metavar='N',
                        help="Begin the replay with N episodes of the package's expert, and draw "
                        'half of each batch from them; the same as --set expert_episodes=N '
                        '--set demonstrated_share=0.5.')
    add_run_arguments(parser, 'runs/TASK-PRESET-SEED')


def add_run_arguments(parser: argparse.ArgumentParser, run_dir: str) -> None:
    """Declare what every training takes; `run_dir` says where it writes without `--run-dir`."""
    parser.add_argument('--source', type=names, action='extend', metavar='NAME[,NAME]',
                        help=f'What the policy sees: {", ".join(SOURCES)} (masked).')
    parser.add_argument('--seed', type=read_seeds, action='extend', metavar='N[,N]',
                        help=field_help()['seed'])
    parser.add_argument('--run-dir', action=RunFolder,
                        help=f'Run folder; default {run_dir}. Resumed if used. Of many runs, the '
                        'folder of their folders; default runs.')
    parser.add_argument('--reference', type=path_argument,
                        help='Reference folder; default one rendered from the simulator.')
    parser.add_argument('--model', default='', help='Mask model (default: mini).')
    parser.add_argument('--weights', metavar='FILE',
                        help='Its weights; NAME=PATH,NAME=PATH for a pair.')
    parser.add_argument('--temporal', default='off', choices=tuple(TEMPORAL_MASKS),
                        help='prior: the masker looks first where the object was in the frame '
                        'before (%(default)s).')
    parser.add_argument('--device', default='cpu', help='Torch device of masker and networks.')
    parser.add_argument('--set', action='append', default=[], metavar='NAME=VALUE',
                        help='Another setting of the run, value as JSON; fields of TrainConfig, '
                        "and of ObservationSpec as 'observation={...}'. Repeatable.")
    parser.add_argument('--episodes', type=whole(0), default=10,
                        help='Episodes of the evaluation; 0 for none (%(default)s).')
    parser.add_argument('--videos', type=path_argument,
                        help='Folder of background videos; default painted ones.')
    add_json(parser)
    add_comparison_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Train, evaluate and write the report; its path is the last line printed.

    Returns:
        0, or 130 after Ctrl-C, when what was learned is saved; of many runs, see `run_many`.
    """
    start = time.monotonic()
    overrides = parse_settings(args.set, ('task', 'setting', 'seed'), agent=args.agent,
                               steps=args.steps)
    if args.with_expert:
        overrides = {'expert_episodes': args.with_expert, 'demonstrated_share': 0.5, **overrides}
    tasks, settings = args.task or ['cartpole_swingup'], args.setting or ['train']
    sources, seeds = args.source or ['masked'], args.seed or [0]
    if max(map(len, (tasks, settings, sources, seeds))) > 1:
        return run_many(args, tasks=tasks, settings=settings, sources=sources, seeds=seeds,
                        overrides=overrides, preset_name=args.preset,
                        demonstrations=args.demonstrations and args.demonstrations.absolute())
    overrides['setting'], overrides['seed'] = settings[0], seeds[0]
    overrides['observation'] = {'source': sources[0], **overrides.get('observation', {})}
    config = preset(args.preset, tasks[0], **overrides)
    run_dir, masker = start_run(args, config, config.observation.source == 'masked')
    ready = time.monotonic()
    done = train(args, config, run_dir, masker, videos=args.videos,
                 demonstrations=args.demonstrations)
    return finish(args, run_dir, done, {'Set-up': duration(ready - start)})


def start_run(args: argparse.Namespace, config: TrainConfig, masked: bool
              ) -> 'tuple[Path, Masker | None]':
    """Return run folder and masker, None where nothing is `masked`."""
    run_dir = args.run_dir or Path('runs') / f'{config.task}-{config.preset}-{config.seed}'
    return run_dir, make_masker(config, run_dir, args.reference, args.model, args.device,
                                args.weights, args.temporal) if masked else None


def train(args: argparse.Namespace, config: TrainConfig, run_dir: Path, masker: 'Masker | None',
          **options: Any) -> bool:
    """Train with a line of progress, until the end or Ctrl-C; returns whether the end is reached.

    Args:
        args: of the command line.
        config: of the run.
        run_dir: run folder.
        masker: fitted; None for none.
        options: further ones of `train_direct`.
    """
    with stop_on_signals() as should_stop, ProgressLine() as line:
        progress = train_direct(
            config, run_dir, masker=masker, device=args.device, should_stop=should_stop,
            on_progress=lambda p: line.update(progress_line(p)),
            on_demonstration=lambda i, n: line.update(f'demonstrations: episode {i} of {n}'),
            **options)
        line.update(progress_line(progress), force=True)
    if not progress['done']:
        print(f'Saved in {run_dir} at step {progress["step"]}; the same command goes on.')
    return bool(progress['done'])


def finish(args: argparse.Namespace, run_dir: Path, done: bool, facts: dict[str, str]) -> int:
    """Evaluate a finished run, print the path of its report, and return the exit status."""
    if not done:
        return EXIT_INTERRUPTED
    if args.episodes:
        facts['Command'] = shlex.join(['samg', *sys.argv[1:]])
        print(evaluate_and_report(run_dir, args.episodes, args.videos, facts, args.json,
                                  args.eval_setting or SETTINGS, args.colours))
    return 0
