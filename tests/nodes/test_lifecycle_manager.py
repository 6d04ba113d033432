# SPDX-License-Identifier: Apache-2.0
"""`lifecycle_manager`: up in order, and all down, in the opposite order, when one fails."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from busy_machine import limit_s
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.task import Future

from samg_ros.errors import ConfigError, SamgError
from samg_ros.nodes.lifecycle_manager_node import LifecycleManager
from samg_ros.ros.heartbeat import LEASE_S
from samg_ros.ros.node import ManagedNode, RCLError

ROOT = Path(__file__).parents[2]
BUSY_S = int(LEASE_S) + 1
EYE = """\
import ctypes, sys
from samg_ros.ros.node import ManagedNode, run_node
class Busy(ManagedNode):
    def activate(self):
        ctypes.PyDLL(None).sleep(int(sys.argv[1]))  # does not let go of the interpreter's lock
run_node(lambda: Busy('eye'), ['--ros-args', '-p', 'autostart:=false'])
"""


class Noted(ManagedNode):
    """A lifecycle node that writes down what it is told."""

    def __init__(self, name, notes, **options):
        super().__init__(name, **options)
        self.notes = notes
        self.fault = None

    def note(self, what):
        self.notes.append((self.get_name(), what))

    def configure(self):
        if self.fault is not None:
            raise self.fault
        self.note('configure')

    def activate(self):
        self.note('activate')

    def deactivate(self):
        self.note('deactivate')

    def cleanup(self):
        self.note('cleanup')


@pytest.fixture
def notes():
    return []


@pytest.fixture
def pair(graph, notes):
    """A node that sees and one that acts on it."""
    return [graph.add(lambda name=name, **options: Noted(name, notes, **options),
                      {'autostart': False}) for name in ('eye', 'hand')]


def manage(graph, **parameters):
    return graph.add(LifecycleManager, {'nodes': ['eye', 'hand'], **parameters})


def spin_until_error(graph, manager):
    with pytest.raises(SamgError) as caught:
        graph.until(lambda: False)
    assert caught.value is manager.error
    return str(caught.value)


def test_up_it_goes_in_the_order_of_the_parameter_causes_first(graph, pair, notes):
    manager = manage(graph)
    graph.until(lambda: manager.up)
    assert notes == [('eye', 'configure'), ('hand', 'configure'),
                     ('eye', 'activate'), ('hand', 'activate')]
    graph.until(lambda: graph.said('lifecycle_manager: graph') == 'all active')
    assert graph.values('lifecycle_manager: graph') == {'eye': 'active', 'hand': 'active'}


@pytest.mark.parametrize('ends', ['eye', 'hand'])
def test_when_one_is_shut_down_all_are_what_acts_first(graph, pair, notes, ends):
    manager = manage(graph)
    graph.until(lambda: manager.up)
    notes.clear()
    request = ChangeState.Request(transition=Transition(label='shutdown'))
    assert graph.call(ChangeState, f'{ends}/change_state', request).success
    assert f'{ends} was shut down' in spin_until_error(graph, manager)
    other = {'eye': 'hand', 'hand': 'eye'}[ends]
    assert notes == [(ends, 'deactivate'), (ends, 'cleanup'),
                     (other, 'deactivate'), (other, 'cleanup')]
    assert all(node.finished for node in pair)


def test_when_one_cannot_be_configured_nothing_is_activated_and_all_end(graph, pair, notes):
    pair[1].fault = ConfigError('no limits')
    manager = manage(graph)
    assert 'hand could not configure' in spin_until_error(graph, manager)
    assert notes == [('eye', 'configure'), ('eye', 'cleanup')]
    assert all(node.finished for node in pair)


def test_one_that_never_appears_is_named(graph, notes):
    graph.add(lambda **options: Noted('eye', notes, **options), {'autostart': False})
    manager = manage(graph, bring_up_timeout_s=2.0, bring_down_timeout_s=20.0)
    assert 'hand did not appear within 2 s' in spin_until_error(graph, manager)
    assert notes == [('eye', 'configure'), ('eye', 'cleanup')]


def test_one_that_was_deactivated_by_hand_is_reported_and_left_alone(graph, pair, notes):
    manager = manage(graph)
    graph.until(lambda: manager.up)
    request = ChangeState.Request(transition=Transition(label='deactivate'))
    assert graph.call(ChangeState, 'hand/change_state', request).success
    graph.until(lambda: graph.said('lifecycle_manager: graph') == 'hand not active')
    assert manager.error is None and not any(node.finished for node in pair)


def test_an_answer_that_is_lost_holds_nothing_up(graph, pair, notes):
    manager = manage(graph)
    for managed in manager._nodes:
        send = managed.client.call_async

        def send_only(request, send=send):
            send(request)
            return Future()

        managed.client.call_async = send_only
    graph.until(lambda: manager.up)
    assert [what for _, what in notes] == ['configure'] * 2 + ['activate'] * 2


def test_without_nodes_it_has_nothing_to_do(graph):
    with pytest.raises(ConfigError, match="'nodes'"):
        graph.add(LifecycleManager)


@pytest.mark.parametrize('number, busy_s', [(signal.SIGTERM, 0), (signal.SIGKILL, BUSY_S)])
def test_a_process_that_dies_takes_the_others_down_one_that_is_busy_does_not(
        graph, notes, number, busy_s):
    eye = subprocess.Popen([sys.executable, '-c', EYE, str(busy_s)],
                           env={**os.environ, 'PYTHONPATH': str(ROOT)})
    try:
        hand = graph.add(lambda **options: Noted('hand', notes, **options), {'autostart': False})
        manager = manage(graph)
        began = time.monotonic()
        graph.until(lambda: manager.up)
        assert time.monotonic() - began > busy_s
        killed = time.monotonic()
        eye.send_signal(number)
        assert 'eye has died' in spin_until_error(graph, manager)
        assert time.monotonic() - killed < LEASE_S + 2.0
        assert hand.finished and notes[-2:] == [('hand', 'deactivate'), ('hand', 'cleanup')]
    finally:
        eye.kill()
        eye.wait()


def test_a_manager_that_is_told_to_end_brings_all_down_in_order(graph, pair, notes):
    manager = graph.spawn('lifecycle_manager', {'nodes': ['eye', 'hand']})
    graph.until(lambda: graph.said('lifecycle_manager: graph') == 'all active')
    notes.clear()
    manager.send_signal(signal.SIGINT)
    graph.until(lambda: manager.poll() is not None)
    assert notes == [('hand', 'deactivate'), ('hand', 'cleanup'),
                     ('eye', 'deactivate'), ('eye', 'cleanup')]
    assert all(node.finished for node in pair)
    assert manager.returncode == 0 and 'Traceback' not in manager.communicate()[1]


def test_a_manager_that_is_told_to_end_does_not_wait_for_nodes_that_have_gone(graph, pair, notes):
    manager = graph.spawn('lifecycle_manager', {'nodes': ['eye', 'hand']})
    graph.until(lambda: graph.said('lifecycle_manager: graph') == 'all active')
    for node in pair:
        graph.remove(node)
    began = time.monotonic()
    manager.send_signal(signal.SIGINT)
    graph.until(lambda: manager.poll() is not None)
    assert time.monotonic() - began < limit_s(5.0)


def test_a_second_manager_of_the_same_name_ends_and_the_first_goes_on(graph, pair, monkeypatch):
    monkeypatch.setattr('samg_ros.ros.publishers.NEWCOMER_S', 0.1)
    manager = manage(graph)
    graph.until(lambda: manager.up)
    graph.spin_for(0.6)
    second = graph.spawn('lifecycle_manager', {'nodes': ['eye', 'hand']})
    graph.until(lambda: second.poll() is not None)
    assert second.returncode == 2
    said = second.communicate()[1]  # whichever it discovers first
    assert "another node '/lifecycle_manager' is running" in said or 'eye is active already' in said
    assert manager.up and not any(node.finished for node in pair)


def test_nodes_that_another_manager_runs_are_not_touched_although_it_is_not_discovered(graph, pair):
    first = manage(graph)
    graph.until(lambda: first.up)
    second = graph.add(lambda **options: LifecycleManager(**options),
                       {'nodes': ['eye', 'hand']}, (('__node', 'other_manager'),))
    with pytest.raises(ConfigError, match='eye is active already: another lifecycle manager'):
        graph.until(lambda: False)
    graph.nodes.remove(second)
    graph.spin_for(0.3)
    assert first.up and not any(node.finished for node in pair)


@pytest.fixture
def without_liveliness_events(monkeypatch):
    """A middleware that has none, as rmw_zenoh."""
    from samg_ros.ros.compat import (
        PublisherEventCallbacks,
        SubscriptionEventCallbacks,
        UnsupportedEventTypeError,
    )

    for callbacks in (PublisherEventCallbacks, SubscriptionEventCallbacks):
        def refuse(self, *given, create=callbacks.create_event_handlers, **named):
            if self.liveliness:
                raise UnsupportedEventTypeError('not supported')
            return create(self, *given, **named)

        monkeypatch.setattr(callbacks, 'create_event_handlers', refuse)
    monkeypatch.setattr('samg_ros.ros.heartbeat._SILENT_S', 1.0)


@pytest.mark.filterwarnings('ignore::pytest.PytestUnhandledThreadExceptionWarning')
def test_without_liveliness_events_a_heartbeat_is_published_and_its_end_noticed(
        graph, without_liveliness_events, pair, notes):
    manager = manage(graph)
    graph.until(lambda: manager.up)
    graph.spin_for(1.5)  # longer than a node may be silent
    assert manager.up
    pair[0]._heartbeat.publish = None  # its heart stops; the node is still in the graph
    assert 'eye has died' in spin_until_error(graph, manager)
    assert notes[-2:] == [('hand', 'deactivate'), ('hand', 'cleanup')]


@pytest.mark.parametrize('raises', [False, True])
def test_a_transition_that_there_is_not_is_refused_and_the_node_goes_on(graph, pair, monkeypatch,
                                                                      raises):
    if raises:  # as rclpy of Jazzy does
        def fail(self, transition_id):
            raise RCLError('Transition is not registered')

        monkeypatch.setattr(Noted, '_LifecycleNodeMixin__change_state', fail, raising=False)
    request = ChangeState.Request(transition=Transition(id=250))
    assert not graph.call(ChangeState, 'eye/change_state', request).success
    monkeypatch.undo()
    request = ChangeState.Request(transition=Transition(label='configure'))
    assert graph.call(ChangeState, 'eye/change_state', request).success


def test_who_was_closed_is_out_of_the_graph_at_once(graph, pair):
    graph.until(lambda: graph.probe.count_services('/eye/change_state') == 1)
    graph.remove(pair[0])  # this test still refers to it
    graph.until(lambda: graph.probe.count_services('/eye/change_state') == 0, timeout_s=5.0)
