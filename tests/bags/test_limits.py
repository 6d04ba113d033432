# SPDX-License-Identifier: Apache-2.0
"""Commands beyond the limits are found, each limit of its own, and commands within are not."""

import numpy as np
import pytest
from std_msgs.msg import Float64MultiArray

from samg_ros.arm.joint_limits import JointLimits
from samg_ros.bags.bag import open_bag
from samg_ros.bags.limits import count_excesses, read_commands
from samg_ros.bags.recording import Recording
from samg_ros.errors import BagError, ConfigError

LIMITS = (JointLimits('shoulder', -1.0, 1.0, 0.5), JointLimits('wrist', max_velocity=2.0))
TIMES = np.arange(200) * 0.02


def way(speed=0.4, start=-0.9):
    """Both joints at one speed, one position per time."""
    return np.repeat((start + speed * TIMES)[:, None], 2, axis=1)


def test_commands_within_all_limits_have_no_excess():
    assert not count_excesses(TIMES, way(), LIMITS, 'position')
    assert not count_excesses(TIMES, np.full((200, 2), 0.5), LIMITS, 'velocity')
    assert not count_excesses(TIMES[:1], way()[:1], LIMITS, 'position')


def test_positions_out_of_range_are_counted_by_joint_and_end():
    commands = way()
    commands[:] = 0.99
    commands[50:60] = [1.01, 5.0]
    commands[60:] = -1.0
    found = count_excesses(TIMES, commands, (JointLimits('shoulder', -1.0, 1.0),
                                             JointLimits('wrist', min_position=-0.5)), 'position')
    assert found == {'shoulder: max_position': 10, 'wrist: min_position': 140}


def test_a_jump_is_counted_unless_others_moved_the_arm_in_a_pause():
    commands, times = way(0.1), TIMES.copy()
    commands[100:, 0] += 0.06  # a tenth of a second allows 0.05
    assert count_excesses(times, commands, LIMITS, 'position') == {'shoulder: max_velocity': 1}
    commands[100:, 0] += 1.0
    times[100:] += 0.5
    found = count_excesses(times, commands, LIMITS, 'position')
    assert found['shoulder: max_velocity'] == 1 and found['shoulder: max_velocity over a second']
    assert not count_excesses(times, commands, LIMITS, 'position', pause_s=0.4)


def test_only_the_last_command_before_a_pause_may_go_back_by_max_lead():
    commands, times = way(0.1), TIMES.copy()
    commands[99] -= 0.2
    commands[100:] -= 0.2
    times[100:] += 0.5
    commands[-1] -= 0.2
    assert count_excesses(times, commands, LIMITS, 'position', 0.4)['shoulder: max_velocity'] == 2
    assert not count_excesses(times, commands, LIMITS, 'position', 0.4, max_lead=0.2)
    assert count_excesses(times, commands, LIMITS, 'position', 0.4, max_lead=0.1)
    commands[50] -= 0.2  # this one is followed by others
    assert count_excesses(times, commands, LIMITS, 'position', 0.4, max_lead=0.2) == {
        'shoulder: max_velocity': 2, 'wrist: max_velocity': 1}


def test_many_small_steps_that_are_too_fast_together_are_found():
    found = count_excesses(TIMES[:60], way(0.7)[:60], LIMITS, 'position')
    assert list(found) == ['shoulder: max_velocity over a second']


def test_velocities_are_counted_by_size_and_change_but_a_stop_is_none():
    limits = (JointLimits('wheel', max_velocity=1.0, max_acceleration=2.0),)
    commands = np.full((200, 1), 0.9)
    commands[50:60] = 1.1
    commands[100:] = 0.0
    commands[150:] = 0.3  # a tenth of a second allows 0.2
    assert count_excesses(TIMES, commands, limits, 'velocity') == {
        'wheel: max_velocity': 10, 'wheel: max_acceleration': 1}
    assert not count_excesses(TIMES[60:150], -commands[60:150], limits, 'velocity')


def test_efforts_have_no_limits():
    with pytest.raises(ConfigError, match="'effort' commands; expected one of position, velocity"):
        count_excesses(TIMES, way(), LIMITS, 'effort')


def test_commands_come_out_of_a_recording_as_they_went_in(tmp_path):
    from rclpy.serialization import serialize_message

    recording = Recording(tmp_path / 'session.mcap')
    for index, values in enumerate(way()):
        recording.add('/command', 'std_msgs/msg/Float64MultiArray', 10**18 + 20_000_000 * index,
                      serialize_message(Float64MultiArray(data=values.tolist())))
    recording.close()
    bag = open_bag(tmp_path / 'session.mcap')
    times, commands = read_commands(bag, '/command', 2)
    assert np.allclose(times, TIMES) and np.array_equal(commands, way())
    with pytest.raises(BagError, match='has 2 values, the limits are of 3 joints'):
        read_commands(bag, '/command', 3)
    with pytest.raises(BagError, match="has no topic '/commands'; it has /command"):
        read_commands(bag, '/commands', 2)
