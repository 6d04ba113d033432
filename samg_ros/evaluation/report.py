# SPDX-License-Identifier: Apache-2.0
"""One page that shows what a run learned: report.html, with everything in it."""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from samg_ros.evaluation import pictures, plots
from samg_ros.evaluation.episodes import EpisodeResults, flatten
from samg_ros.evaluation.figures_report import strip_rows
from samg_ros.evaluation.page import write_page

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
        results: evaluation of the trained policy by visual setting; the first is the one it was
            trained in, and the others are compared with it.
        random: the random policy in the first setting.
        curve: lines of metrics.csv: 'frames', 'episode_return', 'mask_iou' and others.
        facts: more to say about the run, by name, such as its set-up time and command.

    Returns:
        Path of the page.

    Raises:
        OutputError: if the page cannot be written.
    """
    return write_page(
        Path(run_dir) / REPORT_NAME,
        'report.html.j2',
        task=config['task'],
        tiles=_tiles(results, random, counters),
        curve=plots.learning_curve(curve, results, random) if curve else None,
        returns=plots.return_bars(results, random),
        ious=plots.iou_plot(results),
        rows=_rows(results, random),
        settings=[_setting(result) for result in results.values()],
        facts=_facts(config, counters, facts or {}),
        source=_SOURCES[config['observation']['source']],
    )


def _tiles(
    results: Mapping[str, EpisodeResults],
    random: EpisodeResults | None,
    counters: Mapping[str, Any],
) -> list[dict[str, str]]:
    """The few figures that one looks for first."""
    (home_name, home), *others = results.items()
    tiles = [
        {
            'name': f'return in {home_name}',
            'value': f'{home.mean_return:.0f}',
            'note': _against_random(home, random),
        }
    ]
    for name, result in others:
        tiles.append(
            {
                'name': f'return in {name}',
                'value': f'{result.mean_return:.0f}',
                'note': f'{_share(result, home)} of {home_name} kept',
            }
        )
    for name, result in results.items():
        if result.mean_iou is not None:
            tiles.append(
                {
                    'name': f'mask IoU in {name}',
                    'value': f'{result.mean_iou:.2f}',
                    'note': f'over {len(flatten(result.mask_ious))} frames',
                }
            )
    speed = _speed(counters)
    tiles.append(
        {
            'name': 'training',
            'value': _duration(counters['seconds']),
            'note': '' if speed is None else f'{speed:.1f} camera frames/s',
        }
    )
    return tiles


def _rows(
    results: Mapping[str, EpisodeResults], random: EpisodeResults | None
) -> list[dict[str, str]]:
    """The lines of the table of results."""
    home = next(iter(results.values()))
    rows = []
    for name, result in results.items():
        figures = result.to_dict()
        rows.append(
            {
                'policy': 'trained',
                'setting': name,
                'return': f'{result.mean_return:.1f} ± {result.return_error:.1f}',
                'share': _share(result, home),
                'iou': _number(figures['mean_iou']),
                'low': _number(figures['iou_percentile_5']),
                'episodes': str(len(result.returns)),
            }
        )
    if random is not None:
        rows.append(
            {
                'policy': 'random',
                'setting': random.setting,
                'return': f'{random.mean_return:.1f} ± {random.return_error:.1f}',
                'share': _share(random, home),
                'iou': '–',
                'low': '–',
                'episodes': str(len(random.returns)),
            }
        )
    return rows


def _setting(result: EpisodeResults) -> dict[str, Any]:
    """The pictures of one visual setting."""
    return {
        'name': result.setting,
        'rows': strip_rows(result),
        'video': pictures.video(result.video) if result.video else None,
    }


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
        'Training time': _duration(counters['seconds']),
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


def _number(value: float | None) -> str:
    return '–' if value is None else f'{value:.3f}'


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 3600:
        return f'{whole // 60}:{whole % 60:02d} min'
    return f'{whole // 3600}:{whole % 3600 // 60:02d} h'
