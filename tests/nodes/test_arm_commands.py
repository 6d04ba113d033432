# SPDX-License-Identifier: Apache-2.0
"""What an arm may be sent: limits from a file, units, safe actions, deadlines, pairing."""

import math
from pathlib import Path

import numpy as np
import pytest

from samg_ros.arm.commands import LONGEST_INTERVAL_S, ArmCommands
from samg_ros.arm.joint_limits import JointLimits, load_joint_limits
from samg_ros.arm.settings import ArmSettings
from samg_ros.errors import ConfigError
from samg_ros.observation import ObservationSpec
from samg_ros.policy.joint_states import JointStates
from samg_ros.policy.watchdog import Deadlines
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.evaluation.compatibility import (
    frame_mismatch,
    joints_mismatch,
    mask_area,
    masker_mismatch,
)
from samg_ros.ros.messages.pairing import CameraPairer, NearestStamp

MOVEIT = """
joint_limits:
  shoulder:
    has_velocity_limits: true
    max_velocity: 2
    has_acceleration_limits: false
    max_acceleration: 0.0
    has_jerk_limits: false
  elbow: {min_position: -1.5, max_position: 1.5, max_velocity: 1.0, max_acceleration: 3.0}
"""


STANDS_S = 0.52
"""How long a command may stand, as `policy` has it by default."""


def limits_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / 'joint_limits.yaml'
    path.write_text(text)
    return path


def test_limits_come_in_the_order_of_the_command(tmp_path):
    path = limits_file(tmp_path, MOVEIT)
    elbow, shoulder = load_joint_limits(path, ('elbow', 'shoulder'))
    assert elbow == JointLimits('elbow', -1.5, 1.5, 1.0, 3.0)
    assert shoulder == JointLimits('shoulder', max_velocity=2.0)
    assert [limit.joint for limit in load_joint_limits(path)] == ['shoulder', 'elbow']


@pytest.mark.parametrize('text, said', [
    ('joint_limits: {a: {max_velocity: -1}}', "max_velocity of joint 'a' must be above 0, got -1"),
    ('joint_limits: {a: {max_velocity: fast}}', "max_velocity of joint 'a' must be a number"),
    ('joint_limits: {a: {max_velocity: .nan}}', "max_velocity of joint 'a' must be a number"),
    ('joint_limits: {a: {min_position: 1, max_position: 0}}', "min_position of joint 'a' must be"),
    ('joint_limits: {a: {min_position: 1, has_position_limits: true}}', 'but no max_position'),
    ('joint_limits: {a: {has_velocity_limits: true}}', 'has_velocity_limits but no max_velocity'),
    ('joint_limits: {a: {has_velocity_limits: 1}}', 'must be true or false'),
    ('joint_limits: {a: {has_effort_limits: true}}', 'not enforced here'),
    ('joint_limits: {a: {max_speed: 1}}', "unknown field 'max_speed'"),
    ('joint_limits: {b: {max_velocity: 1}}', "lack joint 'a'; they have b"),
    ('joint_limits: {a: 3}', "joint 'a' must have a table"),
    ('joints: {}', 'has no joint limits'), ('[', 'not valid YAML'), ('\x00', 'not valid YAML')])
def test_a_wrong_limit_is_named_by_joint_and_field(tmp_path, text, said):
    with pytest.raises(ConfigError) as caught:
        load_joint_limits(limits_file(tmp_path, text), ('a',))
    assert said in str(caught.value) and 'joint_limits.yaml' in str(caught.value)


def test_limits_that_are_not_there_are_named():
    with pytest.raises(ConfigError, match='cannot be read .No such file'):
        load_joint_limits('/no/such/limits.yaml')


def limits(**values):
    return tuple(JointLimits(joint, **values) for joint in ('a', 'b'))


@pytest.mark.parametrize('settings, said', [
    ({'joints': ('a',)}, '2 actions, but there are 1 joints'),
    ({'joints': ('a', 'a')}, "joint 'a' is named twice"),
    ({'command_interface': 'position'}, 'need the names of the joints'),
    ({'command_interface': 'effort'}, 'cannot become effort commands'),
    ({'action_interface': 'position'}, 'cannot become velocity commands'),
    ({'safe_action': 'pose'}, "take 'zero'"),
    ({'joints': ('a', 'b'), 'command_interface': 'position', 'safe_action': 'zero'},
     'send an arm under position control to its zero'),
    ({'joints': ('a', 'b'), 'command_interface': 'position', 'safe_action': 'pose',
      'safe_pose': (0.0,)}, 'must be 2 joint positions'),
    ({'joints': ('a', 'b'), 'command_interface': 'position', 'safe_action': 'pose',
      'safe_pose': (0.0, 0.0)}, 'needs max_velocity of every joint'),
    ({'joints': ('a', 'b'), 'command_interface': 'position', 'safe_action': 'pose',
      'safe_pose': (0.0, 9.0), 'limits': limits(min_position=-1, max_position=1, max_velocity=1)},
     'outside the position limits'),
    ({'joints': ('a', 'b'), 'command_interface': 'position',
      'limits': limits(max_acceleration=1)}, 'max_acceleration is not enforced'),
    ({'action_interface': 'effort', 'command_interface': 'effort', 'safe_action': 'zero',
      'limits': limits(max_velocity=1)}, 'not enforced for effort')])
def test_settings_that_contradict_each_other_are_refused(settings, said):
    with pytest.raises(ConfigError) as caught:
        ArmSettings(2, max_command_age_s=STANDS_S, **settings)
    assert said in str(caught.value)


def position_arm(action='velocity', **values):
    made = ArmCommands(ArmSettings(2, ('a', 'b'), action, 'position',
                                   max_command_age_s=STANDS_S, **values))
    made.begin(np.array([0.0, 0.5]))
    return made


def test_velocities_are_integrated_from_where_the_arm_is_and_not_far_ahead_of_it():
    arm = position_arm(max_lead=0.1)
    here = np.array([0.0, 0.5])
    assert np.allclose(arm.act(np.array([1.0, -0.5]), 0.04, here), [0.04, 0.48])
    assert np.allclose(arm.act(np.array([1.0, -0.5]), 0.04, here), [0.08, 0.46])
    for _ in range(9):
        command = arm.act(np.array([1.0, -0.5]), 0.04, here)
    assert np.allclose(command, [0.1, 0.4]) and arm.interventions['lead'] == 9


def test_a_joint_state_that_is_nonsense_moves_nothing():
    arm, nonsense = position_arm(), np.array([1e300, -1e300])
    assert np.allclose(arm.act(np.array([1.0, -0.5]), 0.04, nonsense), [0.04, 0.48])
    assert np.allclose(arm.act(np.array([-1.0, 0.5]), 0.04, nonsense), [0.04, 0.48])
    for _ in range(3):
        assert np.allclose(arm.safe(0.04, nonsense), [0.34, 0.18])  # max_lead at most


def test_an_arm_outside_its_range_is_not_begun_with_and_one_that_sags_is():
    arm = position_arm(limits=limits(min_position=-1, max_position=1))
    assert "joint 'b' is at -1.2, outside its limits -1 to 1" in arm.outside(np.array([0, -1.2]))
    assert arm.outside(np.array([0.0, -1.02])) is None


def test_a_joint_outside_its_range_is_led_back_no_faster_than_max_velocity():
    arm = position_arm(limits=limits(min_position=-1, max_position=1, max_velocity=0.3))
    sagging = np.array([0.0, -1.05])
    arm.begin(sagging)
    sent = [sagging] + [arm.act(np.zeros(2), 0.02, sagging) for _ in range(12)]
    steps = np.diff(sent, axis=0)
    assert np.allclose(steps[0], [0.0, 0.006])  # not 0.05 at once
    assert (np.abs(steps) <= 0.3 * 0.02 + 1e-12).all() and np.allclose(sent[-1], [0.0, -1.0])
    arm.begin(sagging)
    assert np.array_equal(arm.safe(0.02, sagging), sagging)  # holding moves nothing


def test_random_actions_never_leave_position_and_velocity_limits():
    arm = position_arm('position', limits=limits(min_position=-0.6, max_position=0.6,
                                                 max_velocity=0.5))
    rng = np.random.default_rng(0)
    before = arm.last
    for _ in range(2000):
        interval_s = rng.uniform(0, 0.3)
        command = arm.act(rng.normal(0, 2, 2), interval_s, None)
        assert (np.abs(command) <= 0.6).all()
        step = 0.5 * min(interval_s, LONGEST_INTERVAL_S)
        assert (np.abs(command - before) <= step + 1e-12).all()
        before = command
    assert arm.interventions['position'] and arm.interventions['velocity']


def velocity_arm(**values):
    return ArmCommands(ArmSettings(2, ('a', 'b'), max_command_age_s=STANDS_S,
                                   limits=limits(**values)))


@pytest.mark.parametrize('period_s', [0.02, 0.1, 0.2, 0.4, STANDS_S])
@pytest.mark.parametrize('more', [{}, {'max_acceleration': 2}])
def test_a_velocity_that_no_other_follows_stays_within_the_range(period_s, more):
    arm = velocity_arm(min_position=-1, max_position=1, max_velocity=0.6, **more)
    position = np.array([0.0, 0.5])
    arm.begin(position)
    for _ in range(round(6 / period_s)):
        command = arm.act(np.array([5.0, -5.0]), period_s, position)
        assert (np.abs(position + STANDS_S * command) <= 1 + 1e-9).all()
        position = position + period_s * command
    assert np.allclose(position, [1, -1], atol=0.01) and arm.interventions['position']


def test_velocities_keep_speed_and_acceleration_and_stop_at_the_end_of_the_range():
    arm = velocity_arm(min_position=-1, max_position=1, max_velocity=0.8, max_acceleration=2)
    position, before = np.zeros(2), np.zeros(2)
    arm.begin(position)
    for _ in range(300):
        command = arm.act(np.array([5.0, -5.0]), 0.02, position)
        assert (np.abs(command) <= 0.8).all()
        assert (np.abs(command - before) <= 2 * 0.02 + 1e-9).all()
        position, before = position + 0.02 * command, command
        assert (np.abs(position) <= 1 + 1e-9).all()
    assert np.abs(position).min() > 0.95
    back = arm.act(np.array([-1.0, 1.0]), 0.02, position)
    assert (np.sign(back) == [-1, 1]).all()


@pytest.mark.parametrize('interface', ['position', 'velocity'])
def test_a_joint_without_limits_is_sent_the_action_in_no_time_too(interface):
    commands = ArmCommands(ArmSettings(2, ('a', 'b'), interface, interface,
                                       max_command_age_s=STANDS_S))
    commands.begin(np.zeros(2))
    for interval_s in (0.0, 0.05, 0.0):
        assert np.array_equal(commands.act(np.array([0.5, -3.0]), interval_s, np.zeros(2)),
                              [0.5, -3.0])


def test_holding_goes_back_to_where_the_joints_were_and_stays():
    arm = position_arm(limits=limits(max_velocity=1))
    arm.act(np.array([1.0, 1.0]), 0.1, np.array([0.0, 0.5]))
    measured = np.array([0.02, 0.52])
    first = arm.safe(0.02, measured)
    assert np.allclose(first, [0.08, 0.58])  # 1 rad/s
    for _ in range(5):
        command = arm.safe(0.02, measured + 1)  # what moves the arm now does not move the command
    assert np.allclose(command, measured)
    arm.resume()
    assert np.allclose(arm.act(np.zeros(2), 0.02, measured), measured)


def test_holding_without_joint_states_keeps_the_last_command_or_says_nothing():
    arm = position_arm()
    last = arm.act(np.array([1.0, 1.0]), 0.1, np.array([0.0, 0.5]))
    assert np.array_equal(arm.safe(0.02, None), last)
    arm.begin(None)  # nobody knows where it is
    assert arm.safe(0.02, None) is None


def test_the_pose_is_approached_step_by_step_but_not_at_the_very_end():
    arm = position_arm(limits=limits(max_velocity=1), safe_action='pose', safe_pose=(0.1, 0.2))
    here = np.array([0.0, 0.5])
    assert np.allclose(arm.safe(0.02, here), [0.02, 0.48])
    for _ in range(20):
        command = arm.safe(0.02, here)
    assert np.allclose(command, [0.1, 0.2])
    assert np.allclose(arm.safe(0.02, here, final=True), [0.0, 0.5])  # holds where it is


@pytest.mark.parametrize('action', ['velocity', 'position'])
def test_the_last_command_holds_a_blocked_arm_where_it_is(action):
    arm = position_arm(action, limits=limits(max_velocity=0.5))
    blocked = np.array([0.0, 0.5])
    for _ in range(100):
        ahead = arm.act(np.array([0.5, 0.9]), 0.02, blocked)
    assert np.abs(ahead - blocked).max() == pytest.approx(0.3)  # max_lead, and no further
    assert np.array_equal(arm.safe(0.02, blocked, final=True), blocked)
    assert np.array_equal(arm.safe(0.02, None, final=True), blocked)  # the last one


@pytest.mark.parametrize('safe_action', ['hold', 'zero'])
def test_a_velocity_controlled_arm_stops_at_once(safe_action):
    arm = ArmCommands(ArmSettings(2, limits=limits(max_acceleration=0.1), joints=('a', 'b'),
                                  max_command_age_s=STANDS_S, safe_action=safe_action))
    arm.begin(None)
    arm.act(np.ones(2), 0.02, None)
    assert np.array_equal(arm.safe(0.02, None), np.zeros(2))


def test_deadlines_name_the_cause_before_its_effects():
    now = [0.0]
    deadlines = Deadlines(0.5, ('frame', 'mask', 'action'), lambda: now[0])
    now[0] = 0.5
    assert deadlines.missed is None
    now[0] = 0.6
    assert deadlines.missed == 'frame'
    deadlines.mark_fresh('frame')
    deadlines.mark_fresh('nothing that is waited for')
    assert deadlines.missed == 'mask' and not deadlines.is_late('joints')
    deadlines.mark_fresh('mask')
    deadlines.mark_fresh('action')
    assert deadlines.missed is None and deadlines.age_s('action') == 0.0


def test_the_nearest_stamp_within_the_tolerance_is_found():
    near = NearestStamp(0.05, 10.0)
    for index in range(100):
        near.add((1, index * 10**7), index)
    assert near.find((1, 203_000_000)) == 20 and near.find((1, 207_000_000)) == 21
    assert near.find((2, 39_000_000)) == 99 and near.find((2, 50_000_000)) is None
    near.add((0, 0), 'set back')
    assert near.find((1, 200_000_000)) is None and near.find((0, 10)) == 'set back'


def test_what_asks_for_a_stamp_too_long_ago_finds_nothing():
    near = NearestStamp(0.05, horizon_s=0.5)
    for index in range(100):
        near.add((1, index * 10**7), index)
    assert near.find((1, 500_000_000)) == 50
    assert near.find((1, 480_000_000)) == 49 and near.find((1, 430_000_000)) is None


def test_after_the_clock_was_set_back_no_frame_of_before_belongs_to_a_new_one():
    dropped = []
    pairer = CameraPairer[str](['side'], 0.05, 0.5, dropped.append)
    for tenth in range(5):
        pairer.add_more('side', (7, tenth * 10**8), f'old side {tenth}')
        pairer.add((7, tenth * 10**8), f'old {tenth}')
        assert pairer.take(lambda *found: found) == (f'old {tenth}', {'side': f'old side {tenth}'})
    pairer.add((7, 10**8), 'new')
    assert pairer.take(lambda *found: found) is None  # its companion has not come
    pairer.add_more('side', (7, 110_000_000), 'new side')
    assert pairer.take(lambda *found: found) == ('new', {'side': 'new side'}) and not dropped


def test_after_the_cameras_clock_was_set_back_no_joints_of_before_belong_to_a_frame():
    joints = JointStates(('a',), 0.05, 10.0)
    for tenth in range(5):
        joints.add(('a',), (float(tenth),), (7, tenth * 10**8))
    assert joints.near((7, 10**8), ('a',)) == [1.0]
    joints.set_back((7, 10**8))
    assert joints.near((7, 10**8), ('a',)) is None
    joints.add(('a',), (9.0,), (7, 110_000_000))
    joints.set_back((7, 10**8))  # what is of the new clock stays
    assert joints.near((7, 10**8), ('a',)) == [9.0]


@pytest.mark.parametrize('crop, height, width, said', [
    (None, 84, 84, None), (None, 480, 480, None), ((80, 0, 480, 480), 480, 640, None),
    (None, 480, 640, 'frames are 640 x 480 pixels, the policy was trained on 84 x 84: out of '),
    ((200, 0, 480, 480), 480, 640, 'the crop of 480 x 480 at 200, 0 reaches outside'),
    (None, 60, 60, 'frames are 60 x 60 pixels, the policy was trained on 84 x 84: too few')])
def test_frames_that_do_not_fit_are_told_apart(crop, height, width, said):
    mismatch = frame_mismatch(TrainConfig(), crop, height, width)
    assert mismatch is None if said is None else said in mismatch


def test_joints_and_maskers_that_do_not_fit_are_told_apart():
    assert joints_mismatch(('a',), ('b', 'a'), 2) is None
    assert 'lack a, c, which' in joints_mismatch(('a', 'c'), ('b',), 1)
    assert 'has 2 names but 1 positions' in joints_mismatch(('a',), ('a', 'b'), 1)
    spec, trained = ObservationSpec(), {'model': 'mini', 'settings': {'passes': 1}}
    assert masker_mismatch(spec, trained, [0, 0, 0], trained) == (None, None)
    assert 'does not say which masker' in masker_mismatch(spec, None, [0, 0, 0], trained)[1]
    assert 'fills with [9, 0, 0]' in masker_mismatch(spec, trained, [9, 0, 0], trained)[0]
    other = {**trained, 'weights': '/other.safetensors'}
    assert 'weights /other.safetensors, in training it was' in masker_mismatch(
        spec, trained, [0, 0, 0], other)[1]
    assert 'model sam2, in training it was mini' in masker_mismatch(
        spec, trained, [0, 0, 0], {**trained, 'model': 'sam2'})[1]


def test_the_area_of_a_mask_is_what_is_not_fill():
    frame = np.full((10, 10, 3), 7, np.uint8)
    assert mask_area(frame, (7, 7, 7)) == 0.0
    frame[:2, :5] = (7, 7, 8)
    assert math.isclose(mask_area(frame, (7, 7, 7)), 0.1)
