# SPDX-License-Identifier: Apache-2.0
"""`samg eval policy`: checkpoints x settings x seeds, a table, and a page with what was seen."""

from __future__ import annotations

import argparse

import torch

from samg_ros.arguments import add_json, add_out, names, optional_path
from samg_ros.cores import half_the_cores
from samg_ros.errors import ConfigError
from samg_ros.progress import ProgressLine
from samg_ros.rl.evaluation.comparison import compare
from samg_ros.rl.evaluation.episodes import SHOWN
from samg_ros.rl.evaluation.policy import load_policy
from samg_ros.rl.evaluation.trials import (
    add_trial_arguments,
    announce,
    score_policy,
    trials_of,
)
from samg_ros.sim.visual.nuisances import Nuisances, parse_nuisance


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg eval policy`."""
    parser.add_argument('checkpoint', nargs='+', type=optional_path,
                        help='checkpoint, run folder, or the task of a '
                        'policy that comes with the package')
    add_trial_arguments(parser)
    parser.add_argument('--nuisance', type=parse_nuisance, action='append', default=[],
                        metavar='KIND=STRENGTH', help='such as light=0.5; may be repeated')
    parser.add_argument('--device', default='cpu', help='torch device of policies and maskers')
    parser.add_argument('--shown', type=names, action='extend', metavar='NAME[,NAME]',
                        help='what the policies are shown: as trained; truth, cut out by the true '
                        'masks; raw; blind, nothing at all (trained)')
    add_output_arguments(parser, 'policies')


def add_output_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """Declare where the figures go."""
    add_json(parser)
    add_out(parser, f'write the page {name}.html, {name}.csv and {name}.json there')


def run(args: argparse.Namespace) -> None:
    """Run `samg eval policy`."""
    torch.set_num_threads(min(torch.get_num_threads(), half_the_cores()))  # rendering: the rest
    trials = trials_of(args)
    nuisances = dict(args.nuisance)
    Nuisances.of(nuisances)
    if unknown := sorted(set(args.shown or ()) - set(SHOWN)):
        raise ConfigError(f"--shown knows {', '.join(SHOWN)}, not '{unknown[0]}'")
    policies = {name: load_policy(name, args.device) for name in args.checkpoint}
    scores = []
    with ProgressLine() as line:
        for name, policy in policies.items():
            for shown in args.shown or SHOWN[:1]:
                trained = shown == SHOWN[0]
                scores += score_policy(
                    name, policy, trials, masker=policy.masker(args.device) if trained else None,
                    nuisances=nuisances, variant='' if trained else f'shown {shown}', shown=shown,
                    progress=announce(line.update, name if trained else f'{name}, {shown}'))
    figures = compare(scores)
    print(figures.text())
    if args.json is not None:
        figures.write_json(args.json)
    if args.out is not None:
        shown = ', '.join(f'{kind} {strength:g}' for kind, strength in nuisances.items())
        print(figures.write(args.out, trials.facts() | {'Nuisances': shown or 'none'}))
