# SPDX-License-Identifier: Apache-2.0
"""`teleop`: what a person asks for reaches the arm within its limits, and stops with the person."""

import time

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import Float64MultiArray, Header, String
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from samg_ros.arm.joint_limits import load_joint_limits
from samg_ros.arm.keyboard import speeds_of_keys
from samg_ros.bags.limits import count_excesses
from samg_ros.nodes.teleop_node import Teleop
from samg_ros.policy.arm_driver import ACTING, DISABLED, SAFE
from samg_ros.policy.operators import in_order

JOINTS = ('shoulder', 'elbow')
LIMITS = """
joint_limits:
  shoulder: {min_position: -1.0, max_position: 1.0, max_velocity: 0.5}
  elbow: {min_position: -1.0, max_position: 1.0, max_velocity: 0.5}
"""
PERIOD_S, TIMEOUT_S = 0.02, 0.3


class Arm:
    """An arm that is where it was commanded to, and an operator's hands."""

    def __init__(self, graph):
        self.graph, self.positions = graph, np.zeros(2)
        self.commands, self.times = [], []
        probe = graph.probe
        self._joints = probe.create_publisher(JointState, 'joint_states', 10)
        self.leader = probe.create_publisher(JointState, 'leader/joint_states', 10)
        self.trajectory = probe.create_publisher(JointTrajectory, 'leader/joint_trajectory', 10)
        self.joy = probe.create_publisher(Joy, 'joy', 10)
        self.keys = probe.create_publisher(String, 'keys', 10)
        probe.create_subscription(Float64MultiArray, 'command', self._on_command, 10)
        self._enable = probe.create_client(SetBool, 'teleop/enable')
        probe.create_timer(PERIOD_S, self._show)

    def _on_command(self, message):
        self.positions = np.array(message.data)
        self.commands.append(self.positions)
        self.times.append(time.monotonic())

    def _show(self):
        now = time.time_ns()
        self._joints.publish(JointState(
            header=Header(stamp=Time(sec=now // 10**9, nanosec=now % 10**9)), name=list(JOINTS),
            position=self.positions.tolist()))

    def lead(self, *positions, names=JOINTS):
        self.leader.publish(JointState(name=list(names), position=list(positions)))
        self.graph.spin_for(PERIOD_S)

    def enable(self, data=True):
        self.graph.until(self._enable.service_is_ready)
        future = self._enable.call_async(SetBool.Request(data=data))
        self.graph.until(future.done)
        return future.result()


@pytest.fixture
def limits(tmp_path):
    path = tmp_path / 'limits.yaml'
    path.write_text(LIMITS)
    return path


@pytest.fixture
def start(graph, limits):
    """Start the node and the arm; returns both."""
    def begin(**parameters):
        arm = Arm(graph)
        node = graph.add(Teleop, {'limits': str(limits), 'command_interface': 'position',
                                  'timeout_s': TIMEOUT_S, **parameters})
        graph.until(lambda: arm.leader.get_subscription_count()
                    or arm.joy.get_subscription_count() or arm.keys.get_subscription_count())
        graph.spin_for(0.3)
        return node, arm
    return begin


def test_a_leader_is_followed_within_the_limits_and_no_faster(start, limits):
    node, arm = start()
    until = time.monotonic() + 10
    while not arm.enable().success:
        arm.lead(0.1, 0.0)
        assert time.monotonic() < until
    began = time.monotonic()
    while time.monotonic() - began < 3.0:
        arm.lead(0.4, -3.0)  # the elbow beyond its range
    assert node.state == ACTING
    assert arm.positions == pytest.approx([0.4, -1.0], abs=1e-6)
    assert not count_excesses(np.array(arm.times), np.array(arm.commands),
                              load_joint_limits(limits), 'position')
    trajectory = JointTrajectory(joint_names=list(reversed(JOINTS)),
                                 points=[JointTrajectoryPoint(positions=[-0.9, 0.3])])
    for _ in range(60):
        arm.trajectory.publish(trajectory)
        arm.graph.spin_for(PERIOD_S)
    assert arm.positions == pytest.approx([0.3, -0.9], abs=1e-6)


def test_the_arm_stops_when_the_operator_does_and_goes_on_when_they_are_back(start):
    node, arm = start()
    until = time.monotonic() + 10
    while not arm.enable().success:
        arm.lead(0.0, 0.0)
        assert time.monotonic() < until
    for _ in range(20):
        arm.lead(0.9, 0.0)
    arm.graph.until(lambda: node.state == SAFE, 5.0)
    stopped = arm.positions.copy()
    assert 'nothing came from the operator' in arm.graph.said('teleop: teleop') or \
        arm.graph.until(lambda: 'nothing came from the operator' in
                        arm.graph.said('teleop: teleop')) is None
    arm.graph.spin_for(0.3)
    assert arm.positions == pytest.approx(stopped, abs=0.05)
    arm.lead(0.9, 0.0)
    arm.graph.until(lambda: arm.lead(0.9, 0.0) or arm.positions[0] > stopped[0] + 0.1)
    assert arm.enable(False).success and node.state == DISABLED


def test_a_leader_that_is_elsewhere_is_refused_and_so_is_one_that_is_silent(start):
    node, arm = start(max_offset=0.2)
    arm.graph.until(lambda: 'nothing came from' in arm.enable().message)
    arm.lead(0.5, 0.0)
    answer = arm.enable()
    assert not answer.success and "joint 'shoulder' of the leader is 0.5" in answer.message
    arm.lead(0.1, 0.0, names=('shoulder', 'wrist'))
    arm.graph.until(lambda: 'no position of elbow' in arm.graph.said('teleop: inputs')
                    or node.drops.total)
    assert not arm.commands


def test_a_joystick_moves_joints_while_the_deadman_button_is_held(start):
    node, arm = start(source='joy', axes=[1, 0], speed=0.4, deadman_button=2)
    asked = []
    for what in ('start', 'stop', 'mark_success', 'discard'):
        arm.graph.probe.create_service(
            Trigger, f'recorder/{what}',
            lambda request, response, name=what: (asked.append(name), setattr(
                response, 'success', True))[1] or response)

    def push(held, buttons=()):
        pressed = [0] * 8
        pressed[2] = held
        for button in buttons:
            pressed[button] = 1
        arm.joy.publish(Joy(axes=[0.0, 1.0], buttons=pressed))
        arm.graph.spin_for(PERIOD_S)

    until = time.monotonic() + 10
    while not arm.enable().success:
        push(0)
        assert time.monotonic() < until
    for _ in range(10):
        push(0)
    assert arm.positions == pytest.approx([0.0, 0.0], abs=1e-9)
    began = time.monotonic()
    for _ in range(25):
        push(1)
    seconds = time.monotonic() - began
    assert 0.1 < arm.positions[0] <= 0.4 * seconds + 0.05 and arm.positions[1] == 0.0
    arm.graph.until(lambda: node._recorder['start'].service_is_ready())
    for buttons in ((7,), (), (0,), (), (7,)):  # held for several messages, it counts once
        for _ in range(3):
            push(1, buttons)
        arm.graph.spin_for(0.2)
    assert asked == ['start', 'mark_success', 'stop']


def test_keys_move_joints_and_the_arm_stands_when_none_comes(start):
    node, arm = start(source='keyboard', speed=0.4)
    until = time.monotonic() + 10
    while not arm.enable().success:
        arm.keys.publish(String(data=''))
        arm.graph.spin_for(PERIOD_S)
        assert time.monotonic() < until
    for _ in range(20):
        arm.keys.publish(String(data='w'))
        arm.graph.spin_for(PERIOD_S)
    assert arm.positions[0] == 0.0 and arm.positions[1] < -0.05
    arm.graph.until(lambda: node.state == SAFE, 5.0)


def test_a_second_commander_is_refused(start, graph):
    node, arm = start()
    graph.probe.create_publisher(Float64MultiArray, 'command', 1)
    graph.until(lambda: 'publishes on' in arm.enable().message)


def test_what_keys_mean():
    speeds, asked = speeds_of_keys('1w \n', 3)
    assert speeds.tolist() == [1.0, -1.0, 0.0] and asked == ['start', 'mark_success']
    assert speeds_of_keys('9', 3)[0].tolist() == [0.0, 0.0, 0.0]


def test_positions_are_put_in_the_order_of_the_command():
    assert in_order(('a', 'b'), ('c', 'b', 'a'), (3.0, 2.0, 1.0)).tolist() == [1.0, 2.0]
