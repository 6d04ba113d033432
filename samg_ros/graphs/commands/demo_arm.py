# SPDX-License-Identifier: Apache-2.0
"""`samg demo arm`: record, learn, run and measure on the simulated arm, each by its own command.

The demonstrations are those of the bag that comes with the package, and a few that are recorded
now. Every command is printed before it runs, as one would type it; a page says what came of each.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from samg_ros.arguments import OutputFolder, seed as read_seed, whole
from samg_ros.errors import OutputError, SamgError
from samg_ros.progress import duration

SAMPLE, CONTRACT = 'samples/arm_reach.mcap', 'samples/arm_reach.yaml'
_TASK = 'arm_reach'
_FIRST_TRIED = 1000
"""Added to the seed of the episodes that the policy is tried in: others than the demonstrated."""


class Stage(NamedTuple):
    """One command of the demonstration."""

    title: str
    words: tuple[str, ...]
    """After `samg`."""


class Done(NamedTuple):
    """A command that has run."""

    stage: Stage
    seconds: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg demo arm`."""
    parser.add_argument('--out', action=OutputFolder, default=Path('arm_demo'), metavar='DIR',
                        help='new folder for bags, data set, policy and page (%(default)s)')
    parser.add_argument('--recorded', type=whole(1, 1000), default=2, metavar='N',
                        help='episodes to record now, 10 s each (%(default)s)')
    parser.add_argument('--steps', type=whole(1), default=1500,
                        help='of the training; a good policy takes some thousand (%(default)s)')
    parser.add_argument('--episodes', type=whole(1, 1000), default=5, metavar='N',
                        help='to try the policy in, 10 s each (%(default)s)')
    parser.add_argument('--seed', type=read_seed, default=0, help='of everything random (0)')


def stages(out: Path, recorded: int, steps: int, episodes: int, seed: int) -> list[Stage]:
    """Return the commands in their order; what they leave is below `out`."""
    from samg_ros.files.share import share_file

    bags, data, reference, policy, session = (
        str(out / name) for name in ('bags', 'data', 'reference', 'policy', 'session.mcap'))
    return [
        Stage('Record', ('run', 'arm', '--sim', '--teleop', 'expert', '--episodes', str(recorded),
                         '--seed', str(seed), '--demonstrations', bags)),
        Stage('Import', ('demonstrations', 'import', str(share_file(SAMPLE)), bags, '--contract',
                         str(share_file(CONTRACT)), '--task', _TASK, '--out', data, '--json',
                         str(out / 'import.json'))),
        Stage('Reference', ('reference', 'render', '--task', _TASK, '--out', reference)),
        Stage('Learn', ('train', 'clone', '--demonstrations', data, '--reference', reference,
                        '--steps', str(steps), '--seed', str(seed), '--run-dir', policy, '--json',
                        str(out / 'cloning.json'))),
        Stage('Run', ('run', 'arm', '--sim', '--policy', policy, '--episodes', str(episodes),
                      '--seed', str(seed + _FIRST_TRIED), '--record', session, '--json',
                      str(out / 'episodes.json'))),
        Stage('Measure', ('eval', 'bag', session, '--checkpoint', policy, '--out',
                          str(out / 'measured'))),
        Stage('Replay', ('eval', 'replay', session, '--checkpoint', policy, '--json',
                         str(out / 'replay.json')))]


def run(args: argparse.Namespace) -> int:
    """Run the commands and write the page; its path is the last line printed.

    Returns:
        0.

    Raises:
        SamgError: if a command fails, or the folder is not empty: the first commands would add to
            what is there, and later ones refuse to replace it.
    """
    if args.out.is_dir() and any(args.out.iterdir()):
        raise OutputError(f"the folder '{args.out}' is not empty; give a new one by --out")
    done: list[Done] = []
    for stage in stages(args.out, args.recorded, args.steps, args.episodes, args.seed):
        print(f'\n{stage.title}: samg {shlex.join(stage.words)}', flush=True)
        began = time.monotonic()
        ended = subprocess.run([sys.executable, '-m', 'samg_ros', *stage.words], check=False)
        if ended.returncode:
            raise SamgError(f"the command of '{stage.title}' ended with exit status "
                            f'{ended.returncode}; its last lines say why')
        done.append(Done(stage, time.monotonic() - began))
    from samg_ros.graphs.commands.demo_page import write_demo_page

    rows = [(each.stage.title, duration(each.seconds), f'samg {shlex.join(each.stage.words)}')
            for each in done]
    print(write_demo_page(args.out, rows, facts(args)))
    return 0


def facts(args: argparse.Namespace) -> dict[str, Any]:
    """Return what was asked for, by name."""
    return {'Command': shlex.join(['samg', *sys.argv[1:]]),
            'Demonstrations': f'the sample bag of the package, and {args.recorded} episodes '
                              'recorded now by the scripted expert',
            'Training': f'{args.steps} steps', 'Seed': str(args.seed)}
