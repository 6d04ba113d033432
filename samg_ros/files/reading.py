# SPDX-License-Identifier: Apache-2.0
"""Reads files from elsewhere: regular files only, of limited size, with one-line errors.

A file may be of any size, a pipe that never ends, or damaged in ways that its library has no error
for. `schema` and `arrays` check what the content means.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from samg_ros.errors import SamgError, first_line, plain

MAX_TEXT_BYTES = 16 * 2**20
"""Of a JSON, CSV or log file that is read whole; theirs have some kilobytes."""


@contextmanager
def parsing(fault: str, error: type[SamgError], advice: str) -> Iterator[None]:
    """Turn whatever a library says about a file's content into one line.

    A library's parsers raise errors of many classes, documented and not, on bytes that no writer
    made. So all of them are caught, and only calls of the library belong in the block.

    Args:
        fault: what is wrong then, such as "the bag 'x' cannot be read".
        error: class to raise.
        advice: what to do.
    """
    try:
        yield
    except SamgError:
        raise
    except Exception as problem:
        reason = plain(getattr(problem, 'strerror', None) or first_line(problem), 200)
        raise error(f'{fault} ({reason}); {advice}') from problem


def check_readable(path: Path | str, error: type[SamgError], most_bytes: int | None = None) -> int:
    """Check that a path is a regular file, and not larger than it may be.

    Args:
        path: of the file.
        error: class to raise.
        most_bytes: None for any size.

    Returns:
        Its size in bytes.

    Raises:
        error: if there is none, it is a folder, pipe or device, or too large.
    """
    name = os.fsencode(path).decode('utf-8', 'backslashreplace')
    try:
        found = Path(path).stat()
    except (OSError, ValueError) as problem:  # ValueError: a null character in the name
        reason = getattr(problem, 'strerror', None) or problem
        raise error(f"'{name}' cannot be read ({reason}); check the path") from problem
    if not stat.S_ISREG(found.st_mode):
        raise error(f"'{name}' is not a regular file; give the name of one")
    if most_bytes is not None and found.st_size > most_bytes:
        raise error(f"'{name}' has {found.st_size} bytes; such a file has at most {most_bytes}")
    return found.st_size


def read_text(path: Path | str, error: type[SamgError], most_bytes: int = MAX_TEXT_BYTES) -> str:
    """Return the text of a UTF-8 file.

    Raises:
        error: if it cannot be read, is too large, or is not UTF-8.
    """
    check_readable(path, error, most_bytes)
    with parsing(f"'{path}' cannot be read", error, 'give a text file in UTF-8'):
        return Path(path).read_bytes().decode('utf-8')
