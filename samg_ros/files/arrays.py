# SPDX-License-Identifier: Apache-2.0
"""NumPy's .npz files from elsewhere: sizes are known before anything is read, then types.

A few kilobytes of zip may unpack to gigabytes, and an array's header may claim any shape.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from samg_ros.errors import SamgError
from samg_ros.files.reading import check_readable, parsing

Arrays = dict[str, npt.NDArray[Any]]
MAX_ARRAY_BYTES = 4 * 2**30
"""Of all arrays of one file, unpacked: an hour of camera frames of 84 x 84 at 50 Hz."""


class ArraySpec(NamedTuple):
    """What an array must be."""

    kinds: str
    """numpy kinds that are accepted: 'f', 'iu', 'b', 'U'."""
    shape: tuple[int | None, ...]
    """Of each axis; None for any length."""


def read_npz(path: Path | str, specs: Mapping[str, ArraySpec], error: type[SamgError],
             advice: str, most_bytes: int = MAX_ARRAY_BYTES) -> Arrays:
    """Read the arrays of an .npz file, without pickle.

    Args:
        path: of the file.
        specs: by name, of those that are checked; one that is missing is not in the result.
        error: class to raise.
        advice: what the user should do if it cannot be used.
        most_bytes: of all arrays, unpacked.

    Raises:
        error: if it is no such file, damaged or too large, or an array is of another type or
            shape, or holds floats that are not finite.
    """
    check_readable(path, error)
    with parsing(f"'{path}' is not an .npz file of plain arrays", error, advice):
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len({member.filename for member in members}) < len(members):
                raise error(f"'{path}' has an array twice; {advice}")
            if (total := sum(member.file_size for member in members)) > most_bytes:
                raise error(f"'{path}' would take {total} bytes of memory, more than the "
                            f'{most_bytes} that such a file may; {advice}')
            arrays = {member.filename.removesuffix('.npy'): _read_array(archive, member)
                      for member in members}
    check_arrays(arrays, specs, f"'{path}'", error, advice)
    return arrays


def check_arrays(arrays: Mapping[str, npt.NDArray[Any]], specs: Mapping[str, ArraySpec],
                 name: str, error: type[SamgError], advice: str) -> None:
    """Check those arrays that there are; arguments and error as for `read_npz`."""
    for key, spec in specs.items():
        if key in arrays:
            array = arrays[key]
            fits = len(array.shape) == len(spec.shape) and all(
                wanted in (None, length)
                for wanted, length in zip(spec.shape, array.shape, strict=True))
            if array.dtype.kind not in spec.kinds or not fits:
                shape = ', '.join('any' if each is None else str(each) for each in spec.shape)
                raise error(f"{name}: '{key}' must have the shape ({shape}) and a type of kind "
                            f'{"/".join(spec.kinds)}, got {array.shape} {array.dtype}; {advice}')
    for key, array in arrays.items():
        if array.dtype.kind == 'f' and not np.isfinite(array).all():
            raise error(f"{name}: '{key}' holds numbers that are not finite; {advice}")


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> npt.NDArray[Any]:
    """Read one array, whose header must claim what the archive holds."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) \
            else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        if dtype.hasobject:
            raise ValueError('it holds Python objects')
        if np.prod(shape, dtype=float) * dtype.itemsize > member.file_size:
            raise ValueError('an array is cut short')
    with archive.open(member) as file:
        array: npt.NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array
