# SPDX-License-Identifier: Apache-2.0
"""Recorded bags become episodes whose samples belong together, or are refused by name."""


import numpy as np
import pytest

from samg_ros.demonstrations.bag_import import find_bags, import_bags
from samg_ros.demonstrations.contract import Contract, load_contract
from samg_ros.demonstrations.lerobot_reader import LeRobotDataset
from samg_ros.errors import BagError, ConfigError, DemonstrationError

from . import conftest as demo
from .conftest import AT_NS, bags, recording


def imported(tmp_path, path, **contract):
    result = import_bags([path], tmp_path / 'set', 'reach the disc', Contract(**contract))
    return result, list(LeRobotDataset(tmp_path / 'set').episodes())


def test_frames_joints_and_actions_are_stored_without_loss(tmp_path, bag):
    result, (episode,) = imported(tmp_path, bag(recording()))
    assert result.left_out == {}
    assert episode.stamps.tolist() == list(range(AT_NS, AT_NS + 2 * 10**9, 50_000_000))
    for index, stamp in enumerate(episode.stamps.tolist()):
        assert np.array_equal(episode.frames['camera'][index], bags.scene(index)[0])
        assert episode.joints[index].tolist() == demo.positions(stamp, 2)
        assert episode.actions[index].tolist() == [(stamp - AT_NS) / 1e9, 0.5]


def test_without_actions_the_next_joint_positions_are_the_action(tmp_path, bag):
    _, (episode,) = imported(tmp_path, bag(recording(actions=False)))
    assert np.array_equal(episode.actions[:-1], episode.joints[1:])


def test_joints_of_arm_and_gripper_on_one_or_two_topics_are_merged_by_name(tmp_path, bag):
    joints = ((demo.ARM, '/joint_states'), (demo.GRIPPER, '/gripper/joint_states'))
    _, (episode,) = imported(tmp_path, bag(recording(joints=joints)))
    assert episode.joints.shape[1] == 3
    joints = ((demo.ARM, '/joint_states'), (demo.GRIPPER, '/joint_states'))
    _, (same,) = imported(tmp_path / 'one', bag(recording(joints=joints), 'one'))
    assert sorted(same.joints[3]) == sorted(episode.joints[3])


def test_two_publishers_that_contradict_each_other_are_refused(tmp_path, bag):
    messages = recording()
    other = [(topic, log + 1, kind, bags.joint_state(bags_stamp(message), demo.ARM, [9.0, 9.0])[1])
             for topic, log, kind, message in messages if topic == '/joint_states']
    with pytest.raises(BagError, match="two publishers send .* of joint 'shoulder'"):
        imported(tmp_path, bag(sorted(messages + other, key=lambda each: each[1])))


def bags_stamp(message):
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def test_a_hole_ends_an_episode_and_is_counted(tmp_path, bag):
    messages = [each for each in recording(seconds=4.0)
                if not (each[0] == '/camera/image_raw' and 1.0e9 < each[1] - AT_NS < 2.0e9)]
    result, episodes = imported(tmp_path, bag(messages))
    assert len(episodes) == 2 and 'gaps longer than 0.5 s' in next(iter(result.left_out.values()))


def test_joint_states_that_stop_leave_out_their_samples_by_name(tmp_path, bag):
    messages = [each for each in recording()
                if not (each[0] == '/joint_states' and each[1] - AT_NS > 1.0e9)]
    result, (episode,) = imported(tmp_path, bag(messages))
    assert 18 <= len(episode.stamps) <= 22
    assert 'samples without a position of shoulder' in next(iter(result.left_out.values()))


def test_a_reset_of_the_clock_begins_an_episode_with_the_same_stamps(tmp_path, bag):
    first, other = recording(seconds=1.0), recording(seconds=1.0, shift=0.5)
    again = [(topic, log + 3 * 10**9, kind, message) for topic, log, kind, message in other]
    result, episodes = imported(tmp_path, bag(first + again))
    (_, (alone,)), (_, (second,)) = (imported(tmp_path / name, bag(messages, name))
                                     for name, messages in (('a', first), ('b', other)))
    assert [len(each.stamps) for each in episodes] == [20, 20]
    for found, expected in zip(episodes, (alone, second), strict=True):
        np.testing.assert_array_equal(found.stamps, expected.stamps)
        np.testing.assert_array_equal(found.frames['camera'], expected.frames['camera'])
        np.testing.assert_array_equal(found.joints, expected.joints)
        np.testing.assert_array_equal(found.actions, expected.actions)
    assert not np.array_equal(episodes[0].joints, episodes[1].joints)
    assert not np.array_equal(episodes[0].frames['camera'], episodes[1].frames['camera'])
    assert '1 resets within the recording' in next(iter(result.left_out.values()))


def test_a_reset_of_one_stream_alone_is_refused_by_name(tmp_path, bag):
    first, other = recording(seconds=1.0), recording(seconds=1.0)
    again = [(topic, log + 10**9, kind, message) for topic, log, kind, message in other
             if topic != '/joint_states']
    with pytest.raises(BagError, match=r'reset 1 times and those of joint shoulder 0 times'):
        imported(tmp_path, bag(first + again))


def test_cameras_of_15_and_60_hz_are_paired_by_the_nearest_stamp(tmp_path, bag):
    cameras = {'/front/image_raw': 15.0, '/wrist/image_raw': 60.0}
    _, (episode,) = imported(
        tmp_path, bag(recording(cameras=cameras, camera_hz=15.0)),
        cameras={'front': '/front/image_raw', 'wrist': '/wrist/image_raw'})
    assert episode.frames['front'].shape == episode.frames['wrist'].shape
    for index in range(len(episode.stamps)):
        assert np.array_equal(episode.frames['wrist'][index], bags.scene(4 * index)[0])


def test_a_rate_above_the_cameras_is_refused(tmp_path, bag):
    with pytest.raises(BagError, match='20.0 frames/s, fewer than rate_hz 50'):
        imported(tmp_path, bag(recording()), rate_hz=50.0)


def test_a_lower_rate_takes_every_second_frame(tmp_path, bag):
    _, (episode,) = imported(tmp_path, bag(recording()), rate_hz=10.0)
    assert set(np.diff(episode.stamps).tolist()) == {100_000_000}


def test_stamps_of_another_clock_are_refused_unless_the_contract_takes_the_log(tmp_path, bag):
    path = bag(recording(joint_clock_ns=-10**15))
    with pytest.raises(BagError, match='different clocks.*clock: log'):
        imported(tmp_path, path)
    _, (episode,) = imported(tmp_path, path, clock='log')
    assert len(episode.stamps) >= 38


def test_a_refused_bag_leaves_no_data_set_behind(tmp_path, bag):
    with pytest.raises(BagError):
        imported(tmp_path, bag(recording()), joints=('knee',))
    assert not list(tmp_path.glob('set*'))


def test_a_data_set_that_is_there_is_not_overwritten(tmp_path, bag):
    path = bag(recording())
    imported(tmp_path, path)
    with pytest.raises(DemonstrationError, match='exists'):
        imported(tmp_path, path)


def test_a_folder_of_bags_is_read_in_the_order_of_their_names(tmp_path, bag):
    bag(recording(), 'bags/b')
    bag(recording(), 'bags/a')
    assert [each.name for each in find_bags([tmp_path / 'bags'])] == ['a', 'b']


@pytest.mark.parametrize(('text', 'said'), [
    ('joint: [a]', "unknown key 'joint'"), ('joints: a', r'at `\$.joints`'),
    ('rate_hz: fast', r'at `\$.rate_hz`'), ('- 1', 'got `array`'),
    ('clock: sun', 'clock must be one of'), ('joints: [a, a]', 'names a joint twice'),
    ('cameras: [x]', r'at `\$.cameras`'), ('a: b: c', 'not valid YAML')])
def test_a_contract_that_cannot_be_used_is_refused_by_name(tmp_path, text, said):
    path = tmp_path / 'contract.yaml'
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_contract(path)


def test_joint_states_of_a_leader_arm_are_not_taken_for_the_robots(tmp_path, bag):
    leader = [('/leader/joint_states', stamp + 600_000, *bags.joint_state(
        stamp, demo.ARM, [9.0, 9.0])) for stamp in range(AT_NS, AT_NS + 2 * 10**9, 10_000_000)]
    messages = sorted([*recording(), *leader], key=lambda each: each[1])
    _, (episode,) = imported(tmp_path, bag(messages))
    assert episode.joints.max() < 2.0
