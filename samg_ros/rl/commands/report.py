# SPDX-License-Identifier: Apache-2.0
"""`samg report`: runs side by side on one page, finished or not.

It reads what the runs have left on disk and runs nothing: learning curves from metrics.csv, returns
and masks from evaluation.json or the trials of a sweep, and what each policy looks for from its
checkpoint.
"""

from __future__ import annotations

import argparse
import os
import sys
import webbrowser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct, to_builtins

from samg_ros.arguments import OutputFolder, add_json, path_argument
from samg_ros.errors import ConfigError, ReportError, SamgError
from samg_ros.evaluation.episode_files import load_episodes
from samg_ros.evaluation.episodes import EpisodeResults, View
from samg_ros.evaluation.figures_report import Figures
from samg_ros.evaluation.page import Section, Shown, episode_strips
from samg_ros.evaluation.plots import figures_by_setting, learning_curves
from samg_ros.evaluation.tables import Table, figure
from samg_ros.files.schema import read_json
from samg_ros.masking import apply_mask
from samg_ros.rl.evaluation.episodes import EVALUATION_NAME
from samg_ros.rl.sweeps.runs import TRIALS_NAME
from samg_ros.rl.training.checkpoint import CHECKPOINT_NAME, Checkpoint, load_checkpoint
from samg_ros.rl.training.metrics import read_metrics

LAST_EPISODES = 10
"""Over which the return of training is averaged, as an evaluation's is over 10 episodes."""


@dataclass(frozen=True, eq=False)
class FoundRun:
    """What a run has left on disk."""

    name: str
    folder: Path
    checkpoint: Checkpoint
    metrics: Sequence[Mapping[str, float]]
    results: Sequence[Mapping[str, Any]]
    """Figures of `EpisodeResults.to_dict` by setting; empty for a run that was not evaluated."""
    episodes: Mapping[str, EpisodeResults]
    """With moments to show, by setting."""

    @property
    def task(self) -> str:
        """Name of its task."""
        return self.checkpoint.config.task

    @property
    def training_return(self) -> float | None:
        """Mean return of the last episodes of its training; None before the first."""
        returns = [row['episode_return'] for row in self.metrics if 'episode_return' in row]
        return float(np.mean(returns[-LAST_EPISODES:])) if returns else None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg report`."""
    parser.add_argument('runs', nargs='+', type=path_argument, metavar='RUN',
                        help='run folder, or a folder of run folders')
    parser.add_argument('--out', action=OutputFolder, default=Path('report'), metavar='DIR',
                        help='folder for runs.html, runs.csv and runs.json (default: %(default)s)')
    add_json(parser)
    parser.add_argument('--open', action='store_true', help='open the page in a browser')


def run(args: argparse.Namespace) -> None:
    """Run `samg report`."""
    runs, unreadable = find_runs(args.runs)
    for line in unreadable:
        print(f'left out: {line}', file=sys.stderr)
    figures = side_by_side(runs, unreadable)
    print(figures.text())
    if args.json:
        figures.write_json(args.json)
    page = figures.write(args.out, {'Runs': ', '.join(str(one.folder) for one in runs)})
    print(page)
    if args.open:
        webbrowser.open(page.as_uri())


def find_runs(paths: Sequence[Path]) -> tuple[list[FoundRun], list[str]]:
    """Return the runs in some folders, and a line for each that cannot be read.

    Raises:
        ConfigError: if a path holds no run, or none of the runs can be read.
    """
    folders: dict[Path, None] = {}
    for path in paths:
        found = sorted(file.parent for file in path.rglob(CHECKPOINT_NAME)) if path.is_dir() else []
        if not found:
            raise ConfigError(f'{path}: no run is there; give a folder with {CHECKPOINT_NAME}, or '
                              'one of such folders')
        folders |= dict.fromkeys(found)
    runs, unreadable = [], []
    for folder, name in zip(folders, _names(list(folders)), strict=True):
        try:
            runs.append(_read(folder, name))
        except SamgError as error:
            unreadable.append(str(error))
    if not runs:
        raise ConfigError(f'none of the runs can be read: {unreadable[0]}')
    return runs, unreadable


def side_by_side(runs: Sequence[FoundRun], unreadable: Sequence[str] = ()) -> Figures:
    """Return the page of some runs, at least one."""
    sections = [_overview(runs), *_learning(runs), *_returns(runs), *_masks(runs)]
    intro = f'{len(runs)} runs side by side, as they are on disk now.'
    if unreadable:
        intro += f' Left out: {"; ".join(unreadable)}.'
    records = [record for one in runs for record in _records(one)]
    return Figures('runs', 'Runs side by side', intro, sections, records,
                   [{'run': one.name, 'task': one.task, 'training_return': one.training_return,
                     **_progress(one)} for one in runs])


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' paths, without what all of them have in common."""
    if len(folders) == 1:
        return [folders[0].resolve().name]
    shared = os.path.commonpath([folder.resolve() for folder in folders])
    return [str(folder.resolve().relative_to(shared)) for folder in folders]


class _Result(Struct):
    """Figures of one visual setting, as `samg eval policy` writes them."""

    setting: str
    mean_return: float
    return_error: float | None = None
    success_rate: float | None = None
    mean_iou: float | None = None
    iou_percentile_5: float | None = None


class _Evaluation(Struct):
    """What is used of an evaluation file."""

    results: dict[str, _Result]


def _read(folder: Path, name: str) -> FoundRun:
    checkpoint = load_checkpoint(folder)
    results: list[Mapping[str, Any]] = []
    episodes: dict[str, EpisodeResults] = {}
    if (folder / TRIALS_NAME).is_file():
        tried, _ = load_episodes(folder / TRIALS_NAME)
        results = [one.to_dict() for one in tried]
        episodes = {one.setting: one for one in tried if one.strip}
    elif (folder / EVALUATION_NAME).is_file():
        found = read_json(folder / EVALUATION_NAME, _Evaluation, ReportError)
        results = [to_builtins(one) for one in found.results.values()]
    return FoundRun(name, folder, checkpoint, read_metrics(folder), results, episodes)


def _progress(one: FoundRun) -> dict[str, Any]:
    counters = one.checkpoint.counters
    return {'steps': counters.get('steps', 0), 'of_steps': one.checkpoint.config.steps,
            'seconds': counters.get('seconds', 0.0)}


def _records(one: FoundRun) -> list[dict[str, Any]]:
    config = one.checkpoint.config
    head = {'run': one.name, 'task': one.task, 'preset': config.preset, 'seed': config.seed,
            'source': config.observation.source, 'training_return': one.training_return}
    names = ('setting', 'mean_return', 'return_error', 'success_rate', 'mean_iou',
             'iou_percentile_5')
    return [head | {name: result.get(name) for name in names}
            for result in one.results or [{}]]


def _overview(runs: Sequence[FoundRun]) -> Section:
    rows = []
    for one in runs:
        config, done = one.checkpoint.config, _progress(one)
        rows.append((one.name, one.task, config.observation.source, config.preset,
                     str(config.seed), f'{done["steps"]:,} of {done["of_steps"]:,}',
                     f'{done["seconds"] / 60:.0f}', figure(one.training_return, '.1f')))
    return Section('Training', Table(('run', 'task', 'sees', 'preset', 'seed', 'steps', 'minutes',
                                      'return'), tuple(rows), words=4),
                   words=f'Return: mean of the last {LAST_EPISODES} episodes of training.')


def _by_task(runs: Sequence[FoundRun]) -> dict[str, list[FoundRun]]:
    tasks: dict[str, list[FoundRun]] = {}
    for one in runs:
        tasks.setdefault(one.task, []).append(one)
    return tasks


def _learning(runs: Sequence[FoundRun]) -> list[Section]:
    plots = []
    for task, own in _by_task([one for one in runs if one.training_return is not None]).items():
        curves = {one.name: [one.metrics] for one in own}
        plots.append(Shown(learning_curves(curves), f'{task}: return of training episodes, as '
                           'running mean.'))
    return [Section('Learning', plots=plots)] if plots else []


def _returns(runs: Sequence[FoundRun]) -> list[Section]:
    known = [one for one in runs if one.results]
    missing = [str(one.folder) for one in runs if not one.results]
    words = f'Not evaluated yet: {", ".join(missing)}; `samg eval policy RUN`.' if missing else ''
    if not known:
        return [Section('Returns by setting', words=words)]
    rows, plots = [], []
    for task, own in _by_task(known).items():
        bars = {(one.name, result['setting']): (result['mean_return'],
                                                result.get('return_error') or 0.0)
                for one in own for result in one.results}
        plots.append(Shown(figures_by_setting(bars, 'return'),
                           f'{task}: mean return and standard error.'))
        rows += [(one.name, result['setting'],
                  f'{result["mean_return"]:.1f} ± {result.get("return_error") or 0.0:.1f}',
                  figure(result.get('success_rate'), '.0%'), figure(result.get('mean_iou')),
                  figure(result.get('iou_percentile_5'))) for one in own for result in one.results]
    head = ('run', 'setting', 'return', 'success', 'mask IoU', 'IoU, 5th %')
    return [Section('Returns by setting', Table(head, tuple(rows)), plots, words)]


def _masks(runs: Sequence[FoundRun]) -> list[Section]:
    """What each policy looks for, and what camera and policy saw where episodes were kept."""
    shown: dict[str, EpisodeResults] = {}
    for one in runs:
        reference = one.checkpoint.reference
        if reference is not None:
            mask: Any = reference.mask  # apply_mask takes arrays of one kind
            view = View(reference.image, mask, apply_mask(reference.image, mask))
            shown[f'{one.name}: the reference'] = EpisodeResults('', (0.0,), strip=(view,))
        for setting, results in one.episodes.items():
            shown[f'{one.name}: {setting}'] = results
    return [Section('Masks', strips=episode_strips(shown))] if shown else []
