# SPDX-License-Identifier: Apache-2.0
"""What a comparison leaves: one page, and the same figures as CSV and JSON beside it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from samg_ros.evaluation.episodes import EpisodeResults
from samg_ros.evaluation.page import write_page
from samg_ros.evaluation.pictures import still
from samg_ros.evaluation.plots import Plot
from samg_ros.evaluation.tables import Table, write_csv
from samg_ros.files.outputs import make_folder, write_json

_STRIP_ROWS = {'camera': 'frame', 'mask': 'mask', 'policy sees': 'masked'}


class Shown(NamedTuple):
    """A plot and what stands below it."""

    images: Plot
    words: str


@dataclass(frozen=True, eq=False)
class Section:
    """One part of the page."""

    title: str
    table: Table | None = None
    plots: Sequence[Shown] = ()
    words: str = ''
    """Stands below the table."""
    episodes: Mapping[str, EpisodeResults] | None = None
    """Episodes of which moments are shown, by title."""


@dataclass(frozen=True, eq=False)
class Figures:
    """Everything that a comparison has to say."""

    name: str
    """Of the files: NAME.html, NAME.csv, NAME.json."""
    title: str
    intro: str
    sections: Sequence[Section]
    records: Sequence[Mapping[str, Any]]
    """Lines of the CSV file, of plain JSON types."""
    summary: Any
    """What the JSON file holds beside the records."""

    def text(self) -> str:
        """Return the tables for a terminal."""
        return '\n\n'.join(f'{section.title}\n{section.table.text()}' for section in self.sections
                           if section.table is not None)

    def write_json(self, path: Path) -> None:
        """Write the figures.

        Raises:
            OutputError: if the file cannot be written.
        """
        write_json(path, {'summary': self.summary, 'records': self.records})

    def write(self, folder: Path, facts: Mapping[str, str]) -> Path:
        """Write page, CSV and JSON, and return the page's path.

        Args:
            folder: made if missing.
            facts: what was measured, by name; the command is added.

        Raises:
            OutputError: if a file cannot be written.
        """
        make_folder(folder)
        self.write_json(folder / f'{self.name}.json')
        write_csv(folder / f'{self.name}.csv', self.records)
        return write_page(
            folder / f'{self.name}.html', 'figures.html.j2', title=self.title, intro=self.intro,
            sections=[{'title': section.title, 'table': section.table, 'plots': section.plots,
                       'words': section.words,
                       'strips': [{'title': title, 'rows': strip_rows(results)}
                                  for title, results in (section.episodes or {}).items()]}
                      for section in self.sections],
            facts={'Command': shlex.join(['samg', *sys.argv[1:]]), **facts},
            beside=f'{self.name}.csv and {self.name}.json')


def strip_rows(results: EpisodeResults) -> list[dict[str, Any]]:
    """Return the moments of an episode as rows of pictures: camera, mask, what the policy sees.

    A policy that sees all has no mask to be shown.
    """
    sees_all = all(view.mask.all() for view in results.strip)
    return [{'name': name, 'pictures': [still(getattr(view, kind)) for view in results.strip]}
            for name, kind in _STRIP_ROWS.items() if not (sees_all and kind == 'mask')]
