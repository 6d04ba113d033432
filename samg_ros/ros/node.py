# SPDX-License-Identifier: Apache-2.0
"""How a node lives and ends: spinning, exit codes, lifecycle transitions.

rclpy's own handler ends the context at SIGINT, before a node can save or send a last message. Here
a signal only asks the loop to end; the node then closes itself, and only then does rclpy.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node

from samg_ros.errors import ConfigError, SamgError, first_line, plain
from samg_ros.ros.compat import make_executor
from samg_ros.ros.diagnostics import Diagnostics
from samg_ros.ros.domain import init_ros, starting_ros
from samg_ros.ros.heartbeat import heartbeat
from samg_ros.ros.parameters import declare
from samg_ros.ros.signals import StopSignal

RCLError: Any = rclpy_implementation.RCLError
_POLL_S = 0.05
"""How long a wait for messages lasts before signals are looked at."""


def spin(executor: Any, stop: Callable[[], bool]) -> None:
    """Work off callbacks until `stop` says so; it is asked after every callback."""
    while not stop():
        try:
            executor.spin_once(timeout_sec=_POLL_S)
        except ExternalShutdownException:
            return


def run_node(make: Callable[[], Any], argv: list[str] | None = None,
             stop_signal: StopSignal | None = None) -> int:
    """Run one node as a process, until it has finished or a signal comes.

    Args:
        make: builds the node, a PlainNode or a ManagedNode.
        argv: ROS arguments; None takes those of the command line.
        stop_signal: the process's, None makes one.

    Returns:
        Exit code: 0 after finishing or a signal, 2 after an error, be it one of closing; it is
        printed in one line.
    """
    stop_signal = stop_signal or StopSignal()
    node, executor, code = None, None, 0
    try:
        init_ros(argv)
        node = make()
        executor = make_executor()
        executor.add_node(node)
        node.start()
        stop_signal.defer()
        spin(executor, lambda: node.finished or node.error is not None
             or stop_signal.requested and node.may_end())
        if node.error is not None:
            # Raised, its traceback would keep the node, and the others would see it for 20 s more.
            print_error(node.error)
            code = 2
    except SamgError as error:
        print_error(error)
        code = 2
    finally:
        stop_signal.defer()
        try:
            run_all_then_raise((lambda: close([] if node is None else [node]),
                                lambda: executor and executor.shutdown(), rclpy.try_shutdown))
        except SamgError as error:
            print_error(error)
            code = 2
    if code == 0 and isinstance(node, PlainNode) and node.finished:
        try:
            stop_signal.immediate()
            if (result := node.finish()) is not None:
                print(result, flush=True)
        except SamgError as error:
            print_error(error)
            code = 2
    return code


def close(nodes: Sequence[Any]) -> None:
    """Close and destroy nodes, as `run_all_then_raise`."""
    run_all_then_raise([step for node in nodes for step in (node.close, node.destroy_node)])


def run_all_then_raise(steps: Sequence[Callable[[], object]]) -> None:
    """Call functions one after the other, all of them, whatever one raises.

    Raises:
        Exception: the first; SamgErrors after it are printed.
    """
    for done, step in enumerate(steps, 1):
        try:
            step()
        except Exception:
            try:
                run_all_then_raise(steps[done:])
            except SamgError as error:
                print_error(error)
            raise


def print_error(error: Exception) -> None:
    """Print an error as `samg` does: one line on stderr."""
    print(f'samg: error: {error}', file=sys.stderr, flush=True)


class PlainNode(Node):
    """A node that `run_node` can run: until it sets `finished` or `error`."""

    diagnostics: Diagnostics
    """Set by each subclass that reports on /diagnostics."""

    def __init__(self, name: str, **options: Any) -> None:
        with starting_ros():
            super().__init__(name, **options)
        self.finished = False
        self.error: SamgError | None = None

    def start(self) -> None:
        """Do what takes long, once, before the executor spins."""

    def may_end(self) -> bool:
        """Whether the node may be closed; asked again and again once a signal has come."""
        return True

    def close(self) -> None:
        """Give back what the node holds."""

    def finish(self) -> object:
        """Do what is left once a finished node is closed; what is returned is printed, but None."""
        return None


class ManagedNode(LifecycleNode):
    """A lifecycle node whose subclass only fills in four hooks.

    A hook raises SamgError if it cannot; the transition then fails with one line in the log and
    the node stays where it was. With the parameter `autostart` the node configures and activates
    itself in `start`, so that it works without a lifecycle manager.
    """

    diagnostics: Diagnostics
    """Set by each subclass."""

    def __init__(self, name: str, **options: Any) -> None:
        with starting_ros():
            super().__init__(name, **options)
        self.finished = False
        self.error: SamgError | None = None
        self.active = False
        self._configured = False
        self._autostart = declare(
            self, 'autostart', True,
            'Configure and activate at the start, without a lifecycle manager.')
        self._fault: SamgError | None = None
        self._heartbeat = heartbeat(self)

    def start(self) -> None:
        """Configure and activate the node, if its parameter `autostart` is true.

        Raises:
            SamgError: if configuring or activating fails.
        """
        if not self._autostart:
            return
        for transition in (self.trigger_configure, self.trigger_activate):
            if transition() != TransitionCallbackReturn.SUCCESS:
                raise self._fault or ConfigError(f'{self.get_name()} could not be started; its log '
                                                 'says why')

    def may_end(self) -> bool:
        """Whether the node may be closed, as PlainNode has it."""
        return True

    def configure(self) -> None:
        """Load what the node needs."""

    def activate(self) -> None:
        """Begin to work."""

    def deactivate(self) -> None:
        """Stop working. Must not fail."""

    def cleanup(self) -> None:
        """Let go of what `configure` loaded. Must not fail."""

    def close(self) -> None:
        """Deactivate and clean up, from whatever state the node is in."""
        if self.active:
            self._leave_active()
        if self._configured:
            self._leave_configured()

    def destroy_node(self) -> None:
        """Leave the graph at once.

        rclpy leaves the state machine, with its services, to the garbage collector; until then the
        node would still stand in the graph and not answer.
        """
        super().destroy_node()
        self._state_machine.destroy_when_not_in_use()

    def _attempt(self, hook: Callable[[], None]) -> TransitionCallbackReturn:
        self._fault = None
        try:
            hook()
        except SamgError as error:
            self._fault = error
            self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        except Exception as error:  # rclpy would swallow it
            self.get_logger().error(f'{type(error).__name__} in {hook.__name__}: {plain(error)}')
            raise
        return TransitionCallbackReturn.SUCCESS

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = self._attempt(self.configure)
        self._configured = result == TransitionCallbackReturn.SUCCESS
        return result

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = self._attempt(self.activate)
        self.active = result == TransitionCallbackReturn.SUCCESS
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._attempt(self._leave_active)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._attempt(self._leave_configured)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.close()
        self.finished = True
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def _LifecycleNodeMixin__on_change_state(self, request: Any, response: Any) -> Any:
        """Answer a request for a transition; also for one that there is not.

        This overrides a private method of rclpy, which on Jazzy lets the error through that it gets
        for an unknown id, and the node would end.
        """
        try:
            return super()._LifecycleNodeMixin__on_change_state(  # type: ignore[misc]
                request, response)
        except RCLError as error:
            self.get_logger().error(f'transition {request.transition.id} is not possible: '
                                    f'{plain(first_line(error))}')
            response.success = False
            return response

    def _leave_active(self) -> None:
        self.active = False
        self.deactivate()

    def _leave_configured(self) -> None:
        self._configured = False
        self.cleanup()
