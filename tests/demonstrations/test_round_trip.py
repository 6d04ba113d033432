# SPDX-License-Identifier: Apache-2.0
"""Bag to LeRobot v3 to bag: stamps, joint values, actions and frames are equal, to the bit."""

import os

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from samg_ros import cli
from samg_ros.bags.bag import open_bag
from samg_ros.bags.recording import Recording, read_metadata, success_of
from samg_ros.bags.topics import frame_of, stamp_ns
from samg_ros.demonstrations.bag_import import import_bags
from samg_ros.demonstrations.contract import Contract, load_contract
from samg_ros.demonstrations.lerobot_reader import LeRobotDataset
from samg_ros.errors import DemonstrationError

from .conftest import ARM, GRIPPER, bags, recording

CAMERAS = {'front': '/front/image_raw', 'wrist': '/wrist/image_raw'}
CASES = {
    'one camera': ({}, {}),
    'two cameras, gripper apart': (
        {'cameras': {'/front/image_raw': 20.0, '/wrist/image_raw': 20.0},
         'joints': ((ARM, '/joint_states'), (GRIPPER, '/gripper/joint_states'))},
        {'cameras': CAMERAS}),
    'next joints': ({'actions': False}, {}),
    'slow, without regularity': ({'camera_hz': 7.3}, {'rate_hz': 1.2, 'max_gap_s': 2.0})}


def again(tmp_path, paths, contract):
    """Import bags, export them as bags; return both data sets and the folder of the bags."""
    import_bags(paths, tmp_path / 'first', 'reach the disc', contract)
    assert cli.main(['demonstrations', 'export', str(tmp_path / 'first'), '--format', 'bag',
                     '--out', str(tmp_path / 'bags')]) == 0
    assert cli.main(['demonstrations', 'import', str(tmp_path / 'bags'), '--contract',
                     str(tmp_path / 'bags/contract.yaml'), '--task', 'reach the disc', '--out',
                     str(tmp_path / 'second')]) == 0
    return LeRobotDataset(tmp_path / 'first'), LeRobotDataset(tmp_path / 'second')


@pytest.mark.parametrize('case', CASES)
def test_a_data_set_is_equal_after_it_was_bags(tmp_path, case):
    recorded, choices = CASES[case]
    rng = np.random.default_rng(0)
    messages = recording(**recorded)
    paths = [bags.write(tmp_path / name, messages) for name in 'ab']
    for _, _, kind, message in messages:  # the second bag has other values, with all their bits
        if kind == 'sensor_msgs/msg/JointState':
            message.position[:] = rng.normal(size=len(message.position))
    bags.write(tmp_path / 'c', messages)
    first, second = again(tmp_path, [*paths, tmp_path / 'c'], Contract(**choices))
    assert first.info.joints == second.info.joints
    assert first.info.cameras == second.info.cameras
    assert first.info.action_names == second.info.action_names
    episodes = list(zip(first.episodes(), second.episodes(), strict=True))
    assert len(episodes) == 3
    for before, after in episodes:
        assert np.array_equal(before.stamps, after.stamps)
        assert before.joints.tobytes() == after.joints.tobytes()
        assert before.actions.tobytes() == after.actions.tobytes()
        assert before.frames.keys() == after.frames.keys()
        for camera, frames in before.frames.items():
            assert np.array_equal(frames, after.frames[camera])


def test_bags_of_a_data_set_hold_the_messages_that_were_recorded(tmp_path):
    path = bags.write(tmp_path / 'bag', recording())
    again(tmp_path, [path], Contract())
    recorded, written = open_bag(path), open_bag(tmp_path / 'bags/episode_00000.mcap')
    frames = {stamp_ns(each.message): frame_of(each.message)
              for each in recorded.messages(['/camera/image_raw'])}
    joints = {stamp_ns(each.message): each.message
              for each in recorded.messages(['/joint_states'])}
    count = 0
    for each in written.messages(['/camera/image_raw']):
        assert np.array_equal(frame_of(each.message), frames[stamp_ns(each.message)])
        count += 1
    assert count == len(frames)
    for each in written.messages(['/joint_states']):
        same = joints[stamp_ns(each.message)]
        assert list(each.message.name) == list(same.name)
        assert each.message.position.tobytes() == same.position.tobytes()


@pytest.mark.parametrize('success', [True, False, None])
def test_task_and_success_come_along(tmp_path, success):
    recorded = open_bag(bags.write(tmp_path / 'bag', recording(seconds=0.5)))
    marked = Recording(tmp_path / 'marked.mcap')
    for raw in recorded._read(list(recorded.topics)):
        marked.add(raw.topic, raw.type, raw.log_time_ns, bytes(raw.data))
    if success is not None:
        marked.describe('samg_ros.outcome', {'success': str(success).lower()})
    marked.close()
    again(tmp_path, [tmp_path / 'marked.mcap'], Contract())
    found = read_metadata(tmp_path / 'bags/episode_00000.mcap')
    assert found['task'] == 'reach the disc' and success_of(found) is success


def test_the_contract_beside_the_bags_names_all_that_is_in_them(tmp_path):
    path = bags.write(tmp_path / 'bag', recording(cameras={'/front/image_raw': 20.0}))
    again(tmp_path, [path], Contract(cameras={'front': '/front/image_raw'}))
    contract = load_contract(tmp_path / 'bags/contract.yaml')
    assert contract.cameras == {'front': '/front/image_raw'} and contract.joints == ARM
    assert contract.action == '/command'


def test_a_reference_and_bags_do_not_go_together(tmp_path, capsys):
    path = bags.write(tmp_path / 'bag', recording(seconds=0.5))
    import_bags([path], tmp_path / 'set', 'reach the disc')
    words = ['demonstrations', 'export', str(tmp_path / 'set'), '--out', str(tmp_path / 'out')]
    assert cli.main([*words, '--format', 'bag', '--reference', str(tmp_path)]) == 2
    assert '--reference is for masking' in capsys.readouterr().err
    assert cli.main(words) == 2
    assert 'give --reference DIR' in capsys.readouterr().err


def test_a_folder_that_holds_bags_takes_no_others(tmp_path, capsys):
    path = bags.write(tmp_path / 'bag', recording(seconds=0.5))
    import_bags([path], tmp_path / 'set', 'reach the disc')
    words = ['demonstrations', 'export', str(tmp_path / 'set'), '--format', 'bag', '--out',
             str(tmp_path / 'out')]
    assert cli.main(words) == 0 and cli.main(words) == 2
    assert 'holds bags already' in capsys.readouterr().err


@pytest.mark.parametrize('there', [0, 2])
def test_a_data_set_that_lost_episodes_is_no_smaller_one(tmp_path, there):
    path = bags.write(tmp_path / 'bag', recording(seconds=0.5))
    import_bags([path], tmp_path / 'set', 'reach the disc')
    info = tmp_path / 'set/meta/info.json'
    if there:
        info.write_text(info.read_text().replace('"total_episodes": 1', '"total_episodes": 2'))
    else:
        next((tmp_path / 'set/meta/episodes').rglob('*.parquet')).unlink()
    with pytest.raises(DemonstrationError, match='describes . episodes in meta/episodes, and .'):
        LeRobotDataset(tmp_path / 'set')


@pytest.mark.parametrize('name', ['meta/tasks.parquet', 'meta/episodes/*/*.parquet',
                                  'data/*/*.parquet'])
def test_a_pipe_in_a_data_set_is_refused_and_not_waited_for(tmp_path, name):
    import_bags([bags.write(tmp_path / 'a', recording())], tmp_path / 'set', 'reach the disc')
    table, = (tmp_path / 'set').glob(name)
    table.unlink()
    os.mkfifo(table)
    with pytest.raises(DemonstrationError, match=f'{table.name}. is not a regular file'):
        list(LeRobotDataset(tmp_path / 'set').episodes())


def test_a_table_of_more_rows_than_a_file_has_is_refused(tmp_path):
    import_bags([bags.write(tmp_path / 'a', recording())], tmp_path / 'set', 'reach the disc')
    table, = (tmp_path / 'set').glob('meta/episodes/*/*.parquet')
    rows = pyarrow.table({'episode_index': pyarrow.nulls(10**7 + 1)})
    parquet.write_table(rows, table)
    assert table.stat().st_size < 10**5
    with pytest.raises(DemonstrationError, match='10000001 rows'):
        LeRobotDataset(tmp_path / 'set')
