# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from std_msgs.msg import Float64MultiArray

from samg_ros.errors import InvalidInputError
from samg_ros.ros.messages import command, time_step
from samg_ros.ros.messages.command import BadCommandError, Fault
from samg_ros.ros.messages.pairing import StampPairer

INFO = time_step.StepInfo(stamp_sec=1_800_000_000, stamp_nanosec=999_999_999,
                          time_ns=8_999_999_999_999_999, reward=-0.1, discount=1.0, step_type=2,
                          step_index=499, frame_index=123_456_789)


def test_time_step_round_trip_is_exact():
    assert time_step.from_message(time_step.to_message(INFO)) == INFO
    assert INFO.stamp == (1_800_000_000, 999_999_999)


def test_time_step_is_read_by_label_not_by_place():
    message = time_step.to_message(INFO)
    shuffled = Float64MultiArray(data=list(message.data)[::-1])
    shuffled.layout.dim = list(message.layout.dim)[::-1]
    assert time_step.from_message(shuffled) == INFO


@pytest.mark.parametrize('label, value, said', [
    ('reward', float('nan'), 'finite'), ('step_type', 3.0, '0, 1 or 2'),
    ('frame_index', -1.0, 'at least 0'), ('time_ns', 0.5, 'whole')])
def test_a_time_step_with_a_bad_field_is_refused_by_its_name(label, value, said):
    message = time_step.to_message(INFO)
    message.data[time_step.LABELS.index(label)] = value
    with pytest.raises(InvalidInputError, match=f"'{label}'.*{said}"):
        time_step.from_message(message)


def test_a_time_step_without_a_field_is_refused_by_its_name():
    message = time_step.to_message(INFO)
    short = Float64MultiArray(data=list(message.data)[1:])
    short.layout.dim = list(message.layout.dim)[1:]
    with pytest.raises(InvalidInputError, match="'stamp_sec'"):
        time_step.from_message(short)
    with pytest.raises(InvalidInputError, match='labels'):
        time_step.from_message(Float64MultiArray(data=[1.0]))


def test_command_round_trip():
    received = command.from_message(command.to_message([0.25, -1.0], 7), 2)
    assert received.action.tolist() == [0.25, -1.0] and received.frame_index == 7


def test_a_plain_array_is_a_command_too():
    received = command.from_message(Float64MultiArray(data=[0.5, 0.5]), 2)
    assert received.action.tolist() == [0.5, 0.5] and received.frame_index is None


@pytest.mark.parametrize('message', [
    Float64MultiArray(), Float64MultiArray(data=[1.0]), Float64MultiArray(data=[1.0, 2.0, 3.0]),
    command.to_message([1.0], 3), command.to_message([1.0, 2.0, 3.0], 3)])
def test_a_command_of_wrong_size_is_refused(message):
    with pytest.raises(BadCommandError, match='expected 2') as caught:
        command.from_message(message, 2)
    assert caught.value.fault is Fault.WRONG_SIZE


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_a_command_that_is_not_finite_is_refused(value):
    with pytest.raises(BadCommandError, match='finite') as caught:
        command.from_message(command.to_message([0.0, value], 3), 2)
    assert caught.value.fault is Fault.NOT_FINITE


def test_messages_of_one_stamp_come_together_in_any_order():
    pairer = StampPairer(('image', 'time_step'), ('mask',))
    assert pairer.add('mask', (1, 0), 'm1') is None
    assert pairer.add('image', (1, 0), 'i1') is None
    assert pairer.add('image', (2, 0), 'i2') is None
    assert pairer.add('time_step', (2, 0), 't2') == {'image': 'i2', 'time_step': 't2'}
    assert pairer.add('time_step', (1, 0), 't1') == {
        'mask': 'm1', 'image': 'i1', 'time_step': 't1'}


def test_incomplete_moments_are_bounded_and_counted():
    pairer = StampPairer(('image', 'time_step'), depth=3)
    for second in range(10):
        assert pairer.add('image', (second, 0), second) is None
    assert pairer.incomplete == 7
    assert pairer.add('time_step', (0, 0), 't') is None
    assert pairer.add('time_step', (9, 0), 't') == {'image': 9, 'time_step': 't'}
