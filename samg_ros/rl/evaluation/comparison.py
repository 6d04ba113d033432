# SPDX-License-Identifier: Apache-2.0
"""Scores of policies as figures to show: table, plots, strips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from samg_ros.evaluation.episodes import EpisodeResults
from samg_ros.evaluation.figures_report import Figures
from samg_ros.evaluation.page import Section, Shown, episode_strips
from samg_ros.evaluation.plots import figures_by_setting, iou_by_setting, learning_curves
from samg_ros.rl.evaluation.scores import Score, Summary, score_table, summarise
from samg_ros.rl.training.metrics import read_metrics


def compare(scores: Sequence[Score], name: str = 'policies',
            title: str = 'Policies in front of backgrounds', learning: bool = False) -> Figures:
    """Return the figures of a comparison.

    Args:
        scores: at least one.
        name: of the files.
        title: of the page.
        learning: show how they learned too; their checkpoints are run folders.
    """
    summaries = summarise(scores)
    return Figures(
        name, title, 'Returns of trained policies in several settings, and their masks in the same '
        'episodes.',
        [returns_section(summaries), *([learning_section(summaries)] if learning else []),
         *strip_sections(summaries)],
        [score.record() for score in scores], [summary.record() for summary in summaries])


def returns_section(summaries: Sequence[Summary]) -> Section:
    """Return the table of policies and its plots."""
    returns = {(f'{summary.task}, {summary.policy}', summary.setting):
               (summary.mean_return, summary.error[0]) for summary in summaries}
    plots = [Shown(figures_by_setting(returns, 'return'),
                   'Mean return and standard error, over runs where there are several.')]
    ious = {(f'{summary.task}, {summary.policy}', summary.setting): np.array(summary.ious)
            for summary in summaries if summary.ious}
    if ious:
        plots.append(Shown(iou_by_setting(ious), 'Mask IoU in the same episodes: median, '
                           'quartiles, 5th and 95th percentile of frames.'))
    words = ('Of train: share of the return, of the successes where the task knows them, that is '
             'left of what the same policy has in the setting train.')
    return Section('Returns', score_table(summaries), plots, words)


def learning_section(summaries: Sequence[Summary]) -> Section:
    """Return how the runs of policies learned, one plot a task, from their run folders."""
    curves: dict[str, dict[str, list[list[dict[str, float]]]]] = {}
    for summary in summaries:
        folders = dict.fromkeys(score.checkpoint for score in summary.scores)
        curves.setdefault(summary.task, {})[summary.policy] = [
            read_metrics(folder) for folder in folders]
    return Section('Learning', plots=[
        Shown(learning_curves(policies), f'{task}: return of training episodes, with exploration '
              'noise, as running mean; a line a run.') for task, policies in curves.items()])


def strip_sections(summaries: Sequence[Summary]) -> list[Section]:
    """Return what camera and policies saw, one section a task."""
    shown: dict[str, dict[str, EpisodeResults]] = {}
    for summary in summaries:
        shown.setdefault(summary.task, {})[f'{summary.policy}, {summary.setting}'] = \
            summary.scores[0].result
    return [Section(f'What camera and policy see: {task}', strips=episode_strips(episodes))
            for task, episodes in shown.items()]
