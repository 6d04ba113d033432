# SPDX-License-Identifier: Apache-2.0
"""Every file and folder that this package writes goes through here.

A file is written beside its final name and renamed when it is complete, so a full disk or a
killed process leaves the old file as it was. A command checks its outputs before it begins to
work: a file that exists, and a folder with files that are not this package's, are not touched
unless the user says `--overwrite`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from samg_ros.errors import OutputError, SamgError

MARKER = '.samg_output'
"""File that marks a folder as one that this package made; later results may go there too."""

_PROBE_BYTES = 4096
"""Written and deleted again to see whether a disk takes anything at all."""

_LONGEST_ENDING = 10
"""Characters of an ending that says something to a library."""


def check_file(path: str | Path, overwrite: bool = False) -> None:
    """Check that a file can be written, without leaving anything behind.

    Args:
        path: of the file; missing folders above it are made when it is written.
        overwrite: accept a regular file that exists.

    Raises:
        OutputError: if the path is a folder or a device, exists, or cannot be written.
    """
    path = Path(path)
    check_name(path)
    with _as_output_error(path):
        if path.is_dir():
            raise OutputError(f"'{path}' is a folder; give the name of a file in it")
        if path.exists() and not path.is_file():
            raise OutputError(f"'{path}' is not a regular file; give another name")
        if path.exists() and not overwrite:
            raise OutputError(f"'{path}' exists; give another name, or --overwrite to replace it")
        if path.exists() and not os.access(path, os.W_OK):
            raise OutputError(f"'{path}' is write-protected; give another name")
        _probe(path.absolute().parent)


def check_folder(path: str | Path, overwrite: bool = False) -> None:
    """Check that a folder can take results, without leaving anything behind.

    Args:
        path: missing, empty, or made by this package.
        overwrite: accept a folder with other files too; only files of the results' own names
            are then replaced.

    Raises:
        OutputError: if the path is a file, holds files of others, or cannot be written to.
    """
    path = Path(path)
    check_name(path)
    with _as_output_error(path):
        if path.exists() and not path.is_dir():
            raise OutputError(f"'{path}' is a file; give a folder")
        if path.is_dir() and not overwrite and not _is_own(path):
            raise OutputError(f"the folder '{path}' holds files that are not results of samg; "
                              'give another folder, or --overwrite to write there all the same')
        _probe(path.absolute())


def check_name(path: str | Path) -> None:
    """Check that a file or folder may be called so where it is to be made.

    Raises:
        OutputError: if a part of the path is longer than names can be there.
    """
    path = Path(path)
    with _as_output_error(path):
        folder = _nearest(path.absolute().parent)
        most = os.pathconf(folder, 'PC_NAME_MAX')
        missing = path.absolute().relative_to(folder).parts
        if any(len(os.fsencode(part)) > most for part in missing):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))


def make_folder(path: str | Path) -> Path:
    """Make a folder for results, and mark it as one unless it holds other files.

    Raises:
        OutputError: if it cannot be made.
    """
    path = Path(path)
    with _as_output_error(path):
        path.mkdir(parents=True, exist_ok=True)
        if _is_own(path):
            (path / MARKER).touch()
    return path


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give the path of a new file beside another; it takes the other's place at the end.

    If the block raises, the new file is deleted and the old one stays. A symbolic link stays one:
    the file that it points to is replaced.

    Args:
        path: final name; missing folders above it are made.

    Yields:
        A path with the same ending, to be written in the block.

    Raises:
        OutputError: if the file cannot be written.
    """
    path = Path(path)
    with _as_output_error(path):
        final = Path(os.path.realpath(path))
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.exists() and not final.is_file():
            raise OutputError(f"'{path}' is not a regular file; give another name")
        temporary = beside(final)
        try:
            yield temporary
            with temporary.open('rb') as file:
                os.fsync(file.fileno())
            os.replace(temporary, final)
            _sync_folder(final.parent)
        finally:
            temporary.unlink(missing_ok=True)


def beside(path: Path) -> Path:
    """Return where a file is written before it gets its name: in its folder, with its ending.

    However long the name is that the system takes for the file, it takes this one too.
    """
    digest = hashlib.blake2b(os.fsencode(path.name), digest_size=8).hexdigest()
    ending = path.suffix if len(path.suffix) <= _LONGEST_ENDING else ''
    return path.with_name(f'.{path.stem[:20]}.{digest}.{os.getpid()}.part{ending}')


def write_bytes(path: str | Path, data: bytes | memoryview) -> Path:
    """Write a file, whole or not at all; returns its path.

    Raises:
        OutputError: if it cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return Path(path)


def write_text(path: str | Path, text: str) -> Path:
    """Write a text as UTF-8; as `write_bytes`."""
    return write_bytes(path, text.encode('utf-8', 'surrogateescape'))


def write_json(path: str | Path, values: Any) -> Path:
    """Write plain values as JSON; as `write_bytes`."""
    return write_text(path, json.dumps(values, indent=2) + '\n')


def _is_own(folder: Path) -> bool:
    return (folder / MARKER).is_file() or not any(folder.iterdir())


def _nearest(folder: Path) -> Path:
    """Return the nearest folder above that exists, or the folder itself."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _probe(folder: Path) -> None:
    """Write and delete a small file in the nearest folder above that exists."""
    with tempfile.NamedTemporaryFile(dir=_nearest(folder), prefix='.samg_probe') as file:
        file.write(bytes(_PROBE_BYTES))
        file.flush()


@contextlib.contextmanager
def _as_output_error(path: Path) -> Iterator[None]:
    """Turn what the system or a bad name raises into one line that names the path."""
    try:
        yield
    except SamgError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = getattr(error, 'strerror', None) or str(error)
        raise OutputError(f"cannot write '{path}': {reason}; give another place") from error


def _sync_folder(folder: Path) -> None:
    """Make the renaming itself last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
