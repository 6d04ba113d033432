# SPDX-License-Identifier: Apache-2.0
"""Writes a LeRobotDataset v3, an episode at a time.

Frames are stored without loss, as PNG in the rows. The folder gets its name when it is complete;
until then it is a hidden one beside, so that a data set is whole or not there.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from samg_ros.demonstrations import lerobot_layout as layout
from samg_ros.demonstrations.episode import ArmEpisode
from samg_ros.demonstrations.lerobot_layout import DatasetInfo
from samg_ros.demonstrations.lerobot_stats import Stats, column_stats, image_stats, merged
from samg_ros.demonstrations.run_lengths import to_text
from samg_ros.errors import DemonstrationError, MissingDependencyError

try:
    import pyarrow
    from pyarrow import parquet
except ImportError as error:
    raise MissingDependencyError(
        'LeRobot data sets need pyarrow; run `pip install pyarrow`') from error

_DATA_FILE_BYTES = 100 * 2**20
"""A data file is ended by the episode that makes it larger than this, as LeRobot does."""


class LeRobotWriter:
    """A data set that is being written; a context manager that completes it."""

    def __init__(self, folder: Path | str, info: DatasetInfo) -> None:
        """Begin a data set.

        Args:
            folder: must not be there yet.
            info: what the episodes have in common.

        Raises:
            DemonstrationError: if the folder is there already or cannot be made.
        """
        self.folder = Path(folder).expanduser()
        if self.folder.exists():
            raise DemonstrationError(f"'{folder}' exists; choose another folder")
        self._info, self._features = info, info.features()
        self._rows: list[dict[str, Any]] = []
        self._stats: list[dict[str, Stats]] = []
        self._frames = self._file = 0
        self._writer: Any = None
        self._schema = _schema(self._features)
        with self._disk():
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self._partial = Path(tempfile.mkdtemp(prefix=f'.{self.folder.name}-', suffix='.partial',
                                                  dir=self.folder.parent))
            self._partial.chmod(0o755)  # a temporary folder is its owner's alone

    def __enter__(self) -> LeRobotWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None
                 ) -> None:
        if kind is not None:
            self.discard()
            return
        try:
            self.close()
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Delete what was written so far."""
        self._end_file()
        shutil.rmtree(self._partial, ignore_errors=True)

    def add(self, episode: ArmEpisode) -> None:
        """Write an episode.

        Raises:
            DemonstrationError: if it does not fit the data set, or cannot be written.
        """
        self._check(episode)
        count, index = len(episode.stamps), len(self._rows)
        columns: dict[str, npt.NDArray[Any]] = {
            layout.ACTION: episode.actions.astype(np.float32),
            layout.COMMANDS: episode.actions, layout.STAMP: episode.stamps,
            'timestamp': (np.arange(count) / self._info.fps).astype(np.float32),
            'frame_index': np.arange(count), 'episode_index': np.full(count, index),
            'index': np.arange(self._frames, self._frames + count),
            'task_index': np.zeros(count, np.int64)}
        if self._info.joints:
            columns[layout.STATE] = episode.joints.astype(np.float32)
            columns[layout.JOINTS] = episode.joints
        stats = {name: column_stats(values.reshape(count, -1))
                 for name, values in columns.items()}
        data: dict[str, Any] = {
            name: values.tolist() if values.ndim > 1 else values
            for name, values in columns.items()}
        for camera, frames in episode.frames.items():
            data[layout.IMAGES + camera] = [
                {'bytes': _png(frame), 'path': f'frame-{at:06d}.png'}
                for at, frame in enumerate(frames)]
            stats[layout.IMAGES + camera] = image_stats(frames)
        for camera in self._info.masks:
            data[layout.MASKS + camera] = [to_text(mask) for mask in episode.masks[camera]]
        with self._disk():
            place = self._write(pyarrow.table(
                [pyarrow.array(data[field.name], field.type) for field in self._schema],
                schema=self._schema))
        self._rows.append({
            'episode_index': index, 'tasks': [self._info.task], 'length': count,
            'data/chunk_index': place[0], 'data/file_index': place[1],
            'dataset_from_index': self._frames, 'dataset_to_index': self._frames + count,
            **{f'stats/{column}/{name}': value.tolist()
               for column, each in stats.items() for name, value in each.items()},
            'meta/episodes/chunk_index': 0, 'meta/episodes/file_index': 0,
            'samg_ros/success': episode.success, 'samg_ros/source': episode.source})
        self._stats.append(stats)
        self._frames += count

    def close(self) -> None:
        """Complete the data set.

        Raises:
            DemonstrationError: if there is no episode, or the files cannot be written.
        """
        self._end_file()
        if not self._rows:
            shutil.rmtree(self._partial, ignore_errors=True)
            raise DemonstrationError(f"there is no episode for '{self.folder}'")
        info = {'codebase_version': layout.VERSION, 'robot_type': self._info.robot or None,
                'total_episodes': len(self._rows), 'total_frames': self._frames,
                'total_tasks': 1, 'chunks_size': layout.FILES_PER_CHUNK,
                'data_files_size_in_mb': _DATA_FILE_BYTES // 2**20,
                'video_files_size_in_mb': 200, 'fps': self._info.fps,
                'splits': {'train': f'0:{len(self._rows)}'},
                'data_path': layout.DATA_PATTERN, 'video_path': None,
                'features': self._features, layout.EXTRA: self._info.extra}
        stats = {column: {name: value.tolist() for name, value in each.items()}
                 for column, each in merged(self._stats).items()}
        with self._disk():
            self._write_json(layout.INFO, info)
            self._write_json(layout.STATS, stats)
            self._write_tasks()
            path = self._path(layout.EPISODES_PATTERN.format(chunk_index=0, file_index=0))
            parquet.write_table(pyarrow.Table.from_pylist(self._rows), path)
            os.replace(self._partial, self.folder)

    def _check(self, episode: ArmEpisode) -> None:
        expected = {'joints': len(self._info.joints), 'actions': len(self._info.action_names)}
        found = {'joints': episode.joints.shape[1], 'actions': episode.actions.shape[1]}
        if found != expected:
            raise DemonstrationError(f'{episode.source} has {found}, the data set {expected}')
        shapes = {name: frames.shape[1:3] for name, frames in episode.frames.items()}
        if set(episode.masks) != set(self._info.masks):
            raise DemonstrationError(f'{episode.source} has masks of {sorted(episode.masks)}, the '
                                     f'data set of {sorted(self._info.masks)}')
        if shapes != self._info.cameras:
            raise DemonstrationError(f'{episode.source} has frames of {shapes} (height, width), '
                                     f'the data set of {self._info.cameras}')

    def _write(self, table: Any) -> tuple[int, int]:
        """Write the rows of an episode; return chunk and number of their file."""
        place = divmod(self._file, layout.FILES_PER_CHUNK)
        path = self._path(layout.DATA_PATTERN.format(chunk_index=place[0], file_index=place[1]))
        if self._writer is None:
            self._writer = parquet.ParquetWriter(path, self._schema)
        self._writer.write_table(table)
        if path.stat().st_size > _DATA_FILE_BYTES:
            self._end_file()
            self._file += 1
        return place

    def _end_file(self) -> None:
        if self._writer is not None:
            with self._disk():
                self._writer.close()
            self._writer = None

    def _write_json(self, name: str, values: Any) -> None:
        self._path(name).write_text(json.dumps(values, indent=4) + '\n')

    def _write_tasks(self) -> None:
        """LeRobot reads the task texts as the index of a pandas table."""
        table = pyarrow.table({'task_index': pyarrow.array([0], pyarrow.int64()),
                               '__index_level_0__': [self._info.task]})
        pandas = {'index_columns': ['__index_level_0__'], 'column_indexes': [],
                  'columns': [{'name': 'task_index', 'field_name': 'task_index',
                               'pandas_type': 'int64', 'numpy_type': 'int64', 'metadata': None},
                              {'name': None, 'field_name': '__index_level_0__',
                               'pandas_type': 'unicode', 'numpy_type': 'object',
                               'metadata': None}], 'pandas_version': '2.0.0'}
        parquet.write_table(table.replace_schema_metadata({'pandas': json.dumps(pandas)}),
                            self._path(layout.TASKS))

    def _path(self, name: str) -> Path:
        path = self._partial / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DemonstrationError(f"cannot write the data set '{self.folder}': "
                                     f'{error.strerror or error}') from error


def _schema(features: dict[str, dict[str, Any]]) -> Any:
    """Return the parquet schema of the columns, with the description that LeRobot reads."""
    kinds = {'float32': pyarrow.float32(), 'float64': pyarrow.float64(), 'int64': pyarrow.int64(),
             'string': pyarrow.string(),
             'image': pyarrow.struct({'bytes': pyarrow.binary(), 'path': pyarrow.string()})}
    fields: list[Any] = []
    described: dict[str, dict[str, Any]] = {}
    for name, feature in features.items():
        kind, size = kinds[feature['dtype']], feature['shape'][0]
        scalar = {'dtype': feature['dtype'], '_type': 'Value'}
        if feature['dtype'] == 'image':
            described[name] = {'_type': 'Image'}
        elif feature['names'] is None:
            described[name] = scalar
        else:
            kind = pyarrow.list_(kind, size)
            described[name] = {'feature': scalar, 'length': size, '_type': 'List'}
        fields.append(pyarrow.field(name, kind))
    return pyarrow.schema(fields, {'huggingface': json.dumps({'info': {'features': described}})})


def _png(frame: npt.NDArray[np.uint8]) -> bytes:
    done, data = cv2.imencode('.png', cv2.cvtColor(frame, cv2.COLOR_RGB2BGR),
                              [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise DemonstrationError(f'OpenCV cannot encode a frame of shape {frame.shape} as PNG')
    return data.tobytes()
