# SPDX-License-Identifier: Apache-2.0
"""Writes a report page from a template: one HTML file with everything in it.

A page is opened from wherever it was copied to, often on another machine, so pictures, curves and
videos are inside the file and nothing is loaded from anywhere.
"""

import datetime
from pathlib import Path
from typing import Any

import jinja2

from samg_ros import __version__
from samg_ros.files.outputs import write_text


def write_page(path: Path, template: str, **values: Any) -> Path:
    """Write a page, whole or not at all.

    Args:
        path: file to write.
        template: its name in `templates/`.
        values: what the template shows, beside `version` and `date`.

    Returns:
        Absolute path of the page.

    Raises:
        OutputError: if it cannot be written.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader('samg_ros.evaluation', 'templates'), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.get_template(template).render(
        version=__version__, date=f'{datetime.datetime.now():%Y-%m-%d %H:%M}', **values)
    return write_text(path, page).resolve()
