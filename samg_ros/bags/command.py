# SPDX-License-Identifier: Apache-2.0
"""`samg eval bag`: a recorded bag in, figures, a page, a video and a bag of masks out."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from samg_ros.arguments import OutputFile, add_json, add_out, add_seed, optional_path, path_argument
from samg_ros.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from samg_ros.arm.joint_limits import JointLimits
    from samg_ros.bags.bag import Bag
    from samg_ros.bags.topics import Topics
    from samg_ros.masking import Masker
    from samg_ros.rl.evaluation.policy import Policy

BAG_NAME = 'masks'
INTERFACES = ('position', 'velocity')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg eval bag`."""
    parser.add_argument('bag', type=path_argument, metavar='BAG',
                        help='folder with metadata.yaml, or a .mcap or .db3 file')
    parser.add_argument('--reference', type=optional_path, default=None, metavar='PATH',
                        help="reference folder or image (the checkpoint's)")
    parser.add_argument('--checkpoint', type=optional_path, default=None, metavar='PATH',
                        help='trained policy: masks as in its training, and replays its actions')
    parser.add_argument('--model', default=None, help='mask model (mini)')
    parser.add_argument('--weights', default=None, metavar='FILE', help='its weights')
    parser.add_argument('--device', default='cpu', help="'cpu' or 'cuda' (%(default)s)")
    parser.add_argument('--image', default=None, metavar='TOPIC', help='camera (the only one)')
    parser.add_argument('--truth', default=None, metavar='TOPIC',
                        help='true masks (segmentation beside the camera)')
    parser.add_argument('--joint-states', default=None, metavar='TOPIC',
                        help='for a policy that sees joints (joint_states)')
    parser.add_argument('--command', default=None, metavar='TOPIC',
                        help='recorded actions (command)')
    add_out(parser, f'write the page, a video, the figures and the bag {BAG_NAME}/ there')
    parser.add_argument('--criteria', type=path_argument, default=None, metavar='YAML',
                        help='bounds of the figures; the exit status is 1 if one is not kept')
    parser.add_argument('--junit', action=OutputFile, default=None, metavar='FILE.xml',
                        help='write what became of each criterion, as JUnit XML')
    parser.add_argument('--frame-lines', action=OutputFile, default=None, metavar='FILE.jsonl',
                        help='write the figures of each frame, a line of JSON for each')
    parser.add_argument('--limits', type=path_argument, default=None, metavar='YAML',
                        help='joint limits: counts the recorded commands that are beyond one')
    parser.add_argument('--command-interface', default='position', choices=INTERFACES,
                        help='what recorded commands are, for --limits (%(default)s)')
    add_json(parser)
    add_seed(parser, 'of the fit to the reference')


def run(args: argparse.Namespace) -> int:
    """Run `samg eval bag`.

    Returns:
        0, or 1 if a criterion is not kept.
    """
    import contextlib

    from samg_ros.arm.joint_limits import load_joint_limits
    from samg_ros.bags.bag import open_bag
    from samg_ros.bags.criteria import judge, load_criteria, write_junit
    from samg_ros.bags.evaluate import MaskedFrame, evaluate_bag
    from samg_ros.bags.output import MaskBag
    from samg_ros.bags.report import OFFLINE, VIDEO_NAME, present
    from samg_ros.bags.topics import find_more, find_topics
    from samg_ros.evaluation.pictures import Video
    from samg_ros.files.outputs import make_folder, write_text
    from samg_ros.rl.evaluation.policy import load_policy

    if args.junit and not args.criteria:
        raise ConfigError('--junit writes what became of criteria; give --criteria too')
    criteria = load_criteria(args.criteria) if args.criteria else ()
    limits = load_joint_limits(args.limits) if args.limits else ()
    bag = open_bag(args.bag)
    policy = load_policy(args.checkpoint, args.device) if args.checkpoint else None
    more = () if policy is None else policy.more_cameras
    topics = find_topics(bag, args.image, args.truth, args.joint_states, args.command, more)
    more_topics = find_more(bag, more, topics.image)
    if limits and topics.command is None:
        raise ConfigError('the bag has no commands to compare with the limits; name their topic '
                          'with --command')
    masker, more_maskers = _maskers(args, policy)
    with contextlib.ExitStack() as stack:
        sink = None
        if args.out is not None:
            masks = stack.enter_context(MaskBag(make_folder(args.out) / BAG_NAME))
            video = stack.enter_context(Video(args.out / VIDEO_NAME))

            def sink(made: MaskedFrame) -> None:
                masks.add(made.header, made.log_time_ns, made.view.mask, made.view.masked,
                          made.action)
                video.add(made.view)

        result = evaluate_bag(bag, topics, masker, policy, sink, progress=True,
                              more_maskers=more_maskers)
    present(result, bag, topics, args.out, args.json, {
        'Command': shlex.join(['samg', *sys.argv[1:]]),
        'Topics': ', '.join((*topics.all, *more_topics)),
        'Masker': json.dumps(masker.describe()) if masker else 'none: raw frames',
        'Policy': args.checkpoint or 'none'}, OFFLINE)
    if args.frame_lines is not None:
        write_text(args.frame_lines, ''.join(f'{json.dumps(line)}\n' for line in result.lines()))
    beyond = _beyond_limits(args, bag, topics, limits)
    for name, count in beyond.items():
        print(f'{name} {count}')
    verdicts = judge(criteria, {**result.summary(), **beyond})
    for verdict in verdicts:
        print(f'{"passed" if verdict.passed else "FAILED"}  {verdict.words}')
    if args.junit is not None:
        write_junit(args.junit, str(args.bag), verdicts)
    return 0 if all(verdict.passed for verdict in verdicts) else 1


def _beyond_limits(args: argparse.Namespace, bag: Bag, topics: Topics,
                   limits: Sequence[JointLimits]) -> dict[str, int]:
    """Return how many recorded commands are beyond a limit, as a figure; nothing without limits."""
    from samg_ros.bags.limits import count_excesses, read_commands

    if not limits or topics.command is None:
        return {}
    times, commands = read_commands(bag, topics.command, len(limits))
    return {'beyond_limits': count_excesses(times, commands, limits,
                                            args.command_interface).total()}


def _maskers(args: argparse.Namespace, policy: Policy | None
             ) -> tuple[Masker | None, dict[str, Masker]]:
    """Return the fitted masker of the camera, and those of a policy's further cameras."""
    from samg_ros.masking import Masker, MaskerSettings, Reference

    reference = Reference.load(args.reference) if args.reference else None
    if policy is not None and policy.spec.source == 'masked':
        if args.model or args.weights:
            raise ConfigError('a policy is replayed behind the masker of its training: leave out '
                              '--model and --weights, or --checkpoint')
        if reference is None:
            return policy.masker(args.device), policy.more_maskers(args.device)
        if policy.masker_description is None:
            raise CheckpointError('the checkpoint does not say which masker it was trained behind')
        masker = Masker.from_description(policy.masker_description, args.device).fit(reference)
        return masker, dict.fromkeys(policy.more_cameras, masker)  # as `perception` shares it
    if reference is None:
        if policy is None:
            raise ConfigError('frames are masked with a reference: give --reference DIR, or '
                              '--checkpoint of a policy that carries one')
        return None, {}
    masker = Masker.load(args.model or 'mini', MaskerSettings(seed=args.seed), args.device,
                         args.weights)
    return masker.fit(reference), {}
