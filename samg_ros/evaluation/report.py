# SPDX-License-Identifier: Apache-2.0
"""One page that shows what a run learned: report.html, with everything in it."""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from samg_ros.evaluation import pictures, plots as plots_of
from samg_ros.evaluation.episodes import EpisodeResults, flatten
from samg_ros.evaluation.page import Section, Shown, Tile, episode_strips, write_page
from samg_ros.evaluation.tables import Table, figure
from samg_ros.progress import duration

REPORT_NAME = 'report.html'
"""Name of the page in a run folder."""

_SOURCES = {'masked': 'masked', 'raw': 'raw', 'truth': 'truth-masked'}


def write_report(
    run_dir: Path | str,
    *,
    config: Mapping[str, Any],
    counters: Mapping[str, Any],
    results: Mapping[str, EpisodeResults],
    random: EpisodeResults | None = None,
    curve: Sequence[Mapping[str, float]] = (),
    facts: Mapping[str, str] | None = None,
) -> Path:
    """Write the page of a run.

    Args:
        run_dir: run folder.
        config: the run's settings, as `TrainConfig.to_dict` gives them.
        counters: 'steps', 'updates', 'episodes' and 'seconds' of its training.
        results: evaluation of the trained policy by visual setting; the others are compared with
            the first.
        random: the random policy in the first setting.
        curve: lines of metrics.csv: 'frames', 'episode_return', 'mask_iou' and others.
        facts: more to say about the run, by name, such as its set-up time and command.

    Returns:
        Path of the page.

    Raises:
        OutputError: if the page cannot be written.
    """
    plots = [
        Shown(plots_of.learning_curve(curve, results, random), 'Return of each training episode, '
              'with exploration noise, and their running mean.')] if curve else []
    plots.append(Shown(plots_of.return_bars(results, random), 'Mean return, standard error, and '
                       'every episode.', wide=False))
    if (ious := plots_of.iou_plot(results)) is not None:
        plots.append(Shown(ious, 'Mask IoU by setting: mask against the simulator’s truth, in the '
                           'same episodes.', wide=False))
    return write_page(
        Path(run_dir) / REPORT_NAME, config['task'],
        f'A visual policy trained on {_SOURCES[config["observation"]["source"]]} frames, tried '
        f'in {" and ".join(results)}.',
        [Section('Learning and results', _table(results, random), plots),
         *(Section(f'What camera and policy see: {name}', strips=episode_strips({'': result}),
                   video=pictures.video(result.video) if result.video else '')
           for name, result in results.items())],
        _facts(config, counters, facts or {}), 'Learning: DrQ-v2, arXiv 2107.09645. TensorBoard '
        'events and metrics.csv lie beside this page.', _tiles(results, random, counters))


def _tiles(results: Mapping[str, EpisodeResults], random: EpisodeResults | None,
           counters: Mapping[str, Any]) -> list[Tile]:
    (home_name, home), *others = results.items()
    tiles = [Tile(f'return in {home_name}', f'{home.mean_return:.0f}',
                  _against_random(home, random))]
    tiles += [Tile(f'return in {name}', f'{result.mean_return:.0f}',
                   f'{_share(result, home)} of {home_name} kept') for name, result in others]
    tiles += [Tile(f'mask IoU in {name}', f'{result.mean_iou:.2f}',
                   f'over {len(flatten(result.mask_ious))} frames')
              for name, result in results.items() if result.mean_iou is not None]
    speed = _speed(counters)
    return [*tiles, Tile('training', duration(counters['seconds']),
                         '' if speed is None else f'{speed:.1f} camera frames/s')]


def _table(results: Mapping[str, EpisodeResults], random: EpisodeResults | None) -> Table:
    home = next(iter(results.values()))
    shown = [('trained', result) for result in results.values()]
    if random is not None:
        shown.append(('random', random))
    rows = []
    for policy, result in shown:
        figures = result.to_dict()
        rows.append((policy, result.setting,
                     f'{result.mean_return:.1f} ± {result.return_error:.1f}', _share(result, home),
                     figure(figures['mean_iou']), figure(figures['iou_percentile_5']),
                     str(len(result.returns))))
    return Table(('policy', 'setting', 'return', 'share kept', 'mask IoU', '5th %', 'episodes'),
                 tuple(rows))


def _facts(
    config: Mapping[str, Any],
    counters: Mapping[str, Any],
    more: Mapping[str, str],
) -> dict[str, str]:
    """What the run was, by name."""
    observation = config['observation']
    repeat = config['action_repeat']
    speed = _speed(counters)
    facts = {
        'Task': config['task'],
        'Preset': config['preset'],
        'Seed': str(config['seed']),
        'Trained in': config['setting'],
        'Policy sees': (
            f'{_SOURCES[observation["source"]]} frames of {config["camera_size"]} pixels as '
            f'{observation["size"]} x {observation["size"]}, {observation["frame_stack"]} stacked'
        ),
        'Agent steps': f'{counters["steps"]:,} (x {repeat} = {counters["steps"] * repeat:,} frames '
        'of the simulation)',
        'Updates': f'{counters["updates"]:,} of {config["batch_size"]} transitions',
        'Training time': duration(counters['seconds']),
        'Speed': '–' if speed is None else f'{speed:.1f} camera frames/s',
        'Machine': f'{os.cpu_count()} CPU cores, {platform.machine()}, Python '
        f'{platform.python_version()}',
    }
    return facts | dict(more)


def _speed(counters: Mapping[str, Any]) -> float | None:
    """Camera frames per second over the whole training."""
    return counters['steps'] / counters['seconds'] if counters['seconds'] else None


def _against_random(result: EpisodeResults, random: EpisodeResults | None) -> str:
    if random is None:
        return ''
    if random.mean_return <= 0:
        return f'random policy {random.mean_return:.0f}'
    ratio = result.mean_return / random.mean_return
    return f'{ratio:.1f} times the random policy’s {random.mean_return:.0f}'


def _share(result: EpisodeResults, home: EpisodeResults) -> str:
    if home.mean_return <= 0:
        return '–'
    return f'{result.mean_return / home.mean_return:.0%}'
