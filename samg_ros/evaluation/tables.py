# SPDX-License-Identifier: Apache-2.0
"""A table of figures, the same on the terminal, on a report page and in a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from samg_ros.files.outputs import write_text

NOTHING = '–'
"""Stands where there is no figure."""


class Table(NamedTuple):
    """Cells as they are shown."""

    head: tuple[str, ...]
    """Names of the columns."""
    rows: tuple[tuple[str, ...], ...]
    """As many cells each."""
    words: int = 2
    """Of the first columns, which hold words and begin at the left; figures end at the right."""

    def text(self) -> str:
        """Return aligned lines of text."""
        lines = [self.head, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.head))]
        return '\n'.join('  '.join(
            f'{cell:<{width}}' if column < self.words else f'{cell:>{width}}'
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))).rstrip()
            for line in lines)


def figure(value: float | None, form: str = '.3f') -> str:
    """Return a figure in a format, or what stands for none."""
    return NOTHING if value is None else f'{value:{form}}'


def write_csv(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV file with a line for each record; missing fields, and None, are left empty.

    Raises:
        OutputError: if the file cannot be written.
    """
    text = io.StringIO(newline='')
    fields = dict.fromkeys(name for record in records for name in record)
    writer = csv.DictWriter(text, list(fields))
    writer.writeheader()
    writer.writerows(records)
    write_text(path, text.getvalue())
