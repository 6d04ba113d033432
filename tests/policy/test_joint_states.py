# SPDX-License-Identifier: Apache-2.0
"""Joint positions of several publishers: merged by name, each with a stamp and an age."""

import pytest

from samg_ros.errors import InvalidInputError
from samg_ros.policy.joint_states import JointStates


@pytest.fixture
def now():
    return [10.0]


@pytest.fixture
def states(now):
    return JointStates(('a', 'b', 'grip'), tolerance_s=0.05, horizon_s=1.0, clock=lambda: now[0])


def test_joints_of_two_publishers_are_complete_together_and_as_old_as_the_older(states, now):
    assert states.add(['a', 'b', 'wheel'], [1.0, 2.0, 9.0], (5, 0))
    assert not states.complete and states.positions(('grip', 'a')) is None
    assert 'lack grip' in states.missing and 'they have a, b, wheel' in states.missing
    now[0] = 11.0
    assert states.add(['grip'], [3.0], (5, 10**7))
    assert states.complete and states.missing is None
    assert states.positions(('grip', 'a')).tolist() == [3.0, 1.0]
    assert states.oldest_arrival == 10.0
    now[0] = 11.4
    assert states.late(1.0) == ('a', 'b') and states.late(0.3) == ('a', 'b', 'grip')


def test_a_joint_whose_stamp_has_not_changed_is_not_new(states, now):
    states.add(['a', 'b', 'grip'], [1.0, 2.0, 3.0], (5, 0))
    now[0] = 12.0
    assert not states.add(['a', 'b', 'grip'], [1.5, 2.5, 3.5], (5, 0))
    assert states.repeated == 1 and states.oldest_arrival == 10.0
    assert states.positions(('a',)).tolist() == [1.0]
    assert states.add(['a', 'b', 'grip'], [1.5, 2.5, 3.5], (4, 0))  # a clock that was set back
    assert states.oldest_arrival == 12.0


def test_other_parts_of_the_robot_are_ignored_but_named_while_the_needed_ones_are_missing(states):
    assert not states.add(['wheel'], [1.0], (5, 0))
    assert 'lack a, b, grip' in states.missing and 'they have wheel' in states.missing
    states.add(['a', 'b', 'grip'], [1.0, 2.0, 3.0], (5, 0))
    assert not states.add(['wheel'], [2.0], (6, 0))
    assert states.missing is None and states.repeated == 0


def test_each_joint_is_paired_with_a_frame_by_its_own_stamp(states):
    for tick in range(10):
        states.add(['a', 'b'], [tick, -tick], (5, tick * 10**7))
    states.add(['grip'], [7.0], (5, 0))
    assert states.near((5, 4 * 10**7), ('b', 'grip')) == [-4, 7.0]
    assert states.near((5, 9 * 10**7), ('b',)) == [-9]
    assert states.near((5, 9 * 10**7), ('b', 'grip')) is None  # 0.09 s from the gripper's
    assert states.at((5, 0), ('grip',)) == [7.0] and states.at((5, 0), ('a', 'grip')) is None


@pytest.mark.parametrize('names, positions, said', [
    (['a', 'b'], [1.0], 'has 2 names but 1 positions'),
    (['a', 'a'], [1.0, 2.0], "a joint twice: 'a'"),
    (['a'], [float('nan')], 'not finite'), (['b'], [float('inf')], 'not finite')])
def test_a_message_that_cannot_be_used_changes_nothing(states, names, positions, said):
    with pytest.raises(InvalidInputError, match=said):
        states.add(names, positions, (5, 0))
    assert states.positions(('a',)) is None and states.missing is None


def test_names_of_others_are_remembered_up_to_a_bound(states):
    for index in range(1000):
        states.add(['a', f'other_{index}'], [1.0, 0.0], (index, 0))
    states.add([f'more_{index}' for index in range(1000)] + ['b', 'grip'], [0.0] * 1002, (2000, 0))
    for index in range(10):
        states.add([f'{index}_{each}' for each in range(1000)], [0.0] * 1000, (2001 + index, 0))
    assert len(states._seen) <= 70
