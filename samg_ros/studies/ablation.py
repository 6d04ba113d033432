# SPDX-License-Identifier: Apache-2.0
"""`samg study ablation`: what masking is worth to a policy, and each kind of features to masks.

Policies on raw frames, on masked ones and on frames masked by the truth, which is what perfect
masks would give; masks by the descriptors, by the segmenter's own embedding, and by both.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from samg_ros.arguments import names
from samg_ros.errors import ConfigError
from samg_ros.evaluation.mask_quality.scores import MaskScores
from samg_ros.masking import Masker, MaskerSettings
from samg_ros.masking.settings import FEATURES
from samg_ros.rl.commands.sweep import finished_scores
from samg_ros.rl.sweeps.runs import Run
from samg_ros.sim.reference import render_reference
from samg_ros.studies.study import Study, add_study_arguments

SOURCES = ('raw', 'masked', 'truth')
CHOICES = {**{name: (name,) for name in FEATURES}, 'both': FEATURES}
"""Features by the name of the choice."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg study ablation`."""
    add_study_arguments(parser, 'ablation', ','.join(SOURCES))
    parser.add_argument('--features', type=names, action='extend', metavar='NAME[,NAME]',
                        help=f'what masks are made by ({",".join(CHOICES)})')


def run(args: argparse.Namespace) -> int:
    """Run `samg study ablation`."""
    study = Study(args, 'ablation')
    chosen = args.features or list(CHOICES)
    for name in chosen:
        if name not in CHOICES:
            raise ConfigError(f"features '{name}' are not known; choose from {', '.join(CHOICES)}")
    runs = [] if study.policies or args.masks_only else _plan(study, chosen)
    _score_masks(study, chosen)
    if study.policies and not args.masks_only:
        study.keep_scores(study.try_policies())
    elif runs:
        study.keep_scores(finished_scores(study.train(runs)))
    return study.finish(
        'Ablation', 'What masking is worth to a policy, beside perfect masks as the ceiling, and '
        'what each kind of features is worth to the masks.')


def _plan(study: Study, chosen: Sequence[str]) -> list[Run]:
    """Return the runs: one a source, and of the masked ones one a choice of features."""
    runs = []
    for source in study.args.source or SOURCES:
        if source != 'masked':
            runs += study.plan([source])
            continue
        for name in chosen:
            runs += study.plan([source], suffix='' if name == 'both' else name,
                               masker_settings={'features': list(CHOICES[name])})
    return runs


def _score_masks(study: Study, chosen: Sequence[str]) -> None:
    results: dict[tuple[str, ...], MaskScores] = {}
    for task in study.tasks:
        reference = render_reference(task)
        maskers = {name: Masker.load(study.args.model, MaskerSettings(features=CHOICES[name]),
                                     study.args.device, study.args.weights).fit(reference)
                   for name in chosen}
        for setting in study.trials.settings:
            frames = study.frames(task, setting)
            for name, masker in maskers.items():
                results[task, name, setting] = study.score_masks(masker, frames, features=name)
    study.keep_masks('Masks by features', ('task', 'features', 'setting'), results)
