# SPDX-License-Identifier: Apache-2.0
"""`samg train policy` with several tasks, settings, sources or seeds; and what studies share of it.

One merged table at the end, of all runs that are finished.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from samg_ros.arguments import names, number, path_argument, whole
from samg_ros.rl.evaluation.comparison import compare
from samg_ros.rl.evaluation.episodes import SETTINGS
from samg_ros.rl.evaluation.scores import Score
from samg_ros.rl.evaluation.trials import Trials
from samg_ros.rl.presets import TEMPORAL_MASKS
from samg_ros.rl.sweeps.cluster import LOCAL, NO_RAY
from samg_ros.rl.sweeps.pool import Failure, Spread, carry_out
from samg_ros.rl.sweeps.runs import Run, plan_runs

EXIT_FAILURES = 1


def add_spread_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how many runs are carried out."""
    group = parser.add_argument_group('many runs')
    group.add_argument('--ray', default=LOCAL, metavar='ADDRESS',
                       help=f"a Ray cluster's; {LOCAL}: this machine; {NO_RAY}: without Ray, one "
                       'run after the other (%(default)s)')
    group.add_argument('--cores', type=whole(1), default=2, metavar='N',
                       help='CPU cores of each run (%(default)s)')
    group.add_argument('--gpus', type=number(0), default=None, metavar='N',
                       help='GPUs of each run, such as 0.5 (1 with --device cuda, else 0)')
    group.add_argument('--retries', type=whole(0), default=1, metavar='N',
                       help='start a run that failed again so often (%(default)s)')


def spread_of(args: argparse.Namespace) -> Spread:
    """Return how many runs are carried out.

    Raises:
        ConfigError: if a number is not usable.
    """
    gpus = args.gpus if args.gpus is not None else float(args.device.startswith('cuda'))
    return Spread(args.ray, args.cores, gpus, args.retries)


def add_comparison_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how a training tries what it trained, and how many runs are carried out."""
    parser.add_argument('--eval-setting', type=names, action='extend', metavar='NAME[,NAME]',
                        help=f'visual settings of the evaluation ({",".join(SETTINGS)})')
    parser.add_argument('--colours', type=path_argument, metavar='DIR',
                        help='folder of color_easy.json and color_hard.json (drawn ones)')
    add_spread_arguments(parser)


def run_many(args: argparse.Namespace, *, tasks: Sequence[str], seeds: Sequence[int],
             sources: Sequence[str], settings: Sequence[str], overrides: dict[str, Any],
             **options: Any) -> int:
    """Carry out the runs of `samg train policy` or `clone` and show them side by side.

    Args:
        args: of the command line.
        tasks: task names.
        seeds: of the training.
        sources: what the policies see.
        settings: visual settings to train in.
        overrides: other fields of TrainConfig.
        options: further ones of `plan_runs`.

    Returns:
        0, or EXIT_FAILURES if a run failed.

    Raises:
        SamgError: if an argument is not usable.
    """
    trials = Trials(tuple(args.eval_setting or SETTINGS), (0,), args.episodes, args.videos,
                    args.colours)
    root = (args.run_dir or Path('runs')).absolute()
    runs = plan_runs(root, trials, tasks=tasks, seeds=seeds, sources=sources, settings=settings,
                     overrides=overrides, model=args.model, weights=args.weights,
                     device=args.device, reference=args.reference and args.reference.absolute(),
                     masker_settings=TEMPORAL_MASKS[args.temporal],
                     **options)
    failures = carry_out(runs, spread_of(args))
    scores = finished_scores(runs)
    if scores:
        figures = compare(scores, 'runs', 'Training runs side by side', learning=True)
        print(figures.text())
        if args.json is not None:
            figures.write_json(args.json)
        print(figures.write(root, trials.facts() | {'Preset': runs[0].config.preset}))
    return report_failures(failures, len(runs))


def finished_scores(runs: Sequence[Run]) -> list[Score]:
    """Return the scores of all runs that are finished."""
    return [score for run in runs for score in run.scores() or ()]


def report_failures(failures: Sequence[Failure], count: int) -> int:
    """Print which runs failed, and why.

    Args:
        failures: the runs that failed for good.
        count: all runs.

    Returns:
        The exit status of the command.
    """
    for failure in failures:
        print(f'{failure.run.folder.name}: failed {failure.attempts} times\n{failure.last_lines}',
              file=sys.stderr)
    if not failures:
        return 0
    print(f'samg: {len(failures)} of {count} runs failed; the same command goes on with them',
          file=sys.stderr)
    return EXIT_FAILURES
