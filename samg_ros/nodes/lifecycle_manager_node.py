# SPDX-License-Identifier: Apache-2.0
"""`lifecycle_manager`: brings lifecycle nodes up in order, and all down if one fails.

Without it, a policy whose perception node has crashed would hold the arm still without any alarm.
The nodes are brought up in the order of the parameter `nodes`, causes before effects. When one
fails, or the manager gets a signal to end, they are shut down in the opposite order: the node that
moves the arm comes first, so its safe action is sent while the others still run. After a failure
this node ends with an error, and a launch file ends the remaining nodes.
"""

from __future__ import annotations

import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from lifecycle_msgs.msg import Transition, TransitionEvent
from lifecycle_msgs.srv import ChangeState, GetState

from samg_ros.errors import ConfigError, SamgError
from samg_ros.ros import qos
from samg_ros.ros.compat import steady_timer
from samg_ros.ros.diagnostics import ERROR, OK, WARN, Diagnostics, Report
from samg_ros.ros.heartbeat import HeartbeatWatch
from samg_ros.ros.node import PlainNode
from samg_ros.ros.parameters import declare
from samg_ros.ros.publishers import name_conflict, name_is_taken

if TYPE_CHECKING:
    from rclpy.node import Node

CONFIGURE, ACTIVATE, SHUTDOWN = 'configure', 'activate', 'shutdown'
"""Labels of transitions; a node resolves `shutdown` by the state that it is in."""
ABSENT, UNCONFIGURED, INACTIVE, ACTIVE, FINALIZED = (
    'absent', 'unconfigured', 'inactive', 'active', 'finalized')
GOALS = {CONFIGURE: INACTIVE, ACTIVATE: ACTIVE, SHUTDOWN: FINALIZED}
"""Transition -> state after it."""
_TICK_S = 0.02
_SETTLE_S = 0.5
"""Seconds before the first transition, in which another manager is discovered."""
_ASK_S = 1.0
"""Seconds without an answer to a transition after which a node is asked for its state: the answer
of a node that has not discovered the manager yet is lost, and its event too."""


class Managed:
    """One of the nodes, as seen from outside."""

    def __init__(self, name: str, node: Node) -> None:
        self.name = name
        self.client: Any = node.create_client(ChangeState, f'{name}/change_state')
        self.state = ABSENT
        self.alive = False
        self._heartbeat = HeartbeatWatch(node, name)
        self._asking: Any = node.create_client(GetState, f'{name}/get_state')

    def ask(self) -> None:
        """Ask the node for its state; `state` follows when it answers."""
        self._asking.call_async(GetState.Request()).add_done_callback(self._on_answer)

    def _on_answer(self, future: Any) -> None:
        if self.alive:
            self.state = future.result().current_state.label

    def has_died(self) -> bool:
        """Whether the node was alive at the previous call of this function and is not now."""
        was, self.alive = self.alive, self._heartbeat.alive
        if not self.alive:
            self.state = ABSENT
        return was and not self.alive


class LifecycleManager(PlainNode):
    """The node. Parameters are described where they are declared."""

    def __init__(self, **options: Any) -> None:
        """Begin to bring the nodes up.

        Raises:
            ConfigError: if there are none.
        """
        super().__init__('lifecycle_manager', **options)
        names = [name for name in declare(
            self, 'nodes', [''], 'Lifecycle nodes in the order in which they are brought up.')
            if name]
        if not names:
            raise ConfigError("lifecycle_manager has nothing to do: set its parameter 'nodes'")
        self._up_timeout_s = declare(
            self, 'bring_up_timeout_s', 120.0, 'Seconds that a node may take to appear, and '
            'then to configure, loading its model, and to activate.', between=(0.1, 3600.0))
        self._down_timeout_s = declare(
            self, 'bring_down_timeout_s', 2.0, 'Seconds that a node may take to shut down before '
            'the next one is shut down.', between=(0.1, 60.0))
        self._nodes = [Managed(name, self) for name in names]
        self.diagnostics = Diagnostics(self)
        for managed in self._nodes:
            qos.subscription(self, self.diagnostics, TransitionEvent,
                             f'{managed.name}/transition_event',
                             partial(self._on_transition, managed), qos.reliable(10))
        self._steps = deque((managed, transition) for transition in (CONFIGURE, ACTIVATE)
                            for managed in self._nodes)
        self._future: Any = None
        self._since = self._asked_at = time.monotonic()
        self._begin_at = self._since + _SETTLE_S
        self._asked_at -= _ASK_S
        self._why = ''
        self._told_to_end = self._begun = False
        self.diagnostics.add('graph', self._report)
        steady_timer(self, _TICK_S, self._tick)

    @property
    def up(self) -> bool:
        """Whether all nodes have been brought up and none has failed."""
        return not self._steps and not self._why

    def may_end(self) -> bool:
        """Shut all nodes down after a signal to end; True once that is done."""
        if not self._told_to_end:
            self._told_to_end = True
            self._bring_down('the manager was told to end')
        return not self._steps

    def _on_transition(self, managed: Managed, event: TransitionEvent) -> None:
        managed.state = event.goal_state.label
        if managed.state == FINALIZED:
            self._bring_down(f'{managed.name} was shut down')

    def _bring_down(self, why: str) -> None:
        if self._why:
            return
        self._why = why
        log = self.get_logger()
        (log.info if self._told_to_end else log.error)(f'{why}: bringing all down')
        self._steps = deque((managed, SHUTDOWN) for managed in reversed(self._nodes)
                            if managed.alive and managed.state != FINALIZED)
        self._begin_step()

    def _tick(self) -> None:
        """Check which nodes are alive; continue the current step or begin the next one."""
        for managed in self._nodes:
            if managed.has_died():
                self._bring_down(f'{managed.name} has died')
        if not self._steps:
            if self._why and self.error is None and not self._told_to_end:
                self.error = SamgError(f'{self._why}; all was brought down')
            return
        managed, transition = self._steps[0]
        if not self._why and name_is_taken(self):
            self._steps.clear()  # the other manager goes on with the nodes
            self.error = name_conflict(self)
            return
        if time.monotonic() < self._begin_at or not self._why and not self._is_ours(managed):
            return
        if self._future is None and managed.alive and managed.client.service_is_ready():
            self._future = managed.client.call_async(
                ChangeState.Request(transition=Transition(label=transition)))
            self._since = self._asked_at = time.monotonic()
        if self._future is not None and time.monotonic() - self._asked_at > _ASK_S:
            self._asked_at = time.monotonic()
            managed.ask()
        failed = self._failure(managed, transition)
        if failed and not self._why:
            self._bring_down(failed)
            return
        if failed:
            self.get_logger().error(failed)
        elif not self._is_done(managed, transition):
            return
        self._steps.popleft()
        self._begin_step()
        if self.up:
            self.get_logger().info(f'{", ".join(each.name for each in self._nodes)}: active')

    def _is_ours(self, first: Managed) -> bool:
        """Whether the first node waits to be configured; asks it, before anything is changed.

        One that is further already belongs to another manager, which may not be discovered yet, so
        this one ends without touching it.
        """
        if self._begun or not first.alive:
            return True
        if first.state == UNCONFIGURED:
            self._begun = True
        elif first.state != ABSENT:
            self._steps.clear()
            self.error = ConfigError(
                f"{first.name} is {first.state} already: another lifecycle manager runs it, or its "
                "parameter 'autostart' is true; end the other, or set autostart to false")
        elif time.monotonic() - self._asked_at > _ASK_S:
            self._asked_at = time.monotonic()
            first.ask()
        return self._begun

    def _begin_step(self) -> None:
        self._future = None
        self._since = time.monotonic()

    def _is_done(self, managed: Managed, transition: str) -> bool:
        """Whether the current step is done; a dead node need not be shut down."""
        if self._future is not None and (
                self._future.done() or managed.state == GOALS[transition]):
            return True
        return bool(self._why) and not managed.alive

    def _failure(self, managed: Managed, transition: str) -> str | None:
        """Say why the current step has failed; None as long as it has not."""
        if self._is_done(managed, transition):
            if self._why or not self._future.done() or self._future.result().success:
                return None
            return f'{managed.name} could not {transition}; its log says why'
        timeout_s = self._down_timeout_s if self._why else self._up_timeout_s
        if time.monotonic() - self._since <= timeout_s:
            return None
        did = 'did not appear' if self._future is None else f'did not {transition}'
        return f'{managed.name} {did} within {timeout_s:g} s'

    def _report(self) -> Report:
        states = {managed.name: managed.state for managed in self._nodes}
        if self._why:
            return Report(ERROR, f'{self._why}: bringing all down', states)
        if self._steps:
            managed, transition = self._steps[0]
            return Report(OK, f'waiting for {managed.name} to {transition}', states)
        idle = [name for name, state in states.items() if state != ACTIVE]
        if idle:
            return Report(WARN, f'{", ".join(idle)} not active', states)
        return Report(OK, 'all active', states)
