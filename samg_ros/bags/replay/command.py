# SPDX-License-Identifier: Apache-2.0
"""`samg eval replay`: are the commands of a recording those of its policy, to the bit?"""

from __future__ import annotations

import argparse
from dataclasses import asdict

from samg_ros.arguments import add_json, optional_path, path_argument
from samg_ros.sim.tasks import COMMAND_TOPICS

_COMMAND = f'/{COMMAND_TOPICS["position"]}'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg eval replay`."""
    parser.add_argument('bag', type=path_argument, metavar='BAG',
                        help='made by samg run arm --policy --record')
    parser.add_argument('--checkpoint', type=path_argument, required=True, metavar='PATH',
                        help='the policy that was recorded')
    parser.add_argument('--command', default=_COMMAND, metavar='TOPIC',
                        help='of the commands (%(default)s)')
    parser.add_argument('--workspace', type=optional_path, default='', metavar='YAML',
                        help="the recorded policy's workspace, if it had one")
    parser.add_argument('--mask-again', action='store_true',
                        help='mask the camera frames anew instead of taking the recorded ones')
    parser.add_argument('--image', default=None, metavar='TOPIC',
                        help='main camera, for --mask-again and policies of raw frames (the only '
                        "one beside the policy's others)")
    parser.add_argument('--device', default='cpu', help="'cpu' or 'cuda' (%(default)s)")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run `samg eval replay`.

    Returns:
        0, or 1 if a command differs or could not be computed again.
    """
    from samg_ros.bags.bag import open_bag
    from samg_ros.bags.replay.sent import compare_commands
    from samg_ros.files.outputs import write_json
    from samg_ros.rl.evaluation.policy import load_policy

    policy = load_policy(args.checkpoint, args.device)
    masker = policy.masker(args.device) if args.mask_again else None
    maskers = None if masker is None else {policy.cameras[0]: masker,
                                           **policy.more_maskers(args.device)}
    found = compare_commands(open_bag(args.bag), policy, args.command, maskers,
                             str(args.workspace or ''), args.image)
    print(f'{found.commands} commands in {found.sessions} sessions, {found.equal} of them equal '
          'to the bit')
    if found.unseen:
        print(f'{found.unseen} commands were recorded before the policy was enabled in the '
              'recording; they are not compared')
    if found.lost:
        print(f'{found.lost} events could not be followed: a frame, or the moment of enabling, '
              'is not recorded')
    if args.json:
        write_json(args.json, asdict(found))
    return 0 if found.equal == found.commands > 0 else 1
