# SPDX-License-Identifier: Apache-2.0
"""Bags of every kind are read, and damaged ones say what was lost."""

import contextlib
import os
import shutil
import sqlite3
import struct

import numpy as np
import pytest
import yaml
import zstandard
from mcap.opcode import Opcode
from mcap.writer import CompressionType, IndexType

from samg_ros.bags.bag import open_bag
from samg_ros.bags.recording import read_metadata
from samg_ros.bags.salvage import MCAP_MAGIC
from samg_ros.bags.topics import find_topics, frame_of, stamp_ns
from samg_ros.errors import BagError

from .conftest import (
    BEGIN_NS,
    COUNT,
    LATE_NS,
    PERIOD_NS,
    compressed,
    image,
    scene,
    session,
    stamps,
    write,
    write_checked,
)

KINDS = [('mcap', 'none'), ('mcap', 'storage'), ('mcap', 'message'), ('mcap', 'file'),
         ('sqlite3', 'none'), ('sqlite3', 'message'), ('sqlite3', 'file')]
IMAGE = '/camera/image_raw'
LONG = 4 * COUNT


def storage_file(folder):
    return next(file for file in folder.iterdir() if file.name != 'metadata.yaml')


def frames(bag):
    return [frame_of(message) for _, _, message in bag.messages([IMAGE])]


@pytest.mark.parametrize(('storage', 'compression'), KINDS)
def test_frames_and_times_come_back_as_recorded(tmp_path, storage, compression):
    bag = open_bag(write(tmp_path / 'bag', session(), storage, compression))
    assert bag.losses == ()
    assert bag.counts == {IMAGE: COUNT, '/camera/segmentation': COUNT}
    read = list(bag.messages([IMAGE]))
    assert [stamp_ns(each.message) for each in read] == \
        [BEGIN_NS + i * PERIOD_NS for i in range(COUNT)]
    assert all(each.log_time_ns == stamp_ns(each.message) + LATE_NS for each in read)
    assert all(np.array_equal(frame_of(each.message), scene(i)[0])
               for i, each in enumerate(read))


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_storage_file_alone_is_a_bag(tmp_path, storage):
    bag = open_bag(storage_file(write(tmp_path / 'bag', session(), storage)))
    assert len(frames(bag)) == COUNT and bag.losses == ()


@pytest.mark.parametrize('compression', CompressionType)
def test_bag_of_the_public_mcap_library_is_read(tmp_path, compression):
    folder = write_checked(tmp_path / 'bag', session(), 1 << 14, compression=compression)
    bag = open_bag(folder / 'bag.mcap')
    assert bag.losses == ()
    assert np.array_equal(frames(bag), [scene(i)[0] for i in range(COUNT)])


MCAP_WITHOUT = {
    'index': {'index_types': IndexType.NONE},
    'index of messages': {'index_types': IndexType.CHUNK},
    'chunks': {'use_chunking': False},
    'checksums': {'enable_crcs': False},
    'summary': {'index_types': IndexType.NONE, 'use_statistics': False, 'repeat_channels': False,
                'repeat_schemas': False, 'use_summary_offsets': False},
    'profile': {'profile': ''},
}


@pytest.mark.parametrize('name', MCAP_WITHOUT)
def test_mcap_that_does_without_something_is_whole(tmp_path, name):
    folder = write_checked(tmp_path / 'bag', session(), 1 << 14, **MCAP_WITHOUT[name])
    bag = open_bag(folder / 'bag.mcap')
    assert bag.losses == ()
    assert np.array_equal(frames(bag), [scene(i)[0] for i in range(COUNT)])


def test_mcap_made_of_a_ros_1_bag_is_read(tmp_path):
    folder = write_checked(tmp_path / 'bag', session(), 1 << 14, profile='ros1')
    bag = open_bag(folder / 'bag.mcap')
    assert bag.losses == () and bag.topics[IMAGE] == 'sensor_msgs/msg/Image'
    read = list(bag.messages([IMAGE]))
    assert [stamp_ns(each.message) for each in read] == stamps()
    assert np.array_equal([frame_of(each.message) for each in read],
                          [scene(i)[0] for i in range(COUNT)])


def test_messages_of_no_ros_encoding_are_named(tmp_path):
    folder = write_checked(tmp_path / 'bag', session(truth=False), 1 << 14, profile='',
                           encoding='protobuf')
    with pytest.raises(BagError, match=f"{COUNT} messages are encoded as 'protobuf'"):
        open_bag(folder / 'bag.mcap')


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_metadata_with_another_qos_than_the_file_hides_nothing(tmp_path, storage):
    folder = write(tmp_path / 'bag', session(), storage)
    path = folder / 'metadata.yaml'
    metadata = yaml.safe_load(path.read_text())
    for topic in metadata['rosbag2_bagfile_information']['topics_with_message_count']:
        topic['topic_metadata']['offered_qos_profiles'] = '- history: 1\n  depth: 7\n'
    path.write_text(yaml.safe_dump(metadata))
    bag = open_bag(folder)
    assert bag.losses == () and len(frames(bag)) == COUNT


@pytest.mark.parametrize('alone', [False, True])
def test_what_a_killed_recorder_left_in_the_journal_is_read(tmp_path, alone):
    source = storage_file(write(tmp_path / 'bag', session(truth=False), 'sqlite3'))
    killed = tmp_path / 'killed'
    killed.mkdir()
    with contextlib.closing(sqlite3.connect(source)) as database:
        database.execute('PRAGMA journal_mode = WAL')
        database.execute('PRAGMA wal_autocheckpoint = 0')
        with database:
            rows = database.execute('SELECT * FROM messages WHERE id > 4').fetchall()
            database.execute('DELETE FROM messages WHERE id > 4')
        database.execute('PRAGMA wal_checkpoint(TRUNCATE)')
        with database:
            database.executemany('INSERT INTO messages VALUES (?, ?, ?, ?)', rows)
        for file in (source, source.with_name(f'{source.name}-wal')):
            shutil.copy(file, killed)
    bag = open_bag(killed / source.name if alone else killed)
    assert bag.losses[1:] == (() if alone else ('metadata.yaml is missing',))
    assert len(frames(bag)) == COUNT


def test_compressed_images_are_frames(tmp_path):
    bag = open_bag(write(tmp_path / 'bag', session(compressed, f'{IMAGE}/compressed')))
    topics = find_topics(bag)
    assert (topics.image, topics.truth) == (f'{IMAGE}/compressed', '/camera/segmentation')
    (first, *_) = bag.messages([topics.image])
    assert np.array_equal(frame_of(first.message), scene(0)[0])


def test_several_cameras_want_a_choice(tmp_path):
    bag = open_bag(write(tmp_path / 'bag', session() + session(name='/hand/image_raw')))
    with pytest.raises(BagError, match='--image.*/camera/image_raw, /hand/image_raw'):
        find_topics(bag)
    assert find_topics(bag, '/hand/image_raw').truth is None
    with pytest.raises(BagError, match="'/head' is not in the bag"):
        find_topics(bag, '/head')


# Damage: what is done to the bag, and what has to be said about it. Partial results keep frames.

def cut(share):
    def damage(folder, rng):
        file = storage_file(folder)
        data = file.read_bytes()
        file.write_bytes(data[:int(len(data) * share)])
    return damage


def zero(first, last):
    def damage(folder, rng):
        file = storage_file(folder)
        data = bytearray(file.read_bytes())
        begin, end = int(len(data) * first), int(len(data) * last)
        data[begin:end] = bytes(end - begin)
        file.write_bytes(data)
    return damage


def flip(first, last, count):
    def damage(folder, rng):
        file = storage_file(folder)
        data = bytearray(file.read_bytes())
        for place in rng.integers(int(len(data) * first), int(len(data) * last), count):
            data[place] ^= 1 << int(rng.integers(8))
        file.write_bytes(data)
    return damage


def drop_index(folder, rng):
    """As a recorder that was killed leaves it: no summary, no footer, no metadata."""
    file = storage_file(folder)
    data = file.read_bytes()
    summary = int.from_bytes(data[-28:-20], 'little')
    file.write_bytes(data[:summary - 13])
    (folder / 'metadata.yaml').unlink()


def without_metadata(folder, rng):
    (folder / 'metadata.yaml').unlink()


def bad_metadata(folder, rng):
    (folder / 'metadata.yaml').write_text('rosbag2_bagfile_information: {version: [')


def without_storage(folder, rng):
    storage_file(folder).unlink()


def empty_storage(folder, rng):
    storage_file(folder).write_bytes(b'')


def noise(folder, rng):
    file = storage_file(folder)
    file.write_bytes(rng.integers(0, 256, file.stat().st_size, dtype=np.uint8).tobytes())


def other_storage(folder, rng):
    """An SQLite database with the name of an MCAP file."""
    other = write(folder.parent / 'other', session(), 'sqlite3')
    shutil.copy(storage_file(other), storage_file(folder))


DAMAGES = {
    'mcap cut in half': ('mcap', 'storage', cut(0.5), 'without its index|no whole record'),
    'mcap cut in its index': ('mcap', 'storage', cut(0.999), 'end magic'),
    'mcap without chunks cut': ('mcap', 'none', cut(0.7), 'without its index|no whole record'),
    'mcap cut in a large chunk': ('mcap', 'none', cut(0.6), 'no whole record'),
    'mcap index missing': ('mcap', 'storage', drop_index, 'metadata.yaml is missing'),
    'mcap zeroed at the front': ('mcap', 'storage', zero(0, 0.1), 'cannot be read.*begin'),
    'mcap zeroed in the middle': ('mcap', 'storage', zero(0.4, 0.6), 'cannot be read|no whole'),
    'mcap zeroed at the end': ('mcap', 'storage', zero(0.8, 1), 'no whole record'),
    'mcap flipped in a chunk': ('mcap', 'checked', flip(0.3, 0.4, 20), 'cannot be read'),
    'mcap flipped throughout': ('mcap', 'checked', flip(0.1, 0.9, 6), 'cannot be read|no whole'),
    'mcap message zeroed': ('mcap', 'message', zero(0.4, 0.5), 'cannot be|no whole'),
    'mcap metadata missing': ('mcap', 'storage', without_metadata, 'metadata.yaml is missing'),
    'mcap metadata nonsense': ('mcap', 'storage', bad_metadata, 'YAML'),
    'mcap file missing': ('mcap', 'none', without_storage, 'holds no file'),
    'mcap file empty': ('mcap', 'none', empty_storage, 'cannot be read'),
    'mcap file is noise': ('mcap', 'none', noise, 'does not begin as an MCAP file'),
    'mcap is SQLite': ('mcap', 'none', other_storage, 'does not begin as an MCAP file'),
    'mcap.zstd cut': ('mcap', 'file', cut(0.6), 'decompressed up to|no whole record'),
    'sqlite3 cut': ('sqlite3', 'none', cut(0.6), 'cannot be read|nothing can be read'),
    'sqlite3 zeroed at the front': ('sqlite3', 'none', zero(0, 0.05), 'not a database'),
    'sqlite3 zeroed in the middle': ('sqlite3', 'none', zero(0.5, 0.7), 'cannot be read|nothing'),
    'sqlite3 metadata missing': ('sqlite3', 'none', without_metadata, 'metadata.yaml is missing'),
    'sqlite3 file empty': ('sqlite3', 'none', empty_storage, 'the file is empty'),
    'sqlite3.zstd cut': ('sqlite3', 'file', cut(0.6), 'cannot be read|nothing can|decompressed'),
    'sqlite3 message flipped': ('sqlite3', 'message', flip(0.3, 0.6, 60), 'lost|left|cannot be'),
}
UNREADABLE = {'mcap zeroed at the front', 'mcap file missing', 'mcap file empty',
              'mcap file is noise', 'mcap is SQLite', 'sqlite3 zeroed at the front',
              'sqlite3 file empty'}
UNHARMED = {'mcap cut in its index', 'mcap index missing', 'mcap metadata missing',
            'mcap metadata nonsense', 'sqlite3 metadata missing'}
"""Damage that loses no frame."""


@pytest.mark.parametrize('name', DAMAGES)
def test_damaged_bag_gives_an_error_or_says_what_was_lost(tmp_path, name):
    storage, compression, damage, words = DAMAGES[name]
    messages, folder = session(count=LONG), tmp_path / 'bag'
    if compression == 'checked':
        write_checked(folder, messages, 1 << 14)
    else:
        write(folder, messages, storage, compression, None if 'large' in name else 1 << 14)
    damage(folder, np.random.default_rng(len(name)))
    if name in UNREADABLE:
        with pytest.raises(BagError, match=words):
            open_bag(folder)
        return
    bag = open_bag(folder)
    found = frames(bag)
    assert bag.losses
    assert any(part in ' '.join(bag.losses) for part in words.split('|'))
    assert 0 < len(found) <= LONG
    assert (len(found) == LONG) == (name in UNHARMED)
    known = {scene(i)[0].tobytes() for i in range(LONG)}
    if name != 'sqlite3 message flipped':  # it has no checksum, and zstd notices only much
        assert all(frame.tobytes() in known for frame in found)


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_messages_that_are_not_of_their_type_are_counted(tmp_path, storage):
    messages = session(truth=False)
    for i in (2, 5):
        topic, log_time, kind, _ = messages[i]
        messages[i] = topic, log_time, kind, b'\0\1\0\0' + bytes([255]) * 40
    bag = open_bag(write(tmp_path / 'bag', messages, storage))
    assert len(frames(bag)) == COUNT - 2
    assert bag.undecodable == {IMAGE: 2}


def test_bytes_that_fast_dds_leaves_behind_a_message_are_no_damage(tmp_path):
    kind = 'sensor_msgs/msg/JointState'  # 8 bytes of anything behind two empty arrays
    data = bytes.fromhex('0001000000000000000000000100000000ec118d01000000020000006100000001000000'
                         '000000000000f03f0000000000000000d17f0000f0491c84')
    bag = open_bag(write(tmp_path / 'bag', [('/joint_states', 1, kind, data)]))
    [joints] = [found.message for found in bag.messages(['/joint_states'])]
    assert (joints.name, joints.position.tolist(), len(joints.velocity)) == (['a'], [1.0], 0)
    assert not bag.undecodable


def test_bag_without_messages_is_an_error(tmp_path):
    with pytest.raises(BagError, match='no message'):
        open_bag(write(tmp_path / 'bag', []))


def test_what_is_no_bag_is_an_error(tmp_path):
    (tmp_path / 'notes.txt').write_text('hello')
    for path, words in ((tmp_path / 'gone', 'there is no bag'),
                        (tmp_path / 'notes.txt', 'is not a bag'), (tmp_path, 'holds no file')):
        with pytest.raises(BagError, match=words):
            open_bag(path)


def test_compressed_storage_file_alone_is_a_bag(tmp_path):
    file = storage_file(write(tmp_path / 'bag', session(), 'sqlite3'))
    packed = tmp_path / 'alone.db3.zstd'
    packed.write_bytes(zstandard.ZstdCompressor().compress(file.read_bytes()))
    assert len(frames(open_bag(packed))) == COUNT


def test_bag_in_several_files_is_one(tmp_path):
    folder = tmp_path / 'bag'
    folder.mkdir()
    whole = session(truth=False)
    for part, messages in (('bag_10', whole[6:]), ('bag_2', whole[:6])):
        shutil.copy(storage_file(write(tmp_path / part, messages)), folder / f'{part}.mcap')
    bag = open_bag(folder)
    assert [stamp_ns(each.message) for each in bag.messages([IMAGE])] == \
        [BEGIN_NS + i * PERIOD_NS for i in range(COUNT)]
    assert image(BEGIN_NS, scene(0)[0])[0] == bag.topics[IMAGE]


def test_no_topics_means_no_messages(tmp_path):
    bag = open_bag(write(tmp_path / 'bag', session()))
    assert list(bag.messages([])) == list(bag.serialized([])) == []
    assert list(bag.messages(['/gone'])) == []


ENDLESS = {
    'a view': ('ALTER TABLE messages RENAME TO old', 'CREATE VIEW messages AS WITH RECURSIVE '
               'n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS id, 1 AS topic_id, '
               'i AS timestamp, zeroblob(100) AS data FROM n'),
    'a computed column': ('ALTER TABLE messages ADD COLUMN more AS (zeroblob(1000000000))',),
    'a virtual table': ('CREATE VIRTUAL TABLE other USING fts5(text)',),
}


@pytest.mark.parametrize('name', ENDLESS)
def test_tables_that_are_computed_are_refused(tmp_path, name):
    file = storage_file(write(tmp_path / 'bag', session(), 'sqlite3'))
    with contextlib.closing(sqlite3.connect(file)) as database:
        for statement in ENDLESS[name]:
            database.execute(statement)
        database.commit()
    packed = tmp_path / 'packed.db3.zstd'
    packed.write_bytes(zstandard.ZstdCompressor().compress(file.read_bytes()))
    for path in (file.parent, file, packed):
        with pytest.raises(BagError, match='which is computed'):
            open_bag(path)


@pytest.mark.parametrize('ending', ['mcap', 'db3'])
def test_a_packed_file_that_grows_too_much_is_refused_and_leaves_nothing(tmp_path, monkeypatch,
                                                                       ending):
    folder = tmp_path / 'temporary'
    folder.mkdir()
    monkeypatch.setattr('tempfile.tempdir', str(folder))
    packed = tmp_path / f'bomb.{ending}.zstd'
    packer = zstandard.ZstdCompressor().compressobj()
    with packed.open('wb') as file:
        for _ in range(40):
            file.write(packer.compress(bytes(2**23)))
        file.write(packer.flush())
    with pytest.raises(BagError, match='unpacks to more than 200 times its size.*zstd -d bomb'):
        open_bag(packed)
    assert not list(folder.iterdir())


def test_a_chunk_that_grows_too_much_is_refused(tmp_path, monkeypatch):
    folder = write(tmp_path / 'bag', session(), 'mcap', 'storage')
    monkeypatch.setattr('samg_ros.bags.salvage.MAX_MESSAGE_BYTES', 10_000)
    with pytest.raises(BagError, match='a chunk of it has more than 10000 bytes unpacked'):
        open_bag(folder)


@pytest.mark.parametrize('name', ['bag.mcap', 'bag.db3', 'bag.mcap.zstd', 'metadata.yaml'])
def test_a_pipe_is_no_bag(tmp_path, name):
    folder = tmp_path / 'bag'
    if name == 'metadata.yaml':
        (write(folder, session()) / name).unlink()
    else:
        folder.mkdir()
    os.mkfifo(folder / name)
    for path in (folder, folder / name):
        with pytest.raises(BagError, match='is not a (regular file|bag)'):
            open_bag(path)


@pytest.mark.parametrize('length', [2**63, 2**64 - 1, 2**31])
def test_a_chunk_that_claims_any_length_is_damage(tmp_path, length):
    body = struct.pack('<QQQIIQ', 0, 0, 0, 0, 0, length)
    path = tmp_path / 'a.mcap'
    path.write_bytes(MCAP_MAGIC + struct.pack('<BQ', Opcode.CHUNK, len(body)) + body)
    assert read_metadata(path) == {}
    with pytest.raises(BagError, match='cannot be read'):
        open_bag(path)
