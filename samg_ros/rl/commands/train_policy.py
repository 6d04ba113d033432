# SPDX-License-Identifier: Apache-2.0
"""`samg train policy`: one run, or many."""

import argparse
import shlex
import sys
import time
from pathlib import Path

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
from samg_ros.rl.config import AGENTS, PRESETS, field_help
from samg_ros.rl.evaluation.episodes import SETTINGS
from samg_ros.rl.evaluation.run_report import evaluate_and_report
from samg_ros.rl.presets import preset
from samg_ros.rl.training.direct import make_masker, train_direct


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg train policy`."""
    help_of = field_help()
    parser.add_argument(
        '--task', type=names, action='extend', metavar='NAME[,NAME]',
        help=f'{help_of["task"]} Several tasks, settings, sources or seeds are many runs.',
    )
    parser.add_argument('--preset', default='quick', choices=PRESETS, help='Where settings start.')
    parser.add_argument('--agent', choices=AGENTS, help=help_of['agent'])
    parser.add_argument(
        '--setting', type=names, action='extend', metavar='NAME[,NAME]', help=help_of['setting']
    )
    parser.add_argument(
        '--source', type=names, action='extend', metavar='NAME[,NAME]',
        help=f'What is seen: {", ".join(SOURCES)} (masked).',
    )
    parser.add_argument(
        '--seed', type=read_seeds, action='extend', metavar='N[,N]', help=help_of['seed']
    )
    parser.add_argument('--steps', type=whole(1), help=help_of['steps'])
    parser.add_argument(
        '--run-dir', action=RunFolder,
        help='Run folder; default runs/TASK-PRESET-SEED. Resumed if used. Of many '
        'runs, the folder of their folders; default runs.'
    )
    parser.add_argument(
        '--reference', type=path_argument,
        help='Reference folder; default one rendered from the simulator.'
    )
    parser.add_argument(
        '--demonstrations', type=path_argument,
        help='Folder of demonstrations to begin the replay with.'
    )
    parser.add_argument(
        '--with-expert', type=whole(0), default=0, metavar='N', help="Begin the replay with N "
        "episodes of the package's expert, and draw half of each batch from them; the same as "
        '--set expert_episodes=N --set demonstrated_share=0.5.'
    )
    parser.add_argument('--model', default='', help="mask model (default: the task's)")
    parser.add_argument('--weights', metavar='FILE',
                        help='Its weights; NAME=PATH,NAME=PATH for a pair.')
    parser.add_argument('--videos', type=path_argument, help='Folder of background videos.')
    parser.add_argument('--device', default='cpu', help='Torch device of masker and learner.')
    parser.add_argument(
        '--set',
        action='append',
        default=[],
        metavar='NAME=VALUE',
        help='Another setting of the run, value as JSON; fields of TrainConfig, and of '
        "ObservationSpec as 'observation={...}'. Repeatable.",
    )
    parser.add_argument(
        '--episodes', type=whole(0), default=10, help='Episodes of the evaluation; 0 for none.'
    )
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
    run_dir = args.run_dir or Path('runs') / f'{config.task}-{config.preset}-{config.seed}'
    masker = None
    if config.observation.source == 'masked':
        masker = make_masker(config, run_dir, args.reference, args.model, args.device,
                             args.weights)
    ready = time.monotonic()
    with stop_on_signals() as should_stop, ProgressLine() as line:
        progress = train_direct(
            config,
            run_dir,
            masker=masker,
            videos=args.videos,
            device=args.device,
            demonstrations=args.demonstrations,
            on_progress=lambda p: line.update(progress_line(p)),
            on_demonstration=lambda i, n: line.update(f'demonstrations: episode {i} of {n}'),
            should_stop=should_stop,
        )
        line.update(progress_line(progress), force=True)
    if not progress['done']:
        print(f'Saved in {run_dir} at step {progress["step"]}; the same command goes on.')
        return EXIT_INTERRUPTED
    if args.episodes:
        facts = {
            'Set-up': duration(ready - start),
            'Command': shlex.join(['samg', *sys.argv[1:]]),
        }
        report = evaluate_and_report(run_dir, args.episodes, args.videos, facts, args.json,
                                     args.eval_setting or SETTINGS, args.colours)
        print(report)
    return 0
