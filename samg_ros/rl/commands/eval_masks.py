# SPDX-License-Identifier: Apache-2.0
"""`samg eval masks`: tasks x settings, or policies x settings, a table, a page of worst frames."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from samg_ros.arguments import (
    add_json,
    add_out,
    add_seed,
    names,
    number,
    optional_path,
    path_argument,
    refuse_unused,
    whole,
)
from samg_ros.errors import ConfigError
from samg_ros.evaluation.mask_quality.degradations import degraded, parse_degradations, recolour
from samg_ros.evaluation.mask_quality.report import write_mask_report
from samg_ros.evaluation.mask_quality.rollouts import (
    Frames,
    Rollouts,
    collect_frames,
    frames_apart,
)
from samg_ros.evaluation.mask_quality.scores import (
    MaskScores,
    evaluate_masks,
    evaluate_sequence,
    score_table,
)
from samg_ros.evaluation.mask_quality.sequences import PROTOCOLS, load_sequence
from samg_ros.files.outputs import make_folder, write_json
from samg_ros.rl.evaluation.policy import camera_actor, load_policy
from samg_ros.sim.reference import best_view, choose_points, parse_points, render_reference
from samg_ros.sim.render import QUALITIES
from samg_ros.sim.tasks import get_task
from samg_ros.sim.visual.nuisances import Nuisances, parse_nuisance
from samg_ros.sim.visual.settings import get_setting

if TYPE_CHECKING:
    from samg_ros.masking import Masker, Reference

_SIZE = 84
"""Side of a frame in pixels, unless another is asked for."""
_OF_POLICIES = ('task', 'size', 'reference', 'points', 'clicks', 'model', 'weights', 'passes',
                'second_look', 'temporal')
"""Options of what a trained policy has in its checkpoint."""
_OF_TASKS = ('task', 'size', 'reference', 'points', 'clicks', 'setting', 'videos', 'nuisance',
             'frames', 'every', 'quality')
"""Options of rendered frames."""


def find_reference(path: str | Path | None, task: str) -> Path | None:
    """Return the reference of a task.

    Args:
        path: a reference; or a folder of them, by task name or as public `<domain>_0.png`; or
            None.
        task: name of the reference in a folder of several.
    """
    if path is None:
        return None
    path = Path(path)
    for candidate in (path / task, path / f'{get_task(task).domain}_0.png'):
        if not (path / 'image.png').exists() and candidate.exists():
            return candidate
    return path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg eval masks`."""
    parser.add_argument('--task', type=names, action='extend', metavar='NAME[,NAME]',
                        help='tasks (walker_walk)')
    parser.add_argument('--setting', type=names, action='extend', metavar='NAME[,NAME]',
                        help='visual settings (train,video_hard)')
    parser.add_argument('--videos', type=optional_path, default=None, metavar='DIR',
                        help='folder of videos for the video settings (painted ones)')
    parser.add_argument('--nuisance', type=parse_nuisance, action='append', default=[],
                        metavar='KIND=STRENGTH', help='such as light=0.5; may be repeated')
    parser.add_argument('--policy', action='append', default=[], type=optional_path,
                        metavar='CHECKPOINT', help='in episodes of a trained policy, behind its '
                        'own masker, in place of random actions: a checkpoint, run folder, or the '
                        'task of a shipped one; may be repeated')
    parser.add_argument('--sequence', type=path_argument, action='append', default=[],
                        metavar='DIR', help='a recorded sequence, frames/ and masks/, in place '
                        'of tasks; may be repeated')
    parser.add_argument('--degrade', type=parse_degradations, default=[],
                        metavar='KIND:STRENGTH,...', help='also score frames with what a camera '
                        'does to them: jpeg:80,white_balance:0.06,gamma:1.4,noise:8,blur:1.5; '
                        'a + joins two')
    parser.add_argument('--recolour', type=number(0, 1), default=0.0, metavar='SHARE',
                        help="also score frames whose object's colours are multiplied, per "
                        'channel, by 1 - SHARE to 1 + SHARE')
    parser.add_argument('--hide-object', action='store_true',
                        help='take the object out of the frames: every mask should be empty')
    parser.add_argument('--reference', type=optional_path, default=None, metavar='PATH',
                        help='reference, or a folder of them by task (rendered)')
    parser.add_argument('--points', type=parse_points, default=None, metavar="'X,Y X,Y'",
                        help="clicked points in the reference's pixels")
    parser.add_argument('--clicks', type=whole(0), default=None, metavar='N',
                        help='click the N largest bodies of a rendered reference (0)')
    parser.add_argument('--model', default=None, help='mask model (mini)')
    parser.add_argument('--weights', default=None, metavar='FILE', help='its weights')
    parser.add_argument('--device', default='cpu', help="'cpu' or 'cuda' (%(default)s)")
    parser.add_argument('--passes', type=int, choices=(1, 2, 3), default=None,
                        help="decoder passes (the model's)")
    parser.add_argument('--second-look', action=argparse.BooleanOptionalAction,
                        help="mask a crop around what was found again (the model's)")
    parser.add_argument('--temporal', choices=('off', 'prior'), help='prior looks first where '
                        'the object was in the frame before, at most 0.3 s ago (off)')
    parser.add_argument('--frames', type=whole(1), default=None, help='per task and setting (300)')
    parser.add_argument('--every', type=whole(1), default=None, metavar='STEPS',
                        help='agent steps from frame to frame (4, of policies so many that frames '
                        'are spread over whole episodes); 1 to see flicker')
    parser.add_argument('--size', type=whole(16, 4096), default=None,
                        help='side of a frame in pixels (84)')
    parser.add_argument('--quality', choices=QUALITIES, default=None,
                        help='render quality (fast, of policies that of their training)')
    add_seed(parser, 'of poses, actions and videos')
    add_json(parser)
    add_out(parser, 'write the page masks.html and masks.json there')


def run(args: argparse.Namespace) -> None:
    """Run `samg eval masks`."""
    if args.sequence:
        refuse_unused(args, ('policy', *_OF_TASKS),
                      'means nothing to recorded sequences (--sequence)')
    if args.policy:
        refuse_unused(args, _OF_POLICIES, 'is what a policy brings along (--policy)')
    settings = [get_setting(name).name for name in args.setting or ['train', 'video_hard']]
    Nuisances.of(dict(args.nuisance))
    if args.sequence:
        found = _on_sequences(args, _masker(args))
    elif args.policy:
        found = (score for name in args.policy for score in _on_policy(args, name, settings))
    else:
        tasks = [get_task(name).name for name in args.task or ['walker_walk']]
        masker = _masker(args)
        found = (score for task in tasks for score in _on_task(args, masker, task, settings))
    results = list(found)
    print(score_table(results).text())
    figures = [result.summary() for result in results]
    if args.json is not None:
        write_json(args.json, figures)
    if args.out is not None:
        write_json(make_folder(args.out) / 'masks.json', figures)
        print(write_mask_report(args.out, results, _facts(args)))


def _masker(args: argparse.Namespace) -> Masker:
    from samg_ros.masking import Masker, MaskerSettings

    settings = MaskerSettings(passes=args.passes, second_look=args.second_look,
                              temporal=args.temporal or 'off')
    return Masker.load(args.model or 'mini', settings, args.device, args.weights)


def _facts(args: argparse.Namespace) -> dict[str, str]:
    """Return what was evaluated, for the page."""
    facts = {'Command': shlex.join(['samg', *sys.argv[1:]])}
    if args.policy:
        return {**facts, 'Frames': 'of episodes of trained policies, behind their own maskers'}
    reference = 'frames of the sequence' if args.sequence else 'rendered in train'
    return {**facts, 'Model': args.model or 'mini', 'Weights': args.weights or "the package's own",
            'Reference': args.reference or reference}


def _rollouts(args: argparse.Namespace, task: str, setting: str) -> Rollouts:
    return Rollouts(task, setting, args.frames or 300, args.every or 4, args.seed,
                    args.size or _SIZE, args.quality or 'fast', args.videos,
                    dict(args.nuisance) or None, args.hide_object)


def _on_task(args: argparse.Namespace, masker: Masker, task: str,
             settings: list[str]) -> Iterator[MaskScores]:
    """Score a task in its settings, in random rollouts."""
    reference, clicked = _reference(args, task)
    masker.fit(reference)
    for setting in settings:
        frames = collect_frames(_rollouts(args, task, setting))
        yield from _scores(args, masker, frames, clicked)


def _on_policy(args: argparse.Namespace, name: str, settings: list[str]) -> Iterator[MaskScores]:
    """Score the masker of a trained policy in the policy's own episodes."""
    policy = load_policy(name, args.device)
    masker = policy.masker(args.device)
    if masker is None:
        raise ConfigError(f"the policy '{name}' sees {policy.spec.source} frames and no masker's; "
                          'give one that was trained on masked frames')
    config = policy.config
    apart = args.every or frames_apart(get_task(config.task).episode_steps, config.action_repeat)
    for setting in settings:
        rollouts = replace(
            _rollouts(args, config.task, setting), every=apart, size=config.camera_size,
            quality=args.quality or config.quality, action_repeat=config.action_repeat,
            policy=name)
        yield from _scores(args, masker, collect_frames(rollouts, camera_actor(policy, masker)))


def _scores(args: argparse.Namespace, masker: Masker, frames: Frames,
            clicked: Sequence[int] = ()) -> Iterator[MaskScores]:
    """Score frames: as they are, recoloured, and degraded."""
    variants = {'': frames.images}
    if args.recolour:
        variants[f' recolour:{args.recolour:g}'] = recolour(
            frames.images, frames.truths, frames.episodes, args.recolour, args.seed)
    for each in args.degrade:
        variants[f' {each}'] = np.stack(degraded([*frames.images], each, args.seed))
    for label, images in variants.items():
        yield evaluate_masks(masker, replace(frames, images=images), clicked, progress=True,
                             change=label)


def _on_sequences(args: argparse.Namespace, masker: Masker) -> Iterator[MaskScores]:
    """Score recorded sequences by both protocols: as they are, recoloured, and degraded.

    With --hide-object: the frames of the others, which must all have empty masks.
    """
    sequences = [load_sequence(folder) for folder in args.sequence]
    if args.hide_object and len(sequences) < 2:
        raise ConfigError('--hide-object masks the frames of the other sequences; give several by '
                          '--sequence')
    for sequence in sequences:
        if args.hide_object:
            gone = sequence.without_object(each for each in sequences if each is not sequence)
            yield evaluate_sequence(masker, gone, 'first', gone.frames, ' gone')
            continue
        variants: dict[str, Sequence[np.ndarray]] = {'': sequence.frames}
        if args.recolour:
            variants[f' recolour:{args.recolour:g}'] = [
                recolour(frame[None], mask[None], np.array([index]), args.recolour, args.seed)[0]
                for index, (frame, mask) in enumerate(
                    zip(sequence.frames, sequence.masks, strict=True))]
        variants |= {f' {each}': degraded(sequence.frames, each, args.seed)
                     for each in args.degrade}
        for protocol in PROTOCOLS:
            for label, images in variants.items():
                yield evaluate_sequence(masker, sequence, protocol, images, label)


def _reference(args: argparse.Namespace, task: str) -> tuple[Reference, list[int]]:
    """Return a task's reference, and the bodies of its clicked points where they are known."""
    from samg_ros.masking import Reference

    path = find_reference(args.reference, task)
    if path is not None:
        if args.clicks:
            raise ConfigError('--clicks needs a rendered reference; leave out --reference, or give '
                              'points by --points')
        reference = Reference.load(path)
        return (reference if args.points is None else reference.with_points(args.points)), []
    size, quality = args.size or _SIZE, args.quality or 'fast'
    points, clicked = args.points or [], []
    if args.clicks:
        step, bodies = best_view(task, size, size, quality=quality)
        assert step.mask is not None
        points = choose_points(bodies, step.mask, args.clicks).tolist()
        clicked = [int(bodies[int(y), int(x)]) for x, y in points]
    return render_reference(task, size, size, quality=quality,
                            points=points), clicked
