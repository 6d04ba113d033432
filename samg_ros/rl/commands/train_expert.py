# SPDX-License-Identifier: Apache-2.0
"""`samg train expert`: an agent on the simulator's state, for a policy on pictures to imitate."""

import argparse
import math
from pathlib import Path

from samg_ros.arguments import RunFolder, number, seed, whole
from samg_ros.interruption import EXIT_INTERRUPTED, stop_on_signals
from samg_ros.progress import ProgressLine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg train expert`."""
    parser.add_argument('--task', default='cartpole_swingup', help='DMControl task (%(default)s)')
    parser.add_argument('--seed', type=seed, default=0, help='of everything random (%(default)s)')
    parser.add_argument('--steps', type=whole(1), default=500_000,
                        help='agent steps at most (%(default)s)')
    parser.add_argument('--stop-at', type=number(-math.inf), default=math.inf,
                        metavar='RETURN',
                        help='end once a test reaches this: mean return without exploring, but '
                        'with the disturbance and the stumbles of the training (never)')
    parser.add_argument('--run-dir', action=RunFolder, default=None,
                        help='run folder (runs/TASK-expert-SEED); resumed if used')


def run(args: argparse.Namespace) -> int:
    """Train, and print the path of the expert's file in the last line.

    Returns:
        0, or 130 after Ctrl-C, when what was learned is saved.
    """
    from samg_ros.rl.experts.training import EXPERT_NAME, ExpertRun, expert_config

    config = expert_config(args.task, seed=args.seed, steps=args.steps, stop_at=args.stop_at)
    run_dir = args.run_dir or Path('runs') / f'{args.task}-expert-{args.seed}'
    training = ExpertRun(config, run_dir)
    line = ProgressLine()
    with stop_on_signals() as should_stop:
        try:
            while not training.done and not should_stop():
                training.episode()
                line.update(f'step {training.steps}/{config.steps}  episode {training.episodes}  '
                            f'return {training.last:.1f}  best {training.best:.1f}')
            if not training.done:
                training.save()
        finally:
            line.close()
            training.close()
    if not training.done:
        print(f'Saved in {run_dir} at step {training.steps}; the same command goes on.')
        return EXIT_INTERRUPTED
    rough = config.disturbance or config.stumble_every
    print(f'{args.task}: return {training.best:.1f} in the best test of {config.test_episodes} '
          f"episodes{', with disturbances' if rough else ''}")
    print(run_dir / EXPERT_NAME)
    return 0
