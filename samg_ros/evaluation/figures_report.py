# SPDX-License-Identifier: Apache-2.0
"""What a comparison leaves: one page, and the same figures as CSV and JSON beside it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samg_ros.evaluation.page import Section, write_page
from samg_ros.evaluation.tables import write_csv
from samg_ros.files.outputs import make_folder, write_json


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
        return write_page(folder / f'{self.name}.html', self.title, self.intro, self.sections,
                          {'Command': shlex.join(['samg', *sys.argv[1:]]), **facts},
                          f'{self.name}.csv and {self.name}.json beside this page hold the '
                          'figures.')
