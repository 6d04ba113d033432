# SPDX-License-Identifier: Apache-2.0
"""Reads a LeRobotDataset v3 whose frames are stored as images, an episode at a time.

Data sets of other programs are read too: without recorded stamps the time is the frame number
over the rate, and without float64 columns state and action are the float32 ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from samg_ros.demonstrations import lerobot_layout as layout
from samg_ros.demonstrations.episode import ArmEpisode
from samg_ros.demonstrations.lerobot_layout import DatasetInfo
from samg_ros.demonstrations.run_lengths import from_text
from samg_ros.errors import DemonstrationError, MissingDependencyError, first_line
from samg_ros.files.pictures import decode_picture

try:
    import pyarrow
    from pyarrow import parquet
except ImportError as error:
    raise MissingDependencyError(
        'LeRobot data sets need pyarrow; run `pip install pyarrow`') from error


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
        try:
            values = json.loads(path.read_text())
            self._check_version(values)
            self.info = _info(values, self._task())
            self._pattern = str(values['data_path'])
            self._columns = set(values['features'])
            self._episodes = self._read_episodes()
        except DemonstrationError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError,
                pyarrow.ArrowException) as error:
            raise DemonstrationError(f"the data set '{folder}' cannot be read: "
                                     f'{first_line(error)}') from error

    def __len__(self) -> int:
        return len(self._episodes)

    def episodes(self) -> Iterator[ArmEpisode]:
        """Read the episodes one after the other.

        Raises:
            DemonstrationError: if one is missing or damaged.
        """
        opened: tuple[Path, Any] | None = None
        for row in self._episodes:
            path = self.folder / self._pattern.format(chunk_index=row['data/chunk_index'],
                                                      file_index=row['data/file_index'])
            try:
                if opened is None or opened[0] != path:
                    opened = path, _EpisodeFile(path)
                yield self._episode(row, opened[1].rows(int(row['episode_index'])))
            except (OSError, ValueError, KeyError, TypeError, pyarrow.ArrowException) as error:
                raise DemonstrationError(f"episode {row['episode_index']} of '{self.folder}' "
                                         f'cannot be read: {first_line(error)}') from error

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

    def _check_version(self, values: Mapping[str, Any]) -> None:
        if values['codebase_version'] != layout.VERSION:
            raise DemonstrationError(
                f"'{self.folder}' is a data set of version {values['codebase_version']}; expected "
                f'{layout.VERSION}. LeRobot converts older ones')
        videos = [name for name, each in values['features'].items() if each['dtype'] == 'video']
        if videos:
            raise DemonstrationError(
                f"the frames '{videos[0]}' of '{self.folder}' are a video; data sets with images "
                'are read (LeRobot: use_videos=False)')

    def _task(self) -> str:
        table = parquet.read_table(self.folder / layout.TASKS)
        return str(table[table.column_names[-1]][0].as_py())

    def _read_episodes(self) -> list[dict[str, Any]]:
        """Read which rows belong to which episode; the statistics stay on disk."""
        rows: list[dict[str, Any]] = []
        for path in sorted((self.folder / 'meta/episodes').rglob('*.parquet')):
            names = [name for name in parquet.read_schema(path).names
                     if not name.startswith('stats/')]
            rows += parquet.read_table(path, columns=names).to_pylist()
        return sorted(rows, key=lambda row: row['episode_index'])


class _EpisodeFile:
    """A data file; one episode is in memory at a time."""

    def __init__(self, path: Path) -> None:
        self._file = parquet.ParquetFile(path)
        self._groups: dict[int, list[int]] = {}
        for group in range(self._file.num_row_groups):
            column = self._file.read_row_group(group, columns=['episode_index'])
            for index in set(column['episode_index'].to_pylist()):
                self._groups.setdefault(index, []).append(group)

    def rows(self, episode: int) -> Any:
        """Return the rows of an episode as a table."""
        table = self._file.read_row_groups(self._groups[episode])
        return table.filter(pyarrow.compute.equal(table['episode_index'], episode))


def _info(values: Mapping[str, Any], task: str) -> DatasetInfo:
    features = values['features']
    cameras = {name.removeprefix(layout.IMAGES): tuple(each['shape'][:2])
               for name, each in features.items() if each['dtype'] == 'image'}
    joints = _names(features.get(layout.STATE))
    return DatasetInfo(task, float(values['fps']), joints, _names(features[layout.ACTION]),
                       cameras, tuple(name.removeprefix(layout.MASKS) for name in features
                                      if name.startswith(layout.MASKS)),
                       values.get('robot_type') or '', values.get(layout.EXTRA, {}))


def _names(feature: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return the names of a vector's numbers; LeRobot allows none, a list, or a mapping."""
    if feature is None:
        return ()
    names = feature['names']
    if isinstance(names, Mapping):
        names = next(iter(names.values()))
    return tuple(map(str, names or range(feature['shape'][0])))


def _array(table: Any, column: str, kind: type) -> npt.NDArray[Any]:
    return np.array(table[column].to_pylist(), kind)


def _decoded(data: bytes) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(decode_picture(data), cv2.COLOR_BGR2RGB), np.uint8)
