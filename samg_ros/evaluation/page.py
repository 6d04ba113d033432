# SPDX-License-Identifier: Apache-2.0
"""A report page: one HTML file with everything in it.

A page is opened from wherever it was copied to, often on another machine, so pictures, curves and
videos are inside the file and nothing is loaded from anywhere.
"""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jinja2

from samg_ros import __version__
from samg_ros.evaluation.episodes import EpisodeResults
from samg_ros.evaluation.pictures import still
from samg_ros.evaluation.plots import Plot
from samg_ros.evaluation.tables import Table
from samg_ros.files.outputs import write_text

_STRIP_ROWS = {'camera': 'frame', 'mask': 'mask', 'policy sees': 'masked'}


class Tile(NamedTuple):
    """A figure that a reader looks for first."""

    name: str
    value: str
    note: str = ''


class Shown(NamedTuple):
    """A plot and what stands below it."""

    images: Plot
    words: str
    wide: bool = True


class Cell(NamedTuple):
    """A picture, as data URI, and what stands below it."""

    picture: str
    words: str = ''


class Strip(NamedTuple):
    """Rows of pictures by their names; the columns are moments."""

    title: str
    rows: Mapping[str, Sequence[Cell]]


@dataclass(frozen=True, eq=False)
class Section:
    """One part of a page: plots, table, words, list, pictures, video, as far as there are."""

    title: str
    table: Table | None = None
    plots: Sequence[Shown] = ()
    words: str = ''
    items: Sequence[str] = ()
    strips: Sequence[Strip] = ()
    video: str = ''
    """Data URI, or a file beside the page: camera, mask and masked frame side by side."""


def episode_strips(episodes: Mapping[str, EpisodeResults]) -> list[Strip]:
    """Return moments of episodes by title: camera, mask, what the policy sees.

    A policy that sees all has no mask to be shown.
    """
    strips = []
    for title, results in episodes.items():
        sees_all = all(view.mask.all() for view in results.strip)
        strips.append(Strip(title, {
            name: [Cell(still(getattr(view, kind))) for view in results.strip]
            for name, kind in _STRIP_ROWS.items() if not (sees_all and kind == 'mask')}))
    return strips


def write_page(path: Path, title: str, intro: str, sections: Sequence[Section],
               facts: Mapping[str, str], footer: str, tiles: Sequence[Tile] = ()) -> Path:
    """Write a page, whole or not at all.

    Args:
        path: file to write.
        title: of the page.
        intro: sentences below the title.
        sections: from top to bottom.
        facts: what was measured and how, by name.
        footer: which files lie beside the page.
        tiles: the figures at the top.

    Returns:
        Absolute path of the page.

    Raises:
        OutputError: if it cannot be written.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader('samg_ros.evaluation', 'templates'), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.get_template('page.html.j2').render(
        version=__version__, date=f'{datetime.datetime.now():%Y-%m-%d %H:%M}', title=title,
        intro=intro, sections=sections, facts=facts, footer=footer, tiles=tiles)
    return write_text(path, page).resolve()
