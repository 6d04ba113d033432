# SPDX-License-Identifier: Apache-2.0
"""The bags that rosbag2 tests itself with, of many years and both storages, are read whole.

SAMG_ROSBAG2_SRC names a checkout of ros2/rosbag2; without it these tests are skipped.
"""

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest
from mcap.reader import make_reader

from samg_ros.bags.bag import open_bag
from samg_ros.errors import BagError

SOURCE = Path(os.environ.get('SAMG_ROSBAG2_SRC', '/nowhere'))
FILES = sorted(file for kind in ('mcap', 'db3') for file in SOURCE.rglob(f'*.{kind}'))
FOLDERS = sorted({file.parent for file in FILES if (file.parent / 'metadata.yaml').exists()})
FORMAT = 'wrong_format'
"""What rosbag2 calls the encoding in a bag that must not be read."""

pytestmark = pytest.mark.skipif(
    not FILES, reason='SAMG_ROSBAG2_SRC may name a checkout of ros2/rosbag2')


def stored(file):
    """How many messages of which encodings a storage file has, by its own library."""
    if file.suffix == '.mcap':
        with file.open('rb') as stream:
            messages = list(make_reader(stream).iter_messages())
        return len(messages), {channel.message_encoding for _, channel, _ in messages}
    with contextlib.closing(sqlite3.connect(f'{file.as_uri()}?mode=ro', uri=True)) as database:
        ((count,),) = database.execute('SELECT count(*) FROM messages')
        return count, {row[0] for row in
                       database.execute('SELECT serialization_format FROM topics')}


@pytest.mark.parametrize('path', [*FILES, *FOLDERS], ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_message_of_a_bag_of_rosbag2_is_read(path):
    files = [path] if path.is_file() else [file for file in FILES if file.parent == path]
    count = sum(stored(file)[0] for file in files)
    if not count or FORMAT in set.union(*(stored(file)[1] for file in files)):
        with pytest.raises(BagError, match='holds no message' if not count else FORMAT):
            open_bag(path)
        return
    bag = open_bag(path)
    assert bag.losses == () and sum(bag.counts.values()) == count
