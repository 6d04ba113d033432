# SPDX-License-Identifier: Apache-2.0
"""Writes serialized messages into one MCAP file as they come.

Chunks have checksums and are written when they are full or asked for, so that of a session that
is killed all but the last moments can be read. Metadata records say what a demonstration is about.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from mcap.records import Metadata
from mcap.stream_reader import StreamReader
from mcap.writer import CompressionType, Writer
from rosbags.typesys import Stores, get_typestore

from samg_ros.errors import BagError

METADATA, OUTCOME = 'samg_ros', 'samg_ros.outcome'
"""Names of the records: one at the start (task, note, reference, masker), one at the end."""


class Recording:
    """An MCAP file that is being written."""

    def __init__(self, path: Path) -> None:
        """Begin the file.

        Args:
            path: ends in .mcap; must not be there yet.

        Raises:
            BagError: if it is there, has another ending, or cannot be written.
        """
        if path.suffix != '.mcap':
            raise BagError(f"a recording is an MCAP file: call it '{path.stem}.mcap'")
        try:
            self._file = path.open('xb')
        except OSError as error:
            raise BagError(f"cannot record to '{path}': {error.strerror}; choose another name"
                           ) from error
        self._store = get_typestore(Stores.ROS2_KILTED)
        self._writer = Writer(self._file, compression=CompressionType.ZSTD)
        self._writer.start('ros2')
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}

    def add(self, topic: str, kind: str, log_time_ns: int, data: bytes) -> None:
        """Write a message.

        Args:
            topic: full name, such as /camera/image_raw.
            kind: type, such as sensor_msgs/msg/Image.
            log_time_ns: when it came.
            data: CDR.

        Raises:
            BagError: if the disk takes no more.
        """
        if topic not in self._channels:
            if kind not in self._schemas:
                definition, _ = self._store.generate_msgdef(kind, ros_version=2)
                self._schemas[kind] = self._writer.register_schema(kind, 'ros2msg',
                                                                   definition.encode())
            self._channels[topic] = self._writer.register_channel(topic, 'cdr',
                                                                  self._schemas[kind])
        with self._disk():
            self._writer.add_message(self._channels[topic], log_time_ns, data, log_time_ns)

    def describe(self, name: str, values: Mapping[str, str]) -> None:
        """Write a metadata record: what the session is about.

        Raises:
            BagError: if the disk takes no more.
        """
        with self._disk():
            self._writer.add_metadata(name, dict(values))

    def flush(self) -> None:
        """Hand all that was added to the system, so that a killed process does not lose it.

        Raises:
            BagError: if the disk takes no more.
        """
        with self._disk():
            self._writer.flush()
            self._file.flush()

    def close(self) -> None:
        """Write the index and close the file.

        Raises:
            BagError: if the disk takes no more; what was written before can be read.
        """
        with self._disk(), self._file:
            self._writer.finish()

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise BagError(f"the recording '{self._file.name}' cannot be continued: "
                           f'{error.strerror}; what it has so far can be read') from error


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata that a recording of this package holds, all records merged.

    Args:
        path: MCAP file, or the folder of a bag. Another kind of bag has none; a damaged file has
            what comes before the damage.
    """
    files = [path] if path.is_file() else sorted(path.glob('*.mcap'))
    found: dict[str, str] = {}
    for file in files:
        if file.suffix != '.mcap' or not file.is_file():
            continue
        with file.open('rb') as stream:
            try:
                for record in StreamReader(stream, skip_magic=False, emit_chunks=True).records:
                    if isinstance(record, Metadata) and record.name in (METADATA, OUTCOME):
                        found |= record.metadata
            except Exception:  # noqa: BLE001  of any class, as in `files.reading.parsing`
                continue  # the messages before the damage are read by `open_bag`
    return found


def success_of(found: dict[str, str]) -> bool | None:
    """Return whether the operator marked a success; None if not marked, or the end is missing."""
    return {'true': True, 'false': False}.get(found.get('success', ''))
