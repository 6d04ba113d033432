# SPDX-License-Identifier: Apache-2.0
"""Compiled networks in the user's cache folder, so that only the first start compiles.

The folder is $XDG_CACHE_HOME/samg_ros, or ~/.cache/samg_ros. A compiled network is code, so only
files of this user that no other user can write are read, and of those only whose hash is right.
Whatever is wrong with folder or file, the network is compiled again.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import stat
from pathlib import Path

from samg_ros.errors import OutputError, first_line
from samg_ros.files.outputs import write_bytes

_LOG = logging.getLogger(__name__)
_MAGIC = b'samg_ros compiled network 1\n'
KEPT_BYTES = 4 * 2**30
"""Of all files together; beyond it those unused for longest are deleted."""


def cache_folder() -> Path:
    """Return the folder of compiled networks; it may not exist yet."""
    base = os.environ.get('XDG_CACHE_HOME', '')
    return (Path(base) if os.path.isabs(base) else Path.home() / '.cache') / 'samg_ros'


def read(name: str) -> bytes | None:
    """Return what `write` stored under a name; None if there is nothing that can be trusted."""
    path = cache_folder() / name
    try:
        if not path.exists():
            return None
        if not all(_is_own(each) for each in (path, path.parent)):
            _LOG.warning("'%s' is not used: another user owns it or can write it; the network is "
                         'compiled anew', path)
            return None
        content = path.read_bytes()
        os.utime(path)
    except PermissionError:
        return None
    except OSError as error:
        _LOG.warning("'%s' cannot be read (%s); the network is compiled anew", path,
                     first_line(error))
        return None
    start = len(_MAGIC) + hashlib.sha256().digest_size
    data = content[start:]
    if content[:start] != _MAGIC + hashlib.sha256(data).digest():
        _LOG.warning("'%s' is damaged; the network is compiled anew", path)
        return None
    return data


def write(name: str, data: bytes) -> None:
    """Store data under a name; where the folder cannot be written, nothing happens."""
    folder = cache_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_own(folder):
            return
        write_bytes(folder / name, _MAGIC + hashlib.sha256(data).digest() + data)
        (folder / name).chmod(0o600)
        _delete_unused(folder)
    except (OSError, OutputError) as error:
        _LOG.info("'%s' cannot be written (%s); networks are compiled at every start", folder,
                  first_line(error))


def _is_own(path: Path) -> bool:
    found = path.stat()
    return found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _delete_unused(folder: Path) -> None:
    total = 0
    for path in sorted(folder.glob('*.compiled'), key=lambda path: -path.stat().st_mtime):
        total += path.stat().st_size
        if total > KEPT_BYTES:
            with contextlib.suppress(OSError):
                path.unlink()
