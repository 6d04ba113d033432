# SPDX-License-Identifier: Apache-2.0
"""Reads recorded episodes from HDF5 files in Minari's and in D4RL's layout.

Minari has a group `episode_<k>` for each episode; it has one observation and state more than
actions. D4RL (arXiv 2004.07219) has one long table; an episode ends where `terminals` or
`timeouts` is true. A data set of states has no images: the simulator renders them from the states.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samg_ros.errors import DemonstrationError, MissingDependencyError
from samg_ros.files.reading import check_readable, parsing, read_text
from samg_ros.files.schema import parse_json

_STATE_GROUPS = ('state', 'infos/state', 'infos')
"""Where states have been kept: by Minari's older versions, its newer ones, and D4RL."""
_DEEPEST = 16
_MOST_CHUNK_BYTES = 2**28
"""Of one chunk, the unit that HDF5 unpacks; h5py chooses at most 1 MiB."""
_MOST_RATIO = 1100
"""Of a data set's size to its file's: deflate packs 1032 bytes into one at most (RFC 1951)."""


@dataclass(frozen=True, eq=False)
class RecordedEpisode:
    """One episode as the file has it: T actions, and T or T + 1 moments."""

    name: str
    """For messages."""
    actions: NDArray[Any]
    """(T, A)"""
    rewards: NDArray[Any]
    """(T,)"""
    terminal: bool
    """Whether it ended in a terminal state."""
    pixels: NDArray[np.uint8] | None
    """(T or T + 1, H, W, 3) uint8; None where the set has no pictures."""
    states: dict[str, NDArray[Any]]
    """(T or T + 1, ...) by name: qpos, qvel and what else the set knows of a state."""


class RecordingFile:
    """An HDF5 file of recorded episodes."""

    def __init__(self, path: Path | str, pixels: str | None = None) -> None:
        """Choose a file; it is opened while it is read.

        Args:
            path: HDF5 file, or the folder of a Minari data set.
            pixels: name of the pictures among an episode's data sets, such as
                `observations/image`; None finds them.

        Raises:
            DemonstrationError: if there is no such file.
            MissingDependencyError: if h5py is not installed.
        """
        self.path = Path(path)
        if self.path.is_dir():
            inside = [self.path / 'data' / 'main_data.hdf5', self.path / 'main_data.hdf5']
            self.path = next((one for one in inside if one.is_file()), inside[0])
        if not self.path.is_file():
            raise DemonstrationError(f'there is no file {self.path}; give an HDF5 file or the '
                                     'folder of a Minari data set')
        try:
            import h5py
        except ImportError as error:
            raise MissingDependencyError(
                'reading HDF5 files needs h5py; run: pip install h5py') from error
        self._h5py = h5py
        self._pixels = pixels

    def environment(self) -> str | None:
        """Return the name of the Gymnasium environment that a Minari set says it is from."""
        texts = []
        beside = self.path.parent / 'metadata.json'
        if beside.is_file():
            texts.append(_json(read_text(beside, DemonstrationError)).get('env_spec'))
        with self._open() as file:
            texts.append(file.attrs.get('env_spec'))
        for text in texts:
            name = _json(text).get('id')
            if isinstance(name, str):
                return name
        return None

    def episodes(self) -> Iterator[RecordedEpisode]:
        """Read the episodes one after the other.

        Raises:
            DemonstrationError: if the file is damaged, lacks something, or its parts do not fit
                each other.
        """
        with self._open() as file:
            groups = sorted((name for name in file if re.fullmatch(r'episode_\d+', name)),
                            key=lambda name: int(name[8:]))
            for name in groups:
                yield self._minari(name, file[name])
            if not groups:
                yield from self._d4rl(file)

    @contextmanager
    def _open(self) -> Iterator[Any]:
        check_readable(self.path, DemonstrationError)
        with parsing(f'cannot read {self.path} as HDF5', DemonstrationError, 'fetch it again'):
            with self._h5py.File(self.path, 'r') as file:
                self._check_local(file)
                yield file

    def _check_local(self, group: Any, depth: int = 0) -> None:
        """Check that all is in this file itself, and no larger than it may be.

        HDF5 can take the content of a data set from any other file (external links, external
        storage, virtual data sets), and such a file would read what its author may not.
        """
        h5py = self._h5py
        if depth > _DEEPEST:
            raise DemonstrationError(f'{self.path} has groups more than {_DEEPEST} levels deep')
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise DemonstrationError(
                    f"{self.path}: '{name}' is a link to somewhere else; copy what it means into "
                    'the file (h5repack)')
            found = group[name]
            if isinstance(found, h5py.Group):
                self._check_local(found, depth + 1)
            elif isinstance(found, h5py.Dataset):
                if found.is_virtual or found.external:
                    raise DemonstrationError(
                        f"{self.path}: '{found.name}' takes its numbers from another file; copy "
                        'them into this one (h5repack)')
                self._check_size(found)

    def _check_size(self, found: Any) -> None:
        """Check a data set's claimed size: of all of it, and of what one chunk unpacks to."""
        claimed = found.size * found.dtype.itemsize if found.size is not None else 0
        chunk = np.prod(found.chunks or (0,), dtype=float) * found.dtype.itemsize
        if chunk > _MOST_CHUNK_BYTES or found.name is not None and claimed > max(
                _MOST_RATIO * self.path.stat().st_size, _MOST_CHUNK_BYTES):
            raise DemonstrationError(
                f"{self.path}: '{found.name}' claims {claimed} bytes, more than a file of "
                f'{self.path.stat().st_size} bytes can hold; fetch it again')

    def _minari(self, name: str, group: Any) -> RecordedEpisode:
        actions = self._rows(group, 'actions', name)
        return self._recording(
            name, group, slice(None), actions, self._rows(group, 'rewards', name),
            bool(self._rows(group, 'terminations', name)[-1:].any()))

    def _d4rl(self, file: Any) -> Iterator[RecordedEpisode]:
        actions = self._rows(file, 'actions', 'the file')
        rewards = self._rows(file, 'rewards', 'the file')
        terminals = self._rows(file, 'terminals', 'the file').reshape(-1).astype(bool)
        ends = terminals.copy()
        if 'timeouts' in file:
            ends |= self._rows(file, 'timeouts', 'the file').reshape(-1).astype(bool)
        ends[-1:] = True
        start = 0
        for index, end in enumerate((np.flatnonzero(ends) + 1).tolist()):
            rows = slice(start, end)
            yield self._recording(f'episode {index}', file, rows, actions[rows], rewards[rows],
                                  bool(terminals[end - 1]))
            start = end

    def _recording(self, name: str, group: Any, rows: slice, actions: NDArray[Any],
                   rewards: NDArray[Any], terminal: bool) -> RecordedEpisode:
        """Complete an episode with pictures or states, and check that its parts fit."""
        pixels = self._find_pixels(group, name)
        pixels = None if pixels is None else np.asarray(pixels[rows])
        states = {} if pixels is not None else self._states(group, rows)
        if pixels is None and not {'qpos', 'qvel'} <= states.keys():
            raise DemonstrationError(
                f'{self.path}, {name}: there are neither pictures, (T + 1, H, W, 3) uint8 among '
                f'the observations, nor states, qpos and qvel in {" or ".join(_STATE_GROUPS)}')
        count = len(actions)
        if actions.ndim != 2 or not count or rewards.reshape(-1).shape != (count,):
            raise DemonstrationError(
                f'{self.path}, {name}: actions must be (T, A) and rewards (T,), got '
                f'{actions.shape} and {rewards.shape}')
        moments = {'pictures': pixels} if pixels is not None else states
        for what, array in moments.items():
            assert array is not None
            if len(array) not in (count, count + 1):
                raise DemonstrationError(
                    f'{self.path}, {name}: {count} actions need {count + 1} {what}, got '
                    f'{len(array)}')
        return RecordedEpisode(name, actions, rewards.reshape(-1), terminal, pixels, states)

    def _rows(self, group: Any, key: str, name: str) -> NDArray[Any]:
        found = group.get(key)
        if not isinstance(found, self._h5py.Dataset):
            raise DemonstrationError(
                f"{self.path}, {name}: there is no '{key}'; expected Minari's groups episode_<k> "
                "or D4RL's actions, rewards, terminals, timeouts")
        rows: NDArray[Any] = found[()]
        return rows

    def _find_pixels(self, group: Any, name: str) -> Any:
        """Return the data set of the pictures, None if there are none."""
        if self._pixels is not None:
            found = group.get(self._pixels)
            if not self._is_pixels(found):
                raise DemonstrationError(
                    f"{self.path}, {name}: '{self._pixels}' must be pictures, (T + 1, H, W, 3) "
                    'uint8')
            return found
        observations = group.get('observations')
        if not isinstance(observations, self._h5py.Group):
            return observations if self._is_pixels(observations) else None
        found = [key for key, value in observations.items() if self._is_pixels(value)]
        if len(found) > 1:
            raise DemonstrationError(
                f'{self.path}, {name}: there are several pictures, choose one of '
                f'{", ".join(f"observations/{key}" for key in found)}')
        return observations[found[0]] if found else None

    def _is_pixels(self, found: Any) -> bool:
        return (isinstance(found, self._h5py.Dataset) and found.dtype == np.uint8
                and found.ndim == 4 and found.shape[3] == 3)

    def _states(self, group: Any, rows: slice) -> dict[str, NDArray[Any]]:
        for name in _STATE_GROUPS:
            found = group.get(name)
            if isinstance(found, self._h5py.Group) and 'qpos' in found:
                return {key: np.asarray(value[rows]) for key, value in found.items()
                        if isinstance(value, self._h5py.Dataset) and value.ndim}
        return {}


def _json(text: Any) -> dict[str, Any]:
    """Read a JSON object; anything else is an empty one."""
    if isinstance(text, dict):
        return text
    if not isinstance(text, str | bytes):
        return {}
    try:
        return parse_json(text, dict[str, Any], 'the description', DemonstrationError)
    except DemonstrationError:
        return {}
