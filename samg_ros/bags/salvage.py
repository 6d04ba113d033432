# SPDX-License-Identifier: Apache-2.0
"""Reads a storage file that a proper reader gives up on: what is left of it, or all of it.

A recorder that lost power leaves an MCAP file without its index, or an SQLite file without its
last pages. Here files are read from the front, record by record, and what cannot be read is
stepped over and put down in words.
"""

from __future__ import annotations

import contextlib
import io
import os
import sqlite3
import struct
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import lz4.frame
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Message, Schema
from mcap.stream_reader import breakup_chunk

from samg_ros.errors import BagError, plain
from samg_ros.files.reading import check_readable

MCAP_MAGIC = b'\x89MCAP0\r\n'
ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'
"""No serialized message begins like this: the first byte of CDR is 0."""
SUFFIXES = ('.mcap', '.db3', '.mcap.zstd', '.db3.zstd')
CDR, ROS1 = 'cdr', 'ros1'
"""Encodings of messages that are read, by their names in both kinds of file."""
_FRAMING = struct.Struct('<BQ')
_COMPRESSION_AT = 28
"""Where a chunk names its compression: behind two times, a size and a checksum (MCAP's
specification, op 0x06)."""
_LARGEST_STEP = 2 ** 24
MAX_MESSAGE_BYTES = 2**29
"""Of a message, or of a chunk of them, unpacked: five raw frames of 8K."""
MAX_RATIO, MAX_FREE_BYTES = 200, 2**28
"""Greatest size of an unpacked file: this ratio times its packed size, plus these bytes. Raw
frames of a plain simulation reach a ratio of 50."""
_LZ4_RATIO = 255
"""The greatest that LZ4 can have."""


class RawMessage(NamedTuple):
    """A message as it is stored."""

    topic: str
    type: str
    """Such as sensor_msgs/msg/Image."""
    log_time_ns: int
    data: bytes
    encoding: str = CDR
    """CDR, or ROS1 where a file of ROS 1 was converted to MCAP."""


def salvage(path: Path, losses: list[str]) -> Iterator[RawMessage]:
    """Yield the messages of one storage file that can still be read, in the file's order.

    Args:
        path: a file whose name ends in one of SUFFIXES.
        losses: gets a line for everything that cannot be read.
    """
    if path.name.endswith('.zstd'):
        with tempfile.TemporaryDirectory() as folder:
            unpacked = Path(folder) / path.stem
            _unpack(path, unpacked, losses)
            check_storage(unpacked)
            yield from salvage(unpacked, losses)
        return
    read = _read_mcap if path.suffix == '.mcap' else _read_sqlite
    packed, foreign = 0, Counter[str]()
    for message in read(path, losses):
        if message.encoding not in (CDR, ROS1):
            foreign[message.encoding] += 1
            continue
        data = message.data
        if data.startswith(ZSTD_MAGIC):
            try:
                data = _unpacked(data)
            except (zstandard.ZstdError, ValueError):
                packed += 1
                continue
        yield message._replace(data=data)
    if packed:
        losses.append(f'{path.name}: {packed} messages cannot be decompressed')
    losses.extend(f"{path.name}: {count} messages are encoded as '{encoding}', not as ROS does"
                  for encoding, count in foreign.items())


def check_storage(path: Path) -> None:
    """Check that a storage file can be read to its end, and in the memory that there is.

    Args:
        path: a file whose name ends in one of SUFFIXES.

    Raises:
        BagError: if it is no regular file, is an SQLite file whose tables are computed (a view may
            be endless), or has a chunk of more than MAX_MESSAGE_BYTES.
    """
    check_readable(path, BagError)
    if path.suffix == '.db3':
        _check_tables(path)
    elif path.suffix == '.mcap':
        _check_chunks(path)


def _check_tables(path: Path) -> None:
    with contextlib.closing(_database(path)) as database, \
            contextlib.suppress(sqlite3.DatabaseError):  # a damaged file, of which some is left
        for name, kind, text in database.execute('SELECT name, type, sql FROM sqlite_master'):
            computed = kind == 'view' or str(text).upper().startswith('CREATE VIRTUAL') \
                or kind == 'table' and any(
                    column[-1] for column in database.execute(
                        'SELECT hidden FROM pragma_table_xinfo(?)', (name,)))
            if computed:
                raise BagError(f"'{path}' has '{plain(name, 60)}', which is computed, where bags "
                               'have tables; it is not read')


def _check_chunks(path: Path) -> None:
    size = path.stat().st_size
    with path.open('rb') as file:
        file.seek(len(MCAP_MAGIC))
        while len(framing := file.read(_FRAMING.size)) == _FRAMING.size:
            opcode, length = _FRAMING.unpack(framing)
            end = file.tell() + length
            if end > size:
                return  # a damaged file, of which some is left
            if opcode == Opcode.CHUNK:
                try:
                    _check_chunk(file.read(length))
                except ValueError as error:
                    raise BagError(f"'{path}' is not read: a chunk of it {error}") from error
                except Exception:  # noqa: BLE001  damaged; of any class, as in `parsing`
                    pass
            file.seek(end)


def _check_chunk(body: bytes) -> None:
    """Raise ValueError if what is packed is larger than it may be, whatever its header claims."""
    compression, data = _chunk_data(body)
    if compression == b'zstd':
        reader = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True)
        left = MAX_MESSAGE_BYTES
        while left >= 0 and (block := reader.read(1 << 20)):
            left -= len(block)
    elif compression == b'lz4' and _LZ4_RATIO * len(data) > MAX_MESSAGE_BYTES:
        left = MAX_MESSAGE_BYTES - len(lz4.frame.LZ4FrameDecompressor().decompress(
            data, MAX_MESSAGE_BYTES + 1))
    else:
        left = 0
    if left < 0:
        raise ValueError(f'has more than {MAX_MESSAGE_BYTES} bytes unpacked')


def _unpacked(data: bytes) -> bytes:
    """Return what a packed message holds.

    Raises:
        ValueError: if it is larger than it may be.
        ZstdError: if it is damaged.
    """
    if zstandard.frame_content_size(data) > MAX_MESSAGE_BYTES:
        raise ValueError(f'it has more than {MAX_MESSAGE_BYTES} bytes unpacked')
    return zstandard.ZstdDecompressor().decompress(data, MAX_MESSAGE_BYTES)


def has_journal(path: Path) -> bool:
    """Whether messages wait beside an SQLite file, as a recorder that was killed leaves them."""
    journal = path.with_name(f'{path.name}-wal')
    return journal.exists() and bool(journal.stat().st_size)


def _unpack(source: Path, target: Path, losses: list[str]) -> None:
    """Decompress a file as far as it goes.

    Raises:
        BagError: if it becomes larger than it may.
    """
    most = MAX_RATIO * source.stat().st_size + MAX_FREE_BYTES
    with source.open('rb') as packed, target.open('wb') as unpacked:
        reader = zstandard.ZstdDecompressor().stream_reader(packed)
        with contextlib.suppress(EOFError):
            try:
                while block := reader.read(1 << 20):
                    unpacked.write(block)
                    if unpacked.tell() > most:
                        raise BagError(f"'{source}' unpacks to more than {MAX_RATIO} times its "
                                       f'size; if that is right, run zstd -d {source.name}')
            except zstandard.ZstdError as error:
                losses.append(f'{source.name}: decompressed up to byte {unpacked.tell()} only '
                              f'({error})')


def _read_mcap(path: Path, losses: list[str]) -> Iterator[RawMessage]:
    schemas: dict[int, Schema] = {}
    channels: dict[int, Channel] = {}
    unknown = 0
    size = path.stat().st_size
    with path.open('rb') as file:
        if file.read(len(MCAP_MAGIC)) != MCAP_MAGIC:
            losses.append(f'{path.name}: does not begin as an MCAP file does')
            return
        while True:
            start = file.tell()
            framing = file.read(_FRAMING.size)
            if len(framing) < _FRAMING.size:
                losses.append(f'{path.name}: ends at byte {size} without its index')
                break
            opcode, length = _FRAMING.unpack(framing)
            if opcode in (Opcode.DATA_END, Opcode.FOOTER):
                file.seek(-len(MCAP_MAGIC), os.SEEK_END)
                if file.read() != MCAP_MAGIC:
                    losses.append(f'{path.name}: ends at byte {size} within its index')
                break
            is_cut = start + _FRAMING.size + length > size
            if is_cut or not opcode:
                losses.append(f'{path.name}: no whole record at byte {start} of {size}; what '
                              'follows is lost')
                if opcode != Opcode.CHUNK:
                    break
            body = file.read(min(length, size))
            try:
                records = _begun_chunk(body) if is_cut else _records(opcode, body)
            except Exception as error:  # noqa: BLE001  of any class: see `files.reading.parsing`
                losses.append(f'{path.name}: the {length} bytes at {start} cannot be read '
                              f'({str(error) or type(error).__name__})')
                continue
            for record in records:
                if isinstance(record, Schema):
                    schemas[record.id] = record
                elif isinstance(record, Channel):
                    channels[record.id] = record
                elif isinstance(record, Message):
                    channel = channels.get(record.channel_id)
                    schema = schemas.get(channel.schema_id) if channel else None
                    if channel is None or schema is None:
                        unknown += 1
                        continue
                    kind, encoding = schema.name, channel.message_encoding
                    if encoding == ROS1:
                        kind = '/msg/'.join(kind.split('/'))
                    yield RawMessage(channel.topic, kind, record.log_time, record.data, encoding)
            if is_cut:
                break
    if unknown:
        losses.append(f'{path.name}: {unknown} messages whose topic was in a lost part')


def _records(opcode: int, body: bytes) -> list[object]:
    """The schemas, channels and messages of one record; a chunk has many."""
    stream = ReadDataStream(io.BytesIO(body))
    if opcode == Opcode.CHUNK:
        return list(breakup_chunk(Chunk.read(stream), validate_crc=True))
    if opcode == Opcode.SCHEMA:
        return [Schema.read(stream)]
    if opcode == Opcode.CHANNEL:
        return [Channel.read(stream)]
    if opcode == Opcode.MESSAGE:
        return [Message.read(stream, len(body))]
    return []


def _chunk_data(body: bytes) -> tuple[bytes, bytes]:
    """Return the compression of a chunk and its packed records."""
    (name_length,) = struct.unpack_from('<I', body, _COMPRESSION_AT)
    name_end = _COMPRESSION_AT + 4 + name_length
    return body[_COMPRESSION_AT + 4:name_end], body[name_end + 8:]


def _begun_chunk(body: bytes) -> list[object]:
    """The whole records at the beginning of a chunk that was cut, as far as it decompresses."""
    compression, data = _chunk_data(body)
    if compression == b'zstd':
        data = zstandard.ZstdDecompressor().stream_reader(data).read(MAX_MESSAGE_BYTES)
    elif compression:
        return []
    records: list[object] = []
    at = 0
    while at + _FRAMING.size <= len(data):
        opcode, length = _FRAMING.unpack_from(data, at)
        at += _FRAMING.size
        if at + length > len(data):
            break
        records += _records(opcode, data[at:at + length])
        at += length
    return records


def _database(path: Path) -> sqlite3.Connection:
    mode = 'mode=ro' if has_journal(path) else 'mode=ro&immutable=1'
    return sqlite3.connect(f'{path.resolve().as_uri()}?{mode}', uri=True)


def _read_sqlite(path: Path, losses: list[str]) -> Iterator[RawMessage]:
    if not os.path.getsize(path):
        losses.append(f'{path.name}: the file is empty')
        return
    with contextlib.closing(_database(path)) as database:
        try:
            # SQLite refuses a file that is shorter than its header says, unless this is set.
            database.execute('PRAGMA writable_schema = ON')
            topics = {key: rest for key, *rest in database.execute(
                'SELECT id, name, type, serialization_format FROM topics')}
        except sqlite3.DatabaseError as error:
            losses.append(f'{path.name}: its topics cannot be read ({error})')
            return
        last, step, unknown = 0, 0, 0
        missing: list[tuple[int, int]] = []
        while step <= _LARGEST_STEP:
            try:
                rows = database.execute('SELECT id, topic_id, timestamp, data FROM messages '
                                        'WHERE id > ? ORDER BY id', (last + step,))
                for key, topic, timestamp, data in rows:
                    if key > last + 1:
                        missing.append((last + 1, key - 1))
                    last, step = key, 0
                    if topic not in topics or not isinstance(data, bytes):
                        unknown += 1
                        continue
                    name, kind, encoding = topics[topic]
                    yield RawMessage(name, kind, timestamp, data, encoding)
            except sqlite3.DatabaseError:
                step = max(1, 2 * step)
                continue
            if step:
                losses.append(f'{path.name}: nothing can be read behind message {last}')
            break
        else:
            losses.append(f'{path.name}: nothing can be read behind message {last}')
    losses.extend(f'{path.name}: messages {first} to {final} cannot be read'
                  for first, final in missing)
    if unknown:
        losses.append(f'{path.name}: {unknown} messages of no known topic')
