# SPDX-License-Identifier: Apache-2.0
"""`samg eval masks`: tasks x settings, a table, and a page with the worst frames."""

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
    optional_path,
    path_argument,
    whole,
)
from samg_ros.errors import ConfigError
from samg_ros.evaluation.mask_quality.degradations import degraded, parse_degradations, recolour
from samg_ros.evaluation.mask_quality.report import write_mask_report
from samg_ros.evaluation.mask_quality.rollouts import Rollouts, collect_frames
from samg_ros.evaluation.mask_quality.scores import (
    MaskScores,
    evaluate_masks,
    evaluate_sequence,
    score_table,
)
from samg_ros.evaluation.mask_quality.sequences import PROTOCOLS, load_sequence
from samg_ros.files.outputs import make_folder, write_json
from samg_ros.sim.reference import best_view, choose_points, parse_points, render_reference
from samg_ros.sim.render import QUALITIES
from samg_ros.sim.tasks import get_task
from samg_ros.sim.visual.nuisances import Nuisances, parse_nuisance
from samg_ros.sim.visual.settings import get_setting

if TYPE_CHECKING:
    from samg_ros.masking import Masker, Reference


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
    parser.add_argument('--sequence', type=path_argument, action='append', default=[],
                        metavar='DIR', help='a recorded sequence, frames/ and masks/, in place '
                        'of tasks; may be repeated')
    parser.add_argument('--degrade', type=parse_degradations, default=[],
                        metavar='KIND:STRENGTH,...', help='also score frames with what a camera '
                        'does to them: jpeg:80,white_balance:0.06,gamma:1.4,noise:8,blur:1.5; '
                        'a + joins two')
    parser.add_argument('--recolour', type=float, default=0.0, metavar='SHARE',
                        help="also score frames whose object's colours are multiplied, per "
                        'channel, by 1 - SHARE to 1 + SHARE')
    parser.add_argument('--hide-object', action='store_true',
                        help='take the object out of the frames: every mask should be empty')
    parser.add_argument('--reference', type=optional_path, default=None, metavar='PATH',
                        help='reference, or a folder of them by task (rendered)')
    parser.add_argument('--points', type=parse_points, default=None, metavar="'X,Y X,Y'",
                        help="clicked points in the reference's pixels")
    parser.add_argument('--clicks', type=whole(0), default=0, metavar='N',
                        help='click the N largest bodies of a rendered reference (0)')
    parser.add_argument('--model', default='mini', help='mask model (mini)')
    parser.add_argument('--weights', default=None, metavar='FILE', help='its weights')
    parser.add_argument('--device', default='cpu', help="'cpu' or 'cuda' (%(default)s)")
    parser.add_argument('--passes', type=int, choices=(1, 2, 3), default=None,
                        help="decoder passes (the model's)")
    parser.add_argument('--colour-rules', action='store_true',
                        help='use the colour rules, as training on DMControl and Adroit does')
    parser.add_argument('--second-look', action='store_true',
                        help='mask a crop around what was found again')
    parser.add_argument('--frames', type=whole(1), default=300, help='per task and setting (300)')
    parser.add_argument('--every', type=whole(1), default=4, metavar='STEPS',
                        help='agent steps from frame to frame (4); 1 to see flicker')
    parser.add_argument('--size', type=whole(16, 4096), default=84,
                        help='side of a frame in pixels (84)')
    parser.add_argument('--quality', choices=QUALITIES, default='fast', help='render quality')
    add_seed(parser, 'of poses, actions and videos')
    add_json(parser)
    add_out(parser, 'write the page masks.html and masks.json there')


def run(args: argparse.Namespace) -> None:
    """Run `samg eval masks`."""
    from samg_ros.masking import Masker, MaskerSettings

    tasks = [get_task(name).name for name in args.task or ['walker_walk']]
    settings = [get_setting(name).name for name in args.setting or ['train', 'video_hard']]
    nuisances = dict(args.nuisance)
    Nuisances.of(nuisances)
    masker = Masker.load(args.model, MaskerSettings(
        passes=args.passes, second_look=args.second_look,
        colour_rules=args.colour_rules), args.device,
                         args.weights)
    results = [*_on_sequences(args, masker)] if args.sequence else [
        score for task in tasks for score in _on_task(args, masker, task, settings, nuisances)]
    print(score_table(results).text())
    figures = [result.summary() for result in results]
    if args.json is not None:
        write_json(args.json, figures)
    if args.out is not None:
        write_json(make_folder(args.out) / 'masks.json', figures)
        print(write_mask_report(args.out, results, {
            'Command': shlex.join(['samg', *sys.argv[1:]]), 'Model': args.model,
            'Weights': args.weights or "the package's own",
            'Reference': args.reference or 'rendered in train'}))


def _on_task(args: argparse.Namespace, masker: Masker, task: str, settings: list[str],
             nuisances: dict[str, float]) -> Iterator[MaskScores]:
    """Score a task in its settings: as it is, recoloured, and degraded."""
    reference, clicked = _reference(args, task)
    masker.fit(reference)
    for setting in settings:
        frames = collect_frames(Rollouts(
            task, setting, args.frames, args.every, args.seed, args.size, args.quality,
            args.videos, nuisances or None, args.hide_object))
        variants = {'': frames.images}
        if args.recolour:
            variants[f' recolour:{args.recolour:g}'] = recolour(
                frames.images, frames.truths, frames.episodes, args.recolour, args.seed)
        for each in args.degrade:
            variants[f' {each}'] = np.stack(degraded([*frames.images], each, args.seed))
        for label, images in variants.items():
            rollouts = replace(frames.rollouts, setting=setting + label)
            yield evaluate_masks(masker, replace(frames, images=images, rollouts=rollouts),
                                 clicked, progress=True)


def _on_sequences(args: argparse.Namespace, masker: Masker) -> Iterator[MaskScores]:
    """Score recorded sequences by both protocols: as they are, recoloured, and degraded."""
    for folder in args.sequence:
        sequence = load_sequence(folder)
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
                yield evaluate_sequence(masker, sequence, protocol, images, protocol + label)


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
    points, clicked = args.points or [], []
    if args.clicks:
        step, bodies = best_view(task, args.size, args.size, quality=args.quality)
        assert step.mask is not None
        points = choose_points(bodies, step.mask, args.clicks).tolist()
        clicked = [int(bodies[int(y), int(x)]) for x, y in points]
    return render_reference(task, args.size, args.size, quality=args.quality,
                            points=points), clicked
