# SPDX-License-Identifier: Apache-2.0
"""Reads a LeRobotDataset v3 whose frames are stored as images, an episode at a time.

Data sets of other programs are read too: without recorded stamps the time is the frame number
over the rate, and without float64 columns state and action are the float32 ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from samg_ros.demonstrations import lerobot_layout as layout
from samg_ros.demonstrations.episode import ArmEpisode
from samg_ros.demonstrations.lerobot_layout import DatasetInfo
from samg_ros.demonstrations.run_lengths import from_text
from samg_ros.errors import DemonstrationError, MissingDependencyError
from samg_ros.files.pictures import decode_picture
from samg_ros.files.reading import check_readable, parsing
from samg_ros.files.schema import read_json

try:
    from pyarrow import compute, parquet
except ImportError as error:
    raise MissingDependencyError(
        'LeRobot data sets need pyarrow; run `pip install pyarrow`') from error


class _Feature(Struct):
    """One column, as info.json describes it."""

    dtype: str
    shape: tuple[Annotated[int, Meta(ge=0)], ...]
    names: list[str] | dict[str, list[str]] | None = None


class _Info(Struct):
    """What is used of info.json."""

    codebase_version: str
    fps: Annotated[float, Meta(gt=0)]
    data_path: str
    features: dict[str, _Feature]
    total_episodes: Annotated[int, Meta(ge=1)] | None = None
    robot_type: str | None = None
    samg_ros: dict[str, Any] = {}


_FIELD = re.compile(r'\{(?P<name>chunk_index|file_index):0(?P<width>[1-9])d\}')
_ADVICE = 'fetch or import it again'
_MOST_CHARACTERS = 10_000
_MOST_ROWS = 10**7
"""Of one file; LeRobot begins another after 100 MB."""


class LeRobotDataset:
    """A data set on disk."""

    def __init__(self, folder: Path | str) -> None:
        """Open a data set.

        Raises:
            DemonstrationError: if there is none, or its description cannot be used.
        """
        self.folder = Path(folder).expanduser()
        path = self.folder / layout.INFO
        if not path.is_file():
            raise DemonstrationError(f"'{folder}' is no LeRobot data set: there is no "
                                     f'{layout.INFO} in it')
        values = read_json(path, _Info, DemonstrationError)
        self._check_version(values)
        self._pattern, self._columns = values.data_path, set(values.features)
        with parsing(f"the data set '{folder}' cannot be read", DemonstrationError, _ADVICE):
            self.info = _info(values, self._task())
            self._episodes = self._read_episodes()
        there, promised = len(self._episodes), values.total_episodes
        if not there or promised not in (None, there):
            raise DemonstrationError(f"'{folder}' describes {there} episodes in meta/episodes, and "
                                     f'{promised or "some"} in {layout.INFO}; {_ADVICE}')

    def __len__(self) -> int:
        return len(self._episodes)

    def episodes(self) -> Iterator[ArmEpisode]:
        """Read the episodes one after the other.

        Raises:
            DemonstrationError: if one is missing or damaged.
        """
        opened: tuple[Path, Any] | None = None
        for row in self._episodes:
            index = row['episode_index']
            with parsing(f"episode {index} of '{self.folder}' cannot be read", DemonstrationError,
                         _ADVICE):
                path = self._path(row)
                if opened is None or opened[0] != path:
                    opened = path, _EpisodeFile(path)
                yield self._episode(row, opened[1].rows(int(row['episode_index'])))

    def _path(self, row: Mapping[str, Any]) -> Path:
        """Return the file of an episode; it must be in the data set's folder.

        Raises:
            ValueError: if the pattern is another than LeRobot's, or leads elsewhere.
        """
        numbers = {name: int(row[f'data/{name}']) for name in ('chunk_index', 'file_index')}
        # Not str.format: a pattern from elsewhere could ask for any width and attribute.
        name = _FIELD.sub(lambda found: f'{numbers[found["name"]]:0{found["width"]}d}',
                          self._pattern)
        path = self.folder / name
        if '{' in name or not path.resolve().is_relative_to(self.folder.resolve()):
            raise ValueError(f"data_path '{self._pattern}' is not one of LeRobot's")
        return path

    def _episode(self, row: Mapping[str, Any], table: Any) -> ArmEpisode:
        count = len(table)
        if count != row['length']:
            raise DemonstrationError(f"episode {row['episode_index']} of '{self.folder}' has "
                                     f"{count} rows, not the {row['length']} of its description")
        if layout.STAMP in self._columns:
            stamps = _array(table, layout.STAMP, np.int64).reshape(-1)
        else:
            stamps = np.round(_array(table, 'frame_index', np.float64).reshape(-1)
                              / self.info.fps * 1e9).astype(np.int64)
        joints = np.empty((count, 0))
        if self.info.joints:
            joints = _array(table, layout.JOINTS if layout.JOINTS in self._columns
                            else layout.STATE, np.float64)
        actions = _array(table, layout.COMMANDS if layout.COMMANDS in self._columns
                         else layout.ACTION, np.float64)
        frames = {camera: np.stack([_decoded(each['bytes']) for each in
                                    table[layout.IMAGES + camera].to_pylist()])
                  for camera in self.info.cameras}
        masks = {camera: np.stack([from_text(text, self.info.cameras[camera]) for text in
                                   table[layout.MASKS + camera].to_pylist()])
                 for camera in self.info.masks}
        success = row.get('samg_ros/success')
        return ArmEpisode(stamps, frames, joints, actions, masks, success,
                          str(row.get('samg_ros/source') or self.folder))

    def _check_version(self, values: _Info) -> None:
        if values.codebase_version != layout.VERSION:
            raise DemonstrationError(
                f"'{self.folder}' is a data set of version {values.codebase_version}; expected "
                f'{layout.VERSION}. LeRobot converts older ones')
        videos = [name for name, each in values.features.items() if each.dtype == 'video']
        if videos:
            raise DemonstrationError(
                f"the frames '{videos[0]}' of '{self.folder}' are a video; data sets with images "
                'are read (LeRobot: use_videos=False)')

    def _task(self) -> str:
        table = _parquet(self.folder / layout.TASKS).read()
        return str(table[table.column_names[-1]][0].as_py())[:_MOST_CHARACTERS]

    def _read_episodes(self) -> list[dict[str, Any]]:
        """Read which rows belong to which episode; the statistics stay on disk."""
        rows: list[dict[str, Any]] = []
        for path in sorted((self.folder / 'meta/episodes').rglob('*.parquet')):
            file = _parquet(path)
            names = [name for name in file.schema_arrow.names if not name.startswith('stats/')]
            rows += file.read(columns=names).to_pylist()
        return sorted(rows, key=lambda row: row['episode_index'])


class _EpisodeFile:
    """A data file; one episode is in memory at a time."""

    def __init__(self, path: Path) -> None:
        self._file = _parquet(path)
        self._groups: dict[int, list[int]] = {}
        for group in range(self._file.num_row_groups):
            column = self._file.read_row_group(group, columns=['episode_index'])
            for index in set(column['episode_index'].to_pylist()):
                self._groups.setdefault(index, []).append(group)

    def rows(self, episode: int) -> Any:
        """Return the rows of an episode as a table."""
        table = self._file.read_row_groups(self._groups[episode])
        return table.filter(compute.equal(table['episode_index'], episode))


def _parquet(path: Path) -> Any:
    """Open a table.

    Raises:
        DemonstrationError: if there is none, or it is no regular file.
        ValueError: if it has more rows than a data set's can have: a few kilobytes may say so.
    """
    check_readable(path, DemonstrationError)
    file = parquet.ParquetFile(path)
    if file.metadata.num_rows > _MOST_ROWS:
        raise ValueError(f"'{path}' has {file.metadata.num_rows} rows; at most {_MOST_ROWS} are "
                         'read')
    return file


def _info(values: _Info, task: str) -> DatasetInfo:
    features = values.features
    if layout.ACTION not in features:
        raise ValueError(f"it has no column '{layout.ACTION}'")
    cameras = {name.removeprefix(layout.IMAGES): (each.shape[0], each.shape[1])
               for name, each in features.items() if each.dtype == 'image'}
    return DatasetInfo(task, values.fps, _names(features.get(layout.STATE)),
                       _names(features[layout.ACTION]), cameras,
                       tuple(name.removeprefix(layout.MASKS) for name in features
                             if name.startswith(layout.MASKS)),
                       values.robot_type or '', values.samg_ros)


def _names(feature: _Feature | None) -> tuple[str, ...]:
    """Return the names of a vector's numbers; LeRobot allows none, a list, or a mapping."""
    if feature is None:
        return ()
    names = feature.names
    if isinstance(names, dict):
        names = next(iter(names.values()))
    return tuple(names or map(str, range(feature.shape[0])))


def _array(table: Any, column: str, kind: type) -> npt.NDArray[Any]:
    return np.array(table[column].to_pylist(), kind)


def _decoded(data: bytes) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(decode_picture(data), cv2.COLOR_BGR2RGB), np.uint8)
