# SPDX-License-Identifier: Apache-2.0
"""A mask that moves or grows faster than a body can is doubtful; one that does not is good."""


import numpy as np
import pytest

from samg_ros.arm.commands import ArmCommands
from samg_ros.arm.settings import ArmSettings
from samg_ros.errors import ConfigError
from samg_ros.policy.mask_guard import (
    IOU,
    SPEED,
    UNSTEADY,
    MaskGuard,
    MaskLimits,
    MaskShape,
    mask_shape,
)

SETTLE_S = 1.0
LIMITS = MaskLimits(max_speed=1.0, max_growth=2.0)


def shape(x=0.5, y=0.5, area=0.1):
    return MaskShape(area, x, y)


def test_area_and_centroid_are_those_of_what_is_not_fill():
    frame = np.full((50, 100, 3), 7, np.uint8)
    assert mask_shape(frame, (7, 7, 7)) == (0.0, 0.5, 0.25)
    frame[10:20, 40:60] = (7, 7, 8)
    found = mask_shape(frame, (7, 7, 7))
    assert np.allclose(found, (0.04, 0.495, 0.145))


def test_a_mask_that_follows_from_the_last_one_is_good():
    guard = MaskGuard(LIMITS, SETTLE_S)
    for index in range(100):
        assert guard.doubt(0.04 * index, shape(0.2 + 0.03 * index, 0.5, 0.1 * 1.05**index)) is None


JUMPS = [({'x': 0.9}, 'moved at 10 frame widths per second'), ({'y': 0.1}, 'moved at'),
         ({'area': 0.4}, 'area of the mask changed at 35 per second'), ({'area': 0.01}, 'area')]


@pytest.mark.parametrize('change, said', JUMPS)
def test_a_mask_that_jumps_is_doubtful_and_one_that_comes_back_is_good(change, said):
    guard = MaskGuard(LIMITS, SETTLE_S)
    guard.doubt(1.0, shape())
    for at_s in np.arange(1.04, 1.8, 0.04):  # after 0.4 s a body could have got there
        assert said.split(' at ')[0] in guard.doubt(at_s, shape(**change)).words
    assert guard.doubt(1.84, shape(x=0.52)) is None
    assert said in guard.doubt(1.88, shape(**change | {'x': change.get('x', 0.52) + 0.02 * (
        'x' in change)})).words


@pytest.mark.parametrize('change, said', JUMPS)
def test_a_mask_that_stays_where_it_jumped_to_is_good_after_a_while(change, said):
    guard = MaskGuard(LIMITS, SETTLE_S)
    guard.doubt(1.0, shape())
    doubts = [guard.doubt(at_s, shape(**change)) is not None for at_s in np.arange(1.04, 3, 0.04)]
    assert sum(doubts) == pytest.approx(SETTLE_S / 0.04, abs=1) and doubts == sorted(doubts)[::-1]


def test_a_mask_that_jumps_about_is_never_good_for_long():
    guard = MaskGuard(LIMITS, SETTLE_S)
    guard.doubt(1.0, shape())
    rng = np.random.default_rng(0)
    doubts = [guard.doubt(1.04 + 0.04 * index, shape(*rng.uniform(0, 1, 2))) is not None
              for index in range(200)]
    assert np.mean(doubts) > 0.7


@pytest.mark.parametrize('frames_per_s', [8, 25])
def test_masks_that_jump_within_reach_are_all_doubtful_soon_and_good_again_later(frames_per_s):
    guard = MaskGuard(MaskLimits(max_speed=3.0, max_growth=10.0), SETTLE_S)
    rng, period_s = np.random.default_rng(0), 1 / frames_per_s
    stamps = iter(1.0 + period_s * np.arange(1000))

    def doubts(places):
        return [guard.doubt(next(stamps), shape(x, y)) for x, y in places]
    found = doubts(rng.uniform(0, 1, (10 * frames_per_s, 2)))
    causes = [doubt and doubt.cause for doubt in found[2 * frames_per_s:]]
    assert UNSTEADY in causes and None not in causes  # UNSTEADY: within reach, taken alone
    found = doubts([(0.5, 0.5)] * 3 * frames_per_s)
    assert not any(found[-frames_per_s:])


def test_one_wrong_mask_in_twenty_is_no_reason_to_doubt_the_others():
    guard = MaskGuard(LIMITS, SETTLE_S)
    for index in range(400):
        doubt = guard.doubt(0.04 * index, shape(x=0.9 if index % 20 == 10 else 0.5))
        assert (doubt is not None) == (index % 20 == 10)


def test_a_step_that_was_just_too_long_is_made_up_for_by_the_next_frame():
    guard = MaskGuard(LIMITS, SETTLE_S)
    guard.doubt(1.0, shape(0.5))
    assert guard.doubt(1.04, shape(0.55)) is not None
    assert guard.doubt(1.08, shape(0.57)) is None


def test_a_mask_of_which_the_masker_is_not_sure_is_doubtful_for_as_long_as_that_is_so():
    guard = MaskGuard(MaskLimits(min_iou=0.6), SETTLE_S)
    assert guard.doubt(1.0, shape(), 0.6) is None
    for at_s in np.arange(1.04, 1.04 + 3 * SETTLE_S, 0.04):
        assert guard.doubt(at_s, shape(), 0.59) == (
            IOU, 'the masker predicts an IoU of 0.59 for the mask, less than 0.6', None)
    assert guard.doubt(5.0, shape(), 0.7) is None


def test_a_mask_of_which_the_masker_is_not_sure_is_nothing_to_follow_from():
    guard = MaskGuard(MaskLimits(max_speed=1.0, min_iou=0.6), SETTLE_S)
    guard.doubt(1.0, shape(x=0.2))
    assert guard.doubt(1.04, shape(x=0.9), 0.1).cause == IOU
    assert guard.doubt(1.08, shape(x=0.9), 0.9).cause == SPEED
    assert guard.doubt(1.12, shape(x=0.2), 0.9) is None


def test_a_clock_that_is_set_back_and_a_restart_begin_anew():
    guard = MaskGuard(LIMITS, SETTLE_S)
    guard.doubt(5.0, shape())
    assert guard.doubt(1.0, shape(x=0.9)) is None
    guard.restart()
    assert guard.doubt(1.01, shape(x=0.1)) is None


def test_limits_of_0_do_not_limit_and_others_out_of_range_are_refused():
    guard = MaskGuard(MaskLimits(), SETTLE_S)
    guard.doubt(1.0, shape())
    assert guard.doubt(1.01, shape(0.0, 0.0, 0.9)) is None
    with pytest.raises(ConfigError, match='mask_min_iou from 0 to 1, got 0, 0, 2 and 0.0'):
        MaskLimits(0, 0, 2)


@pytest.mark.parametrize('action, command, expected', [
    ('velocity', 'velocity', 0.03), ('velocity', 'position', 0.003), ('position', 'position', 0.1)])
def test_an_arm_is_slowed_down_whatever_its_commands_are(action, command, expected):
    arm = ArmCommands(ArmSettings(1, ('a',), action, command, max_command_age_s=0.5))
    arm.begin(np.zeros(1))
    assert arm.act(np.array([0.1]), 0.1, np.zeros(1), 0.3) == pytest.approx(expected)
