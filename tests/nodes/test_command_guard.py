# SPDX-License-Identifier: Apache-2.0
"""`command_guard` between a commander that falls silent and a controller."""

import time

import numpy as np
import pytest
import rclpy
from busy_machine import limit_s
from rcl_interfaces.srv import GetParameters
from std_msgs.msg import Float64MultiArray

from samg_ros.errors import SamgError
from samg_ros.nodes.command_guard_node import CommandGuard

TIMEOUT_S = 0.5
GRACE_S = 0.1


class Commander:
    """Sends commands, and remembers all that the controller got."""

    def __init__(self, graph):
        self.graph = graph
        self.publisher = graph.probe.create_publisher(Float64MultiArray, 'command_raw', 5)
        self.heard = []
        graph.probe.create_subscription(
            Float64MultiArray, 'command',
            lambda message: self.heard.append((time.monotonic(), list(message.data))), 100)
        self.guard = graph.add(CommandGuard, {'command_interface': 'velocity',
                                              'timeout_s': TIMEOUT_S})
        graph.until(lambda: self.publisher.get_subscription_count() == 1
                    and self.guard._command.get_subscription_count() == 1)

    def send(self, *values):
        """Send a command and wait until the controller has it; return when that was."""
        self.heard.clear()
        self.publisher.publish(Float64MultiArray(data=values))
        self.graph.until(lambda: self.heard)
        return self.heard[-1][0]


@pytest.fixture
def commander(graph):
    return Commander(graph)


def test_an_arm_without_commands_is_stopped_in_time_and_until_they_are_back(graph, commander):
    sent_at = commander.send(0.1, -0.2)
    assert commander.heard[-1][1] == [0.1, -0.2]
    graph.until(lambda: commander.heard[-1][1] == [0.0, 0.0])
    assert TIMEOUT_S - 0.02 < commander.heard[-1][0] - sent_at < TIMEOUT_S + limit_s(GRACE_S)
    count = len(commander.heard)
    graph.until(lambda: len(commander.heard) > count + 3)
    graph.until(lambda: graph.said('command_guard: commands').startswith('no command followed'))
    sent = []
    for _ in range(20):
        sent.append(commander.send(0.1, -0.2))
        graph.spin_for(0.02)
    late = int((np.diff(sent) > 0.9 * TIMEOUT_S).sum())  # on a machine that is busy
    assert late or all(any(values) for _, values in commander.heard)
    stops = commander.guard.stops
    assert 1 <= stops <= 1 + late
    graph.until(lambda: commander.guard.stopping)
    assert commander.guard.stops == stops + 1


def test_an_arm_that_was_left_at_rest_is_left_alone(graph, commander):
    commander.send(0.1, -0.2)
    commander.send(0.0, 0.0)
    graph.spin_for(TIMEOUT_S + GRACE_S)
    assert len(commander.heard) == 1 and commander.guard.stops == 0
    graph.remove(commander.guard)
    graph.spin_for(0.1)
    assert len(commander.heard) == 1


@pytest.mark.parametrize('values, cause', [
    ([], 'wrong_size'), ([0.0], 'wrong_size'), ([0.0] * 3, 'wrong_size'),
    ([float('nan'), 0.0], 'not_finite')])
def test_a_message_that_a_controller_ignores_does_not_disarm_the_guard(graph, commander, values,
                                                                       cause):
    sent_at = commander.send(0.1, -0.2)
    graph.probe.create_timer(0.02, lambda: commander.publisher.publish(
        Float64MultiArray(data=values)))
    graph.until(lambda: commander.heard[-1][1] == [0.0, 0.0], 5.0)
    assert commander.heard[-1][0] - sent_at < TIMEOUT_S + limit_s(GRACE_S)
    assert commander.guard.drops.counts[cause] > 3
    assert all(len(heard) == 2 for _, heard in commander.heard)


def test_a_flood_of_commands_delays_no_answer(graph, commander):
    graph.probe.create_timer(0.002, lambda: commander.publisher.publish(
        Float64MultiArray(data=[0.1, -0.2])))
    client = graph.probe.create_client(GetParameters, 'command_guard/get_parameters')
    graph.until(client.service_is_ready)
    graph.spin_for(1.0)
    began = time.monotonic()
    graph.call(GetParameters, 'command_guard/get_parameters',
               GetParameters.Request(names=['timeout_s']))
    assert time.monotonic() - began < limit_s(GRACE_S)


def test_while_another_node_commands_the_controller_nothing_is_passed_on(graph, commander):
    commander.send(0.1, -0.2)
    other = rclpy.create_node('other')
    other.create_publisher(Float64MultiArray, 'command', 5)
    said = "/other publishes on '/command' too"
    graph.until(lambda: said in graph.said('command_guard: commands'))
    graph.until(lambda: commander.heard[-1][1] == [0.0, 0.0])
    commander.heard.clear()
    commander.publisher.publish(Float64MultiArray(data=[0.1, -0.2]))
    graph.until(lambda: commander.guard.drops.counts['conflict'])
    assert not any(any(heard) for _, heard in commander.heard)
    other.destroy_node()
    graph.until(lambda: said not in graph.said('command_guard: commands'))
    commander.send(0.1, -0.2)


def test_a_guard_that_goes_leaves_a_moving_arm_at_rest(graph, commander):
    commander.send(0.1, -0.2)
    graph.remove(commander.guard)
    graph.until(lambda: commander.heard[-1][1] == [0.0, 0.0])
    assert len(commander.heard) == 2


@pytest.mark.filterwarnings('ignore::pytest.PytestUnhandledThreadExceptionWarning')
def test_a_guard_whose_watchdog_has_ended_says_so_and_leaves_the_arm_at_rest(graph, commander):
    commander.send(0.1, -0.2)
    commander.guard._watchdog._check = None  # calling it fails, and its thread ends
    with pytest.raises(SamgError, match='the watchdog has ended'):
        graph.until(lambda: False, 5)
    graph.remove(commander.guard)
    graph.until(lambda: commander.heard[-1][1] == [0.0, 0.0])
    assert graph.said('command_guard: commands').startswith('the watchdog has ended')


@pytest.mark.parametrize('interface', ['', 'position'])
def test_where_zeros_might_move_the_arm_it_does_not_start(graph, interface):
    with pytest.raises(SamgError, match="'command_interface' of command_guard must be velocity"):
        graph.add(CommandGuard, {'command_interface': interface})
