# SPDX-License-Identifier: Apache-2.0
"""Policies side by side: what episodes of many checkpoints in many settings come to.

Runs that differ in nothing but their seed are one policy trained several times, and the error of
its return is over those runs. Only where there is a single run is it over seeds of episodes, or
over the episodes of one seed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from samg_ros.evaluation.episodes import EpisodeResults, flatten, standard_error
from samg_ros.evaluation.tables import NOTHING, Table, figure
from samg_ros.rl.config import TrainConfig

HOME = 'train'
"""Setting whose return the others are compared with, also for a policy that was trained before
painted videos: what its masks keep of it is the question."""

ERROR_OVER = ('runs', 'seeds', 'episodes')
"""What the error of a return may be over."""


@dataclass(frozen=True, eq=False)
class Score:
    """One checkpoint in one setting, in the episodes of one seed."""

    checkpoint: str
    """Where the policy came from, as it was given."""
    config: TrainConfig
    """Settings of its training."""
    masker: Mapping[str, Any] | None
    """`Masker.describe()` of what it was trained behind."""
    result: EpisodeResults
    variant: str = ''
    """What tells it from others of the same training, such as '3 points'."""

    def record(self) -> dict[str, Any]:
        """Return the figures as one line of a CSV file: plain types, None for what is not known."""
        figures = self.result.to_dict()
        return {
            'checkpoint': self.checkpoint,
            'task': self.config.task,
            'source': self.config.observation.source,
            'variant': self.variant,
            'preset': self.config.preset,
            'train_seed': self.config.seed,
            'setting': figures['setting'],
            'seed': figures['seed'],
            'episodes': len(figures['returns']),
            'mean_return': figures['mean_return'],
            'return_error': figures['return_error'],
            'success_rate': figures['success_rate'],
            'mean_iou': figures['mean_iou'],
            'iou_percentile_5': figures['iou_percentile_5'],
            'frames_per_s': figures['frames_per_s'],
        }


@dataclass(frozen=True, eq=False)
class Summary:
    """One policy, trained once or several times, in one setting."""

    task: str
    policy: str
    """What it sees, and what else tells it from the task's other policies."""
    setting: str
    scores: tuple[Score, ...]
    home: tuple[Score, ...]
    """The same checkpoints in HOME; empty if they were not tried there."""

    @property
    def returns(self) -> list[float]:
        """Return of every episode. A mean hides what falls in some episodes and runs in others."""
        return flatten([score.result.returns for score in self.scores])

    @property
    def mean_return(self) -> float:
        """Mean over runs of their means over episodes."""
        return float(np.mean(_by_run(self.scores, _return_of)))

    @property
    def error(self) -> tuple[float, str]:
        """Standard error of the mean return, and which of ERROR_OVER it is over."""
        runs = _by_run(self.scores, _return_of)
        if len(runs) > 1:
            return standard_error(runs), ERROR_OVER[0]
        if len(self.scores) > 1:
            return standard_error([_return_of(score) for score in self.scores]), ERROR_OVER[1]
        return self.scores[0].result.return_error, ERROR_OVER[2]

    @property
    def success_rate(self) -> float | None:
        """Share of solved episodes; None for tasks that only know rewards."""
        rates = [score.result.success_rate for score in self.scores]
        known = [rate for rate in rates if rate is not None]
        return float(np.mean(known)) if known else None

    @property
    def share_kept(self) -> float | None:
        """Return over that in HOME, success over success for tasks that know it.

        None if it was not tried there, or came to nothing there.
        """
        if not self.home:
            return None
        home = Summary(self.task, self.policy, self.setting, self.home, ())
        ours, theirs = (self.success_rate, home.success_rate)
        if ours is None or theirs is None:
            ours, theirs = self.mean_return, home.mean_return
        return ours / theirs if theirs > 0 else None

    @property
    def ious(self) -> list[float]:
        """Mask IoU of every frame; empty where nothing was masked."""
        return flatten([flatten(score.result.mask_ious) for score in self.scores])

    def record(self) -> dict[str, Any]:
        """Return the figures in plain JSON types."""
        error, over = self.error
        ious = self.ious
        return {
            'task': self.task,
            'policy': self.policy,
            'setting': self.setting,
            'mean_return': self.mean_return,
            'return_error': error,
            'error_over': over,
            'runs': len(_by_run(self.scores, _return_of)),
            'episodes': len(self.returns),
            'returns': self.returns,
            'success_rate': self.success_rate,
            'share_kept': self.share_kept,
            'mean_iou': float(np.mean(ious)) if ious else None,
            'iou_percentile_5': float(np.percentile(ious, 5)) if ious else None,
        }


def summarise(scores: Sequence[Score]) -> list[Summary]:
    """Put the scores of the same policy in the same setting together, in the order they come."""
    kinds: dict[str, dict[str, list[Score]]] = {}
    for score in scores:
        kinds.setdefault(_kind(score), {}).setdefault(score.result.setting, []).append(score)
    names = _names({kind: next(iter(settings.values()))[0] for kind, settings in kinds.items()})
    return [
        Summary(found[0].config.task, names[kind], setting, tuple(found),
                tuple(settings.get(HOME, ())))
        for kind, settings in kinds.items() for setting, found in settings.items()]


def score_table(summaries: Sequence[Summary]) -> Table:
    """Return the figures of policies as a table, one line a policy and setting."""
    rows = []
    successes = any(summary.success_rate is not None for summary in summaries)
    for summary in summaries:
        figures = summary.record()
        rows.append((
            summary.task, summary.policy, summary.setting,
            f'{summary.mean_return:.1f} ± {figures["return_error"]:.1f}', figures['error_over'],
            figure(min(summary.returns), '.1f'),
            *((figure(summary.success_rate, '.0%'),) if successes else ()),
            figure(summary.share_kept, '.0%'), figure(figures['mean_iou']),
            figure(figures['iou_percentile_5']), str(figures['runs']), str(figures['episodes'])))
    return Table(('task', 'sees', 'setting', 'return', 'error over', 'lowest',
                  *(('success',) if successes else ()), 'of train', 'IoU', '5th %', 'runs',
                  'episodes'), tuple(rows), words=3)


def _return_of(score: Score) -> float:
    return score.result.mean_return


def _by_run(scores: Sequence[Score], value: Callable[[Score], float]) -> list[float]:
    runs: dict[str, list[float]] = {}
    for score in scores:
        runs.setdefault(score.checkpoint, []).append(value(score))
    return [float(np.mean(values)) for values in runs.values()]


def _facts(score: Score) -> dict[str, Any]:
    """Return what makes a policy what it is, name by name: all of its training but the seed."""
    facts = score.config.to_dict()
    facts.update(facts.pop('observation'))
    masker = dict(score.masker or {})
    facts.update(masker.pop('settings', {}))
    facts.update(masker)
    facts['trained in'] = facts.pop('setting')
    facts[''] = score.variant
    return {name: value for name, value in facts.items() if name != 'seed'}


def _kind(score: Score) -> str:
    return json.dumps(_facts(score), sort_keys=True)


def _names(examples: Mapping[str, Score]) -> dict[str, str]:
    """Name each kind of policy by what it sees, its variant, and what else differs in its task."""
    names = {}
    for kind, score in examples.items():
        facts = _facts(score)
        rivals = [_facts(other) for other in examples.values()
                  if other.config.task == score.config.task
                  and other.config.observation.source == facts['source']]
        variant = facts.pop('')
        told = [f'{name} {_shown(facts[name])}' for name in sorted(facts)
                if any(rival.get(name) != facts[name] for rival in rivals)]
        names[kind] = ', '.join([facts['source'], *([variant] if variant else []), *told])
    return names


def _shown(value: Any) -> str:
    return '+'.join(map(str, value)) if isinstance(value, list) else str(
        NOTHING if value is None else value)
