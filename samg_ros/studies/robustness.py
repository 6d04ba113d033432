# SPDX-License-Identifier: Apache-2.0
"""`samg study robustness`: masks and returns against how strongly object and camera are changed."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

import numpy as np

from samg_ros.arguments import names, number
from samg_ros.evaluation.episodes import standard_error
from samg_ros.evaluation.page import Section, Shown
from samg_ros.evaluation.plots import against
from samg_ros.evaluation.tables import Table, figure
from samg_ros.masking import Masker, MaskerSettings
from samg_ros.rl.evaluation.policy import load_policy
from samg_ros.rl.evaluation.scores import Score, Summary, summarise
from samg_ros.sim.reference import render_reference
from samg_ros.sim.visual.nuisances import Nuisances
from samg_ros.studies.study import Study, add_study_arguments

KINDS = ('body_colour', 'body_size', 'double', 'cover', 'camera')
"""The object recoloured, rescaled, doubled, partly covered; the camera moved."""
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
Condition = tuple[str, float]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg study robustness`."""
    def strengths(text: str) -> list[float]:
        return [number(0, 1)(strength) for strength in names(text)]

    add_study_arguments(parser, 'robustness', 'masked')
    parser.add_argument('--nuisance', type=names, action='extend', metavar='NAME[,NAME]',
                        help=f'what is changed ({",".join(KINDS)})')
    parser.add_argument('--strength', type=strengths, action='extend', metavar='S[,S]',
                        help='0 to 1 (0,0.25,0.5,0.75,1)')


def run(args: argparse.Namespace) -> int:
    """Run `samg study robustness`."""
    args.trial_settings = args.trial_settings or ['train']
    study = Study(args, 'robustness')
    conditions = [(kind, strength) for kind in args.nuisance or KINDS
                  for strength in sorted(set(args.strength or STRENGTHS))]
    for kind, strength in conditions:
        Nuisances.of({kind: strength})
    for task in study.tasks:
        for setting in study.trials.settings:
            _score_masks(study, task, setting, conditions)
    if not args.masks_only:
        if not study.policies:
            finished = study.train(study.plan(args.source or ['masked']))
            study.policies = {str(run.folder): load_policy(run.folder, args.device)
                              for run in finished}
        _score_policies(study, conditions)
    return study.finish('Robustness', 'Masks and returns against how strongly the object and the '
                        'camera are changed; 0 is the unchanged task, 1 the full strength of '
                        '`sim/visual/nuisances.py`.')


def _score_masks(study: Study, task: str, setting: str, conditions: Sequence[Condition]) -> None:
    masker = Masker.load(study.args.model, MaskerSettings(), study.args.device, study.args.weights)
    masker.fit(render_reference(task))
    rows = {}
    for kind, strength in _once(conditions):
        frames = study.frames(task, setting, nuisances={kind: strength})
        result = study.score_masks(masker, frames, nuisance=kind, strength=strength)
        rows[kind, strength] = (float(result.iou.mean()), standard_error(result.iou.tolist()))
    found = _filled(rows, conditions)
    study.sections.append(Section(
        f'Masks: {task}, {setting}', _table(found, 'IoU', '.3f'),
        [Shown(against(_series(found), 'strength', 'mask IoU', 1.0),
               'Mean IoU of frames of random rollouts, and its standard error.')]))


def _score_policies(study: Study, conditions: Sequence[Condition]) -> None:
    found: dict[tuple[str, str, str], dict[Condition, Summary]] = {}
    for kind, strength in _once(conditions):
        scores: list[Score] = study.try_policies(nuisances={kind: strength})
        study.records += [{'what': 'policy', 'nuisance': kind, 'strength': strength,
                           **score.record()} for score in scores]
        for summary in summarise(scores):
            key = (summary.task, summary.policy, summary.setting)
            found.setdefault(key, {})[kind, strength] = summary
            study.summary.append({'nuisance': kind, 'strength': strength, **summary.record()})
    for key, summaries in found.items():
        rows = _filled({condition: (summary.mean_return, summary.error[0])
                        for condition, summary in summaries.items()}, conditions)
        shown = [Shown(against(_series(rows), 'strength', 'return'),
                       'Mean return and its standard error.')]
        ious = {condition: (float(np.mean(summary.ious)), 0.0)
                for condition, summary in summaries.items() if summary.ious}
        if ious:
            shown.append(Shown(against(_series(_filled(ious, conditions)), 'strength',
                                       'mask IoU', 1.0), 'Mask IoU in the same episodes.'))
        study.sections.append(Section(f'Returns: {", ".join(key)}', _table(rows, 'return', '.1f'),
                                      shown))


def _once(conditions: Sequence[Condition]) -> list[Condition]:
    """Leave out all but the first of the conditions of strength 0, which are one and the same."""
    zero = next((condition for condition in conditions if condition[1] == 0), None)
    return [condition for condition in conditions if condition[1] != 0 or condition == zero]


def _filled(found: Mapping[Condition, tuple[float, float]], conditions: Sequence[Condition],
            ) -> dict[Condition, tuple[float, float]]:
    """Undo `_once`."""
    zero = next((value for (_, strength), value in found.items() if strength == 0), None)
    return {condition: found[condition] if zero is None or condition[1] != 0 else zero
            for condition in conditions}


def _series(found: Mapping[Condition, tuple[float, float]],
            ) -> dict[str, tuple[list[float], list[float], list[float]]]:
    series: dict[str, tuple[list[float], list[float], list[float]]] = {}
    for (kind, strength), (value, error) in found.items():
        where, values, errors = series.setdefault(kind, ([], [], []))
        where.append(strength)
        values.append(value)
        errors.append(error)
    return series


def _table(found: Mapping[Condition, tuple[float, float]], name: str, form: str) -> Table:
    """Return one line a nuisance and one column a strength."""
    strengths = list(dict.fromkeys(strength for _, strength in found))
    rows = tuple((kind, *(figure(values[strengths.index(s)], form) for s in strengths))
                 for kind, (_, values, _) in _series(found).items())
    return Table((f'{name} at strength', *(f'{s:g}' for s in strengths)), rows, words=1)
