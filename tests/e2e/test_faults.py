# SPDX-License-Identifier: Apache-2.0
"""What the arm is sent when a part of the graph fails: how soon it is safe, and what comes back.

With `pytest -s` each prints a row of the table of docs/results.md: the fault, what the arm was
sent, after how long, and whether it came back by itself.
"""

import signal
import time

import cv2
import numpy as np
import pytest
from busy_machine import limit_s
from faulty_arm import (
    ACTING,
    DISABLED,
    GRACE_S,
    LIMITS,
    RATE_HZ,
    STANDS,
    START_S,
    TIMEOUT_S,
    FaultyArm,
    lost,
    mislabelled,
    repainted,
    unchanged,
)
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool

from samg_ros.bags.limits import count_excesses
from samg_ros.sim.env import SimEnv

pytestmark = pytest.mark.slow

STOPS_S = 2.0
LATE_S = 5.0
ACTING_S = 5.0
ANSWER_S = 0.1
SET_BACK_S = 100


@pytest.fixture(scope='module')
def arm(open_graph, arm_run):
    print('\n| fault | the arm was sent | safe after | came back by itself |\n|---|---|---|---|')
    with open_graph('arm.yaml') as graph:
        yield FaultyArm(graph, arm_run)


@pytest.fixture(scope='module')
def empty_scene():
    """A frame that shows all but the arm."""
    env = SimEnv('arm_reach')
    env.reset()
    env.model.body('jaco_arm/').pos[:] = 100.0
    env.model.site_rgba[:, 3] = 0.0
    frame = env.step(env.resting_action).frame
    env.close()
    return frame


def report(fault, sent, safe_after, back):
    print(f'| {fault} | {sent} | {safe_after} | {back} |')


def stop(arm, fault):
    """Let something fail; the arm has to be safe in time."""
    stopped = arm.fail(fault)
    assert stopped.after_s < TIMEOUT_S + limit_s(GRACE_S)
    return stopped.sent, f'{stopped.after_s:.2f} s'


def go_on(arm, fault):
    """Let something happen that the arm should not mind."""
    arm.move()
    fault()
    pause_s = arm.longest_pause_s(1.0)
    assert pause_s < limit_s(TIMEOUT_S)
    return f'actions, at least every {pause_s:.2f} s', '-'


def test_a_camera_that_is_discovered_5_s_late(arm):
    arm.until(lambda: arm.said.startswith('disabled; no new frame came'))
    arm.graph.spin_for(LATE_S)
    answer = arm.enable()
    assert not answer.success and 'no good frame has come yet' in answer.message
    arm.plug()
    arm.until(lambda: arm.graph.values('policy: policy')['inputs'] != '0')
    assert not arm.commands
    arm.until(lambda: arm.enable().success)  # the speed of /clock has to be known too
    arm.until_it_moves()
    report(f'discovery late by {LATE_S:g} s', 'nothing', '-', 'no: enabled when it was there')


def test_a_camera_that_stops_for_2_s(arm):
    row = stop(arm, arm.cut(image=lost))
    arm.graph.spin_for(STOPS_S - TIMEOUT_S)
    arm.cable.mend()
    arm.until_it_moves()
    report(f'camera stops for {STOPS_S:g} s', *row, 'yes')


@pytest.mark.parametrize('fault, change', [
    ('all frames black', repainted(np.zeros_like)),
    ('object leaves', None),
    ('encoding becomes an unknown one', mislabelled)])
def test_frames_that_show_nothing(arm, empty_scene, fault, change):
    row = stop(arm, arm.cut(image=change or repainted(lambda frame: empty_scene)))
    arm.cable.mend()
    arm.until_it_moves()
    report(fault, *row, 'yes')


def test_joint_states_that_stop(arm):
    row = stop(arm, arm.cut(joints=lost))
    arm.cable.mend()
    arm.until_it_moves()
    report('joint_states stop', *row, 'yes')


@pytest.mark.parametrize('fault, change', [
    ('encoding becomes bgr8', repainted(lambda frame: frame[..., ::-1], 'bgr8')),
    ('size doubles', repainted(lambda frame: cv2.resize(frame, None, fx=2, fy=2)))])
def test_frames_that_show_the_same_in_another_way(arm, fault, change):
    row = go_on(arm, arm.cut(image=change))
    arm.cable.mend()
    report(fault, *row, 'went on')


def test_a_clock_that_jumps_back(arm):
    row = go_on(arm, arm.cut(set_back_s=SET_BACK_S))
    arm.cable.mend()
    report(f'clock jumps back by {SET_BACK_S} s', *row, 'went on')


def test_frames_out_of_proportion(arm):
    row = stop(arm, arm.cut(image=repainted(lambda frame: frame[::2])))
    arm.until(lambda: 'out of proportion' in arm.said)
    assert 'out of proportion' in arm.enable().message
    arm.cable.mend()
    arm.until(lambda: arm.said == DISABLED)
    assert arm.is_left_alone()
    report('size out of proportion', *row, 'no: enable it')


@pytest.mark.parametrize('name, fault', [('mujoco_bridge', 'camera (and arm) killed'),
                                         ('perception', 'perception killed')])
def test_a_process_in_front_of_the_policy_that_is_killed(arm, name, fault):
    row = stop(arm, lambda: arm.end(name))
    arm.restart(name)
    arm.until_it_moves()
    report(f'{fault}, `kill -9`', *row, 'yes, when it was back')


def test_a_policy_that_is_told_to_end(arm):
    row = stop(arm, lambda: arm.end('policy', signal.SIGTERM))
    arm.restart('policy')
    arm.until(lambda: arm.said == DISABLED)
    assert arm.is_left_alone()
    report('policy ended, `kill`', *row, 'no: enable it')


def test_no_command_of_all_that_was_beyond_a_limit(arm):
    arm.move()
    times, commands = map(np.array, zip(*arm.history, strict=True))
    print(f'{len(commands)} commands')
    assert not count_excesses(times, commands, LIMITS, 'velocity')


def restart_policy(arm, **changes):
    """Start the policy anew, otherwise than before."""
    for name, value in changes.items():
        setattr(arm, name, value)
    arm.end('policy', signal.SIGTERM)
    arm.restart('policy')


def seconds_to_obey(arm):
    """Act for a while, then disable; return when the answer came and when the arm was safe."""
    client = arm.graph.probe.create_client(SetBool, 'policy/enable')  # known to it by then
    arm.move()
    arm.graph.spin_for(ACTING_S)
    arm.commands.clear()
    asked_at = time.monotonic()
    future = client.call_async(SetBool.Request(data=False))
    arm.until(future.done)
    answer = future.result()
    answered_s = time.monotonic() - asked_at
    assert answer.success
    arm.graph.spin_for(0.3)
    moving = [at for at, values in arm.commands if values.any()]
    return answered_s, max([0.0, *(at - asked_at for at in moving)])


@pytest.mark.parametrize('network_s', [0.1, 0.4])
def test_a_slow_network(arm, network_s):
    restart_policy(arm, network_s=network_s)
    answered_s, moved_s = seconds_to_obey(arm)
    assert answered_s < limit_s(ANSWER_S) and moved_s < limit_s(ANSWER_S)
    report(f'network takes {network_s:g} s, disabled after {ACTING_S:g} s', 'velocity 0',
           f'answered in {answered_s:.2f} s', 'no: enable it')
    restart_policy(arm, network_s=0.0)


def test_joint_states_split_over_two_publishers_of_which_one_stops(arm):
    def split(message):
        others = JointState(header=message.header, name=message.name[6:],
                            position=message.position[6:], velocity=message.velocity[6:])
        if fingers:
            arm.cable._joints.publish(others)
        return JointState(header=message.header, name=message.name[:6],
                          position=message.position[:6], velocity=message.velocity[:6])

    fingers = True
    arm.plug().joints = split
    go_on(arm, lambda: None)

    def stop_fingers():
        nonlocal fingers
        fingers = False

    row = stop(arm, stop_fingers)
    assert 'no joint state of' in arm.said or arm.until(lambda: 'no joint state of' in arm.said)
    fingers = True
    arm.until_it_moves()
    arm.cable.mend()
    report('joint_states of two publishers, one stops', *row, 'yes')


def test_a_policy_that_is_killed_while_a_guard_stands_in_between(arm):
    restart_policy(arm, topic='command_raw')
    guard = arm.graph.spawn('command_guard', {'command_interface': 'velocity', 'size': len(LIMITS),
                                              'timeout_s': TIMEOUT_S})
    arm.move()
    arm.until(lambda: arm.graph.said('command_guard: commands') == 'the arm is commanded')
    row = stop(arm, lambda: arm.end('policy'))
    assert int(arm.graph.values('command_guard: commands')['stops'])
    guard.terminate()
    assert guard.wait(START_S) == 0
    report('policy killed, `kill -9`, with command_guard', *row, 'no: enable it')
    arm.topic = 'command'
    arm.restart('policy')


def test_a_policy_that_is_killed_in_front_of_a_position_controller(arm):
    arm.interface = 'position'
    for name in ('mujoco_bridge', 'policy'):
        arm.end(name)
        arm.restart(name)
    arm.move()
    arm.until(lambda: arm.speed > STANDS)
    arm.history.clear()
    arm.end('policy')
    seconds = arm.seconds_until_it_stands()
    assert seconds < TIMEOUT_S + limit_s(GRACE_S)
    times, commands = map(np.array, zip(*arm.commands, strict=True))
    assert not count_excesses(times, commands, LIMITS, 'position')
    report('policy killed, `kill -9`, position controller', 'nothing: it goes to the last '
           'position and stays', f'{seconds:.2f} s', 'no: enable it')
    arm.restart('policy')


def test_a_simulation_at_half_speed(arm):
    arm.rate_hz = RATE_HZ / 2
    arm.end('mujoco_bridge')
    arm.restart('mujoco_bridge')
    arm.plug().speed = 0.5
    arm.move()
    arm.history.clear()
    arm.graph.spin_for(ACTING_S)
    times, commands = map(np.array, zip(*arm.history, strict=True))
    assert not count_excesses(times * 0.5, commands, LIMITS, 'position')
    stopped = arm.until_it_holds(arm.cut(image=lost))
    report('camera stops, simulation at half speed', 'position of the joints',
           f'{stopped:.2f} s', 'yes')
    arm.cable.image = unchanged
    arm.until(lambda: arm.said == ACTING)


def test_a_simulation_at_double_speed(arm):
    arm.plug().speed = 2.0
    arm.until(lambda: 'simulated time runs at' in arm.said)
    assert 'simulated time runs at' in arm.enable().message
    report('simulation at double speed', 'position of the joints', '-', 'no: it is refused')
