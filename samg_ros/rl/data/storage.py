# SPDX-License-Identifier: Apache-2.0
"""The files of a replay: made with all the room they will need, opened whole or not at all.

Arrays that are mapped into memory outlive the process that wrote them, but say nothing of who
else writes: that, a lock does.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import IO, Any

import numpy as np

from samg_ros.errors import CheckpointError
from samg_ros.files.reading import check_readable, parsing

LOCK_NAME = 'lock'
"""Name of the file that the process which writes holds locked; the kernel lets go of it."""


def lock_folder(folder: Path) -> IO[bytes]:
    """Make a folder one's own until the returned file is closed, or the process ends.

    Raises:
        CheckpointError: if another has it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK_NAME).open('ab')
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise
    except BlockingIOError as error:
        raise CheckpointError(
            f'the run in {folder.parent} is being trained by another process; wait for it, or '
            'choose another run folder'
        ) from error
    except OSError as error:
        raise CheckpointError(
            f'cannot lock {folder / LOCK_NAME}: {error.strerror}; choose another run folder'
        ) from error
    return file


def create_array(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """Make a file that holds an array of zeros, mapped into memory.

    Raises:
        CheckpointError: if there is no room for it, or it cannot be written.
    """
    try:
        array = np.lib.format.open_memmap(path, 'w+', dtype, shape)
        with path.open('r+b') as file:
            # Claim the room now: a full disk would otherwise kill the process later.
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        size = np.prod(shape, dtype=float) * dtype.itemsize / 1e9
        if error.errno in (errno.ENOSPC, errno.EFBIG):
            path.unlink(missing_ok=True)
        raise CheckpointError(
            f'cannot make the replay file {path} of {size:.2f} GB: {error.strerror}; '
            'free some room, choose another run folder, or lower steps or replay_capacity'
        ) from error
    return array


def open_array(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """Map a file into memory.

    Args:
        path: what `create_array` made.
        dtype: that it must have.
        shape: likewise, without the first axis.

    Raises:
        CheckpointError: if it cannot be read, is cut short or holds something else.
    """
    check_readable(path, CheckpointError)
    with parsing(f'cannot read the replay file {path}', CheckpointError,
                 'restore it, or start a new run in another folder'):
        np.lib.format.open_memmap(path, 'r')  # 'r+' would lengthen a file that was cut short
        array = np.lib.format.open_memmap(path, 'r+')
    if array.dtype != dtype or array.shape[1:] != shape:
        raise CheckpointError(
            f'the replay file {path} holds other observations or actions than this run; '
            'start a new run in another folder'
        )
    return array


def lengthen_array(
    path: Path, array: np.memmap[Any, Any], count: int, length: int
) -> np.memmap[Any, Any]:
    """Replace a file by a longer one, whole or not at all.

    Args:
        path: of the file that is mapped.
        array: what it holds.
        count: entries to keep, from the first.
        length: of the new one.

    Raises:
        CheckpointError: if there is no room for both; the old one stays.
    """
    temporary = path.with_name(path.name + '.part')
    longer = create_array(temporary, array.dtype, (length, *array.shape[1:]))
    longer[:count] = array[:count]
    longer.flush()
    os.replace(temporary, path)
    return longer
