# SPDX-License-Identifier: Apache-2.0
"""`samg study annotation`: what clicked points on the reference are worth, 0 to 5 of them.

Points stand in the middle of the largest bodies, as a person would click; where there are more
points than bodies, the next ones lie where the object is farthest from all before.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from samg_ros.arguments import whole_numbers
from samg_ros.errors import ConfigError
from samg_ros.evaluation.mask_quality.scores import MaskScores
from samg_ros.masking import Masker, MaskerSettings, Reference
from samg_ros.rl.commands.sweep import finished_scores
from samg_ros.rl.evaluation.scores import Score
from samg_ros.rl.evaluation.trials import score_policy
from samg_ros.sim.reference import best_view, choose_points, render_reference
from samg_ros.studies.study import Study, add_study_arguments

if TYPE_CHECKING:
    from samg_ros.rl.evaluation.policy import Policy

POINTS = (0, 1, 3, 5)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg study annotation`."""
    add_study_arguments(parser, 'annotation', 'masked')
    parser.add_argument('--points', type=whole_numbers, action='extend', metavar='N[,N]',
                        help=f'how many ({",".join(map(str, POINTS))})')


def run(args: argparse.Namespace) -> int:
    """Run `samg study annotation`."""
    study = Study(args, 'annotation')
    counts = args.points or list(POINTS)
    if (args.source or ['masked']) != ['masked']:
        raise ConfigError('points matter to masks alone; leave out --source')
    references = {(task, count): clicked_reference(task, count)
                  for task in study.tasks for count in counts}
    results: dict[tuple[str, ...], MaskScores] = {}
    for task in study.tasks:
        for setting in study.trials.settings:
            frames = study.frames(task, setting)
            for count in counts:
                masker = Masker.load(args.model, MaskerSettings(), args.device, args.weights)
                results[task, _words(count), setting] = study.score_masks(
                    masker.fit(references[task, count]), frames, points=count)
    study.keep_masks('Masks', ('task', 'clicked', 'setting'), results)
    if study.policies and not args.masks_only:
        study.keep_scores([score for given, policy in study.policies.items() for count in counts
                           for score in _refitted(study, given, policy, count)])
    elif not args.masks_only:
        study.keep_scores(_trained(study, references))
    return study.finish('Annotation', 'What clicked points on the reference image are worth to '
                        'the masks, and to policies behind them.')


def clicked_reference(task: str, count: int, size: int = 84, seed: int = 0) -> Reference:
    """Return a rendered reference with clicked points.

    Args:
        task: see `sim.tasks`.
        count: how many points are clicked.
        size: side of the image in pixels.
        seed: of the pose.

    Raises:
        SamgError: if the reference cannot be rendered.
    """
    step, bodies = best_view(task, size, size, seed)
    assert step.mask is not None
    in_view = len(np.unique(bodies[step.mask]))
    points = choose_points(bodies, step.mask, min(count, in_view))
    pixels = np.argwhere(step.mask)[:, ::-1]
    while len(points) < count:
        if not len(points):
            raise ConfigError(f"the object of '{task}' is not in view; there is nothing to click")
        distance = np.linalg.norm(pixels[:, None] - points[None], axis=2).min(axis=1)
        points = np.vstack([points, pixels[distance.argmax()]])
    return render_reference(task, size, size, seed, points=points.tolist())


def _words(count: int) -> str:
    return '1 point' if count == 1 else f'{count} points'


def _trained(study: Study, references: dict[tuple[str, int], Reference]) -> list[Score]:
    """Train a policy behind each number of points."""
    runs = []
    for (task, count), reference in references.items():
        folder: Path = reference.save(study.root / 'references' / f'{task}-{count}-points',
                                      overwrite=True)
        runs += study.plan(['masked'], tasks=[task], suffix=f'{count}-points',
                           reference=folder, variant=_words(count))
    return finished_scores(study.train(runs))


def _refitted(study: Study, given: str, policy: Policy, count: int) -> list[Score]:
    """Score a policy whose reference has `count` clicked points instead of its own."""
    if policy.reference is None or policy.masker_description is None:
        raise ConfigError(f"'{given}' sees {policy.spec.source} frames; points matter to a policy "
                          'on masked frames')
    height = policy.reference.image.shape[0]
    clicked = clicked_reference(policy.task, count, height, policy.config.seed)
    if not np.array_equal(clicked.image, policy.reference.image):
        raise ConfigError(f"the reference of '{given}' was not rendered by its task and seed, so "
                          'it is not known where to click; train it with a rendered one')
    masker = Masker.from_description(policy.masker_description, study.args.device).fit(clicked)
    return score_policy(given, policy, study.trials, masker=masker, variant=_words(count))
