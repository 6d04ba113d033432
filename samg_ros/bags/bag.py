# SPDX-License-Identifier: Apache-2.0
"""A recorded bag: its topics, its messages, and what of it is lost.

A bag is read through once when it is opened. If the rosbags library reads it to its end, it reads
it from then on; if not, `salvage` gets out of the files what is left. Either way the messages
come as objects with the fields of the ROS messages, and no ROS is needed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

from msgspec import Struct
from rosbags.interfaces import ConnectionExtRosbag2
from rosbags.rosbag2 import Reader
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from samg_ros.bags.salvage import (
    CDR,
    ROS1,
    SUFFIXES,
    RawMessage,
    check_storage,
    has_journal,
    salvage,
)
from samg_ros.errors import BagError, first_line
from samg_ros.files.reading import check_readable
from samg_ros.files.schema import read_yaml

METADATA = 'metadata.yaml'
SLACK = 8
"""Bytes that Fast DDS leaves behind a message that ends in empty arrays of doubles, such as a
JointState without velocities and efforts. rosbags rejects a message with bytes left over."""


class Recorded(NamedTuple):
    """A message of a bag."""

    topic: str
    log_time_ns: int
    """When the recorder got it."""
    message: Any
    """With the fields of its ROS type; arrays are numpy arrays."""


@dataclass(frozen=True, eq=False)
class Bag:
    """A bag that was read once: its topics, and what could not be read."""

    path: Path
    topics: dict[str, str]
    """Name -> type, such as sensor_msgs/msg/Image."""
    counts: dict[str, int]
    """Name -> messages that can be read."""
    losses: tuple[str, ...]
    """What cannot be read, a line each; empty for a whole bag."""
    _read: Callable[[Collection[str] | None], Iterator[RawMessage]]
    undecodable: Counter[str] = field(default_factory=Counter)
    """Name -> messages that were not what their type says, as far as has been read."""

    def serialized(self, topics: Collection[str]) -> Iterator[RawMessage]:
        """Yield the messages of some topics as they would go over DDS, in the order of recording.

        Args:
            topics: names; those that the bag lacks have no messages.
        """
        store = get_typestore(Stores.ROS2_KILTED)
        for raw in self._read([name for name in topics if name in self.topics]):
            yield raw if raw.encoding == CDR else raw._replace(
                data=bytes(store.ros1_to_cdr(raw.data, raw.type)), encoding=CDR)

    def messages(self, topics: Collection[str]) -> Iterator[Recorded]:
        """Yield the messages of some topics, in the order of the recording.

        Messages that cannot be decoded are counted in `undecodable` and left out.

        Args:
            topics: names; those that the bag lacks have no messages.
        """
        store = get_typestore(Stores.ROS2_KILTED)
        self.undecodable.clear()
        for raw in self._read([name for name in topics if name in self.topics]):
            try:
                message = _decoded(store, raw)
            except Exception:  # noqa: BLE001 - wrong bytes can break a decoder anywhere
                self.undecodable[raw.topic] += 1
                continue
            yield Recorded(raw.topic, raw.log_time_ns, message)


def _decoded(store: Typestore, raw: RawMessage) -> object:
    if raw.encoding == ROS1:
        return store.deserialize_ros1(raw.data, raw.type)
    try:
        return store.deserialize_cdr(raw.data, raw.type)
    except SerdeError:
        return store.deserialize_cdr(raw.data[:-SLACK], raw.type)


def open_bag(path: str | Path) -> Bag:
    """Open a bag and read it through once.

    Args:
        path: folder with metadata.yaml, or a storage file; see `salvage.SUFFIXES`.

    Raises:
        BagError: if there is no bag, or no message of it can be read.
    """
    path = Path(path)
    _check_place(path)
    files = _storage_files(path)

    def whole(topics: Collection[str] | None) -> Iterator[RawMessage]:
        return _read_whole(path, topics)

    refusal = ''
    try:
        # rosbags unpacks whatever a packed bag holds, to any size.
        counts, types = _survey(whole(None)) if not _is_packed(path, files) else (Counter(), {})
        if counts and sum(counts.values()) >= _expected(path) \
                and not any(map(has_journal, files)):
            return Bag(path, types, dict(counts), (), whole)
    except Exception as error:  # noqa: BLE001 - a damaged file can break a reader anywhere
        refusal = first_line(error)

    # Not only damage leads here. rosbags leaves out topics whose QoS metadata.yaml has otherwise,
    # chunks without an index of messages, MCAP profiles other than ros2, and SQLite's journal.
    losses: list[str] = []
    announced = _announced(path, losses)

    def remains(topics: Collection[str] | None) -> Iterator[RawMessage]:
        return _read_remains(files, topics, [])

    counts, types = _survey(_read_remains(files, None, losses))
    left = sum(counts.values())
    if announced is not None and left < announced:
        losses.append(f'{left} of {announced} messages are left')
    if losses and refusal:
        losses.insert(0, f'not whole: {refusal}')
    if not counts and losses:
        raise BagError(f"'{path}' cannot be read: {'; '.join(losses)}")
    if not counts:
        raise BagError(f"'{path}' holds no message; record again with the camera running")
    return Bag(path, types, dict(counts), tuple(losses), remains)


def _check_place(path: Path) -> None:
    if not path.exists():
        raise BagError(f"there is no bag at '{path}'")
    if not path.is_dir() and not path.name.endswith(SUFFIXES):
        raise BagError(f"'{path}' is not a bag: expected a folder with {METADATA}, or a file "
                       f'ending in {", ".join(SUFFIXES)}')


def _read_whole(path: Path, topics: Collection[str] | None) -> Iterator[RawMessage]:
    """Read what is encoded as in ROS 2 with rosbags; None means all topics."""
    with Reader(path) as reader:
        wanted = [each for each in reader.connections if (topics is None or each.topic in topics)
                  and cast(ConnectionExtRosbag2, each.ext).serialization_format == CDR]
        if not wanted:
            return
        for connection, log_time_ns, data in reader.messages(wanted):
            yield RawMessage(connection.topic, connection.msgtype, log_time_ns, data)


def _read_remains(files: list[Path], topics: Collection[str] | None,
                  losses: list[str]) -> Iterator[RawMessage]:
    """Read with `salvage`; None means all topics."""
    for file in files:
        for raw in salvage(file, losses):
            if topics is None or raw.topic in topics:
                yield raw


def _survey(messages: Iterator[RawMessage]) -> tuple[Counter[str], dict[str, str]]:
    counts: Counter[str] = Counter()
    types: dict[str, str] = {}
    for raw in messages:
        counts[raw.topic] += 1
        types[raw.topic] = raw.type
    return counts, types


def _expected(path: Path) -> int:
    """The number of messages that a bag that rosbags reads says it has."""
    with Reader(path) as reader:
        return reader.message_count


class _Information(Struct):
    """What is used of a bag's description."""

    message_count: int
    compression_format: str = ''


class _Metadata(Struct):
    """A metadata.yaml of rosbag2."""

    rosbag2_bagfile_information: _Information


def _announced(path: Path, losses: list[str]) -> int | None:
    """The number of messages in a metadata.yaml that may be damaged; None if it does not say."""
    if path.is_file():
        return None
    if not (path / METADATA).exists():
        losses.append(f'{METADATA} is missing')
        return None
    try:
        found = read_yaml(path / METADATA, _Metadata, BagError)
        return found.rosbag2_bagfile_information.message_count
    except BagError:
        losses.append(f'{METADATA} cannot be read')
    return None


def _is_packed(path: Path, files: list[Path]) -> bool:
    """Whether files or messages of a bag are compressed as such, not only chunks of MCAP."""
    try:
        found = read_yaml(path / METADATA, _Metadata, BagError).rosbag2_bagfile_information
    except BagError:  # rosbags does not read it either
        found = _Information(0)
    return bool(found.compression_format) or any(file.suffix == '.zstd' for file in files)


def _storage_files(path: Path) -> list[Path]:
    """The storage files of a bag in the order of their numbers, which can be read safely."""
    if not path.is_dir():
        check_storage(path)
        return [path]
    if (path / METADATA).exists():
        check_readable(path / METADATA, BagError)
    files = [file for file in path.iterdir() if file.name.endswith(SUFFIXES)]
    if not files:
        raise BagError(f"'{path}' holds no file ending in {', '.join(SUFFIXES)}; give the folder "
                       'that `ros2 bag record` made')
    for file in files:
        check_storage(file)
    return sorted(files, key=lambda file: [int(part) if part.isdecimal() else part for part in
                                           re.split(r'(\d+)', file.name)])
