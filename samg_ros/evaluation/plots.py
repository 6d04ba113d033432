# SPDX-License-Identifier: Apache-2.0
"""The plots of a report page, as data URIs.

Each comes twice, for a light and a dark page; the browser picks. Colours keep their order and
distance in both and for colour-blind readers (Okabe and Ito's palette).
"""

import io
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from samg_ros.evaluation.episodes import EpisodeResults, flatten
from samg_ros.files.pictures import data_uri

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK = {'light': '#1d2733', 'dark': '#dfe6ee'}
_GRID = {'light': '#d8dee6', 'dark': '#33404f'}
_COLOURS = ('#3a9bd8', '#e69f00', '#009e73', '#cc79a7', '#0072b2')
_GREY = '#8a94a0'


class Plot(NamedTuple):
    """One plot as SVG data URIs."""

    light: str
    """For a light page."""
    dark: str
    """For a dark page."""


def learning_curve(
    curve: Sequence[Mapping[str, float]],
    results: Mapping[str, EpisodeResults],
    random: EpisodeResults | None,
) -> Plot:
    """Plot return over training, with the final evaluation and the random policy.

    Args:
        curve: lines of metrics.csv; those without a return are skipped.
        results: final evaluation by setting.
        random: the random policy; None leaves its line out.
    """
    rows = [row for row in curve if 'episode_return' in row]
    frames = np.array([row['frames'] for row in rows]) / 1000
    returns = np.array([row['episode_return'] for row in rows])

    def draw(axes: 'Axes') -> None:
        axes.plot(frames, returns, '.', color=_COLOURS[0], alpha=0.4, markersize=4)
        axes.plot(frames, _smoothed(returns, 9), color=_COLOURS[0], label='training episodes')
        if random is not None:
            axes.axhline(random.mean_return, color=_GREY, linestyle='--', label='random policy')
        end = frames[-1] if len(frames) else 0
        for (name, result), colour in zip(results.items(), _COLOURS[1:], strict=False):
            axes.errorbar(
                [end], [result.mean_return], [result.return_error], fmt='o', capsize=3,
                color=colour, label=f'final policy, {name}', clip_on=False, zorder=5,
            )
        axes.set_xlabel('simulation frames (thousands)')
        axes.set_ylabel('return')
        axes.set_ylim(bottom=min(0, *returns) if len(returns) else 0)
        axes.legend(frameon=False, fontsize=8, labelcolor='linecolor')

    return _plot(draw, (6.4, 3.2))


def learning_curves(curves: Mapping[str, Sequence[Sequence[Mapping[str, float]]]]) -> Plot:
    """Plot return over training, smoothed over episodes, one line a run.

    Args:
        curves: by policy, the lines of metrics.csv of each of its runs.
    """
    def draw(axes: 'Axes') -> None:
        for (name, runs), colour in zip(curves.items(), itertools.cycle(_COLOURS), strict=False):
            for index, curve in enumerate(runs):
                rows = [row for row in curve if 'episode_return' in row]
                axes.plot([row['frames'] / 1000 for row in rows],
                          _smoothed(np.array([row['episode_return'] for row in rows]), 9),
                          color=colour, linewidth=1.2, label=None if index else name)
        axes.set_xlabel('simulation frames (thousands)')
        axes.set_ylabel('return')
        axes.legend(frameon=False, fontsize=8, labelcolor='linecolor')

    return _plot(draw, (6.4, 3.2))


def return_bars(results: Mapping[str, EpisodeResults], random: EpisodeResults | None) -> Plot:
    """Plot the mean return of every setting beside the random policy's, with standard errors."""
    bars = [(name, result) for name, result in results.items()]
    if random is not None:
        bars.insert(0, ('random', random))
    offset = 0 if random is not None else 1

    def draw(axes: 'Axes') -> None:
        for i, (_, result) in enumerate(bars):
            colour = _GREY if i + offset == 0 else _COLOURS[i + offset]
            axes.bar(i, result.mean_return, 0.6, yerr=result.return_error, color=colour,
                     capsize=3, ecolor=axes.xaxis.label.get_color())
            axes.plot(np.full(len(result.returns), i) + _side_by_side(len(result.returns)),
                      result.returns, '.', markersize=3, color=axes.xaxis.label.get_color())
        axes.set_xticks(range(len(bars)), [name for name, _ in bars])
        axes.set_ylabel('return')

    return _plot(draw, (3.2, 3.2))


def iou_plot(results: Mapping[str, EpisodeResults]) -> Plot | None:
    """Plot how the mask IoU of frames is distributed by setting; None if nothing was masked."""
    masked = [(name, flatten(result.mask_ious)) for name, result in results.items()]
    masked = [(name, values) for name, values in masked if values]
    if not masked:
        return None

    def draw(axes: 'Axes') -> None:
        bins = [i / 40 for i in range(41)]
        for (name, values), colour in zip(masked, _COLOURS[1:], strict=False):
            axes.hist(values, bins=bins, density=True, histtype='stepfilled', alpha=0.45,
                      color=colour, edgecolor=colour, label=f'{name}: mean {np.mean(values):.2f}')
        axes.set_xlabel('mask IoU')
        axes.set_ylabel('share of frames')
        axes.set_yticks([])
        axes.set_xlim(0, 1)
        axes.legend(frameon=False, fontsize=8, loc='upper left', labelcolor='linecolor')

    return _plot(draw, (3.2, 3.2))


def iou_by_setting(groups: Mapping[tuple[str, str], NDArray[np.float64]]) -> Plot:
    """Plot the mask IoU of frames as boxes, one a task and setting.

    Args:
        groups: (N,) values by task and setting.
    """
    settings = list(dict.fromkeys(setting for _, setting in groups))

    def draw(axes: 'Axes') -> None:
        for place, ((_, setting), values) in enumerate(groups.items()):
            colour = _COLOURS[settings.index(setting) % len(_COLOURS)]
            low, left, middle, right, high = np.percentile(values, (5, 25, 50, 75, 95))
            axes.plot([low, high], [place, place], color=colour, linewidth=1.5)
            axes.barh(place, right - left, left=left, height=0.6, color=colour)
            axes.plot([middle, middle], [place - 0.3, place + 0.3], color='white', linewidth=2)
        axes.set_yticks(range(len(groups)), [f'{task}, {setting}' for task, setting in groups])
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.set_xlabel('mask IoU')

    return _plot(draw, (6.4, 0.7 + 0.26 * len(groups)))


def figures_by_setting(groups: Mapping[tuple[str, str], tuple[float, float]], name: str) -> Plot:
    """Plot figures with their errors as bars, one a policy and setting.

    Args:
        groups: mean and standard error by policy and setting.
        name: of the figure.
    """
    settings = list(dict.fromkeys(setting for _, setting in groups))

    def draw(axes: 'Axes') -> None:
        for place, ((_, setting), (mean, error)) in enumerate(groups.items()):
            axes.barh(place, mean, 0.7, xerr=error, capsize=3,
                      color=_COLOURS[settings.index(setting) % len(_COLOURS)],
                      ecolor=axes.xaxis.label.get_color())
        axes.set_yticks(range(len(groups)), [f'{policy}, {setting}' for policy, setting in groups])
        axes.invert_yaxis()
        axes.set_xlabel(name)

    return _plot(draw, (6.4, 0.7 + 0.26 * len(groups)))


def against(series: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]],
            axis: str, name: str, highest: float | None = None) -> Plot:
    """Plot how figures depend on something.

    Args:
        series: by name: where, the figures there, and their standard errors.
        axis: of what they depend on.
        name: of the figure.
        highest: end of its axis, which begins at 0; None fits it to the figures.
    """
    def draw(axes: 'Axes') -> None:
        for place, (label, (where, values, errors)) in enumerate(series.items()):
            axes.errorbar(where, values, errors, capsize=3, label=label, clip_on=False,
                          color=_COLOURS[place % len(_COLOURS)],
                          marker='os^Dv'[place // len(_COLOURS) % 5])
        axes.set_xlabel(axis)
        axes.set_ylabel(name)
        axes.set_ylim(min(0, *(min(values) for _, values, _ in series.values())), highest)
        axes.legend(frameon=False, fontsize=8, labelcolor='linecolor', loc='center left',
                    bbox_to_anchor=(1, 0.5))

    return _plot(draw, (6.4, 3.2))


def traces(times_s: NDArray[np.float64], series: Mapping[str, Sequence[float]], unit: str,
           limits: tuple[float, float] | None = None) -> Plot:
    """Plot values over time.

    Args:
        times_s: (N,) seconds.
        series: (N,) values by name, NaN where there is none; what has none is left out.
        unit: of the values.
        limits: of the axis of values; None fits it to them.
    """
    shown = {name: values for name, values in series.items() if np.isfinite(values).any()}

    def draw(axes: 'Axes') -> None:
        for (name, values), colour in zip(shown.items(), _COLOURS, strict=False):
            axes.plot(times_s, values, '.-', markersize=2, linewidth=0.8, color=colour, label=name)
        axes.set_xlabel('s')
        axes.set_ylabel(unit)
        if limits is not None:
            axes.set_ylim(*limits)
        if len(shown) > 1:
            axes.legend(frameon=False, fontsize=8, labelcolor='linecolor')

    return _plot(draw, (6.4, 3.2) if len(shown) > 1 else (3.2, 3.2))


def _plot(draw: Callable[['Axes'], None], size: tuple[float, float]) -> Plot:
    """Draw twice, in a light and a dark page's ink on no background."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    images = []
    for theme in ('light', 'dark'):
        ink = _INK[theme]
        style: Any = {
            'font.size': 9,
            'text.color': ink,
            'axes.labelcolor': ink,
            'axes.edgecolor': _GRID[theme],
            'xtick.color': ink,
            'ytick.color': ink,
            'axes.grid': True,
            'grid.color': _GRID[theme],
            'grid.linewidth': 0.6,
            'axes.axisbelow': True,
            'axes.spines.top': False,
            'axes.spines.right': False,
            'svg.hashsalt': 'samg_ros',
        }
        with rc_context(style):
            figure = Figure(figsize=size, layout='constrained')
            FigureCanvasSVG(figure)
            draw(figure.subplots())
            buffer = io.BytesIO()
            figure.savefig(buffer, format='svg', transparent=True, metadata={'Date': None})
        images.append(data_uri('image/svg+xml', buffer.getvalue()))
    return Plot(*images)


def _smoothed(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Return the running mean, over fewer values at the ends."""
    half = width // 2
    return np.array(
        [values[max(0, i - half) : i + half + 1].mean() for i in range(len(values))]
    )


def _side_by_side(count: int) -> NDArray[np.float64]:
    """Return small offsets that keep dots apart."""
    return np.linspace(-0.15, 0.15, count) if count > 1 else np.zeros(count)
