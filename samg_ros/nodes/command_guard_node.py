# SPDX-License-Identifier: Apache-2.0
"""`command_guard`: stops an arm whose commands have stopped coming.

A controller keeps its last command for ever. `policy` sends the safe action when something fails,
but not after `kill -9`, from a machine that has no power or through a torn cable. This node can: it
is a process of its own, and best runs on the computer that the controller runs on. A velocity or an
effort other than zero has to be followed by another command, or zeros are sent.
"""

from __future__ import annotations

from typing import Any, NoReturn

from rclpy.duration import Duration
from std_msgs.msg import Float64MultiArray, MultiArrayDimension, MultiArrayLayout

from samg_ros.errors import ConfigError
from samg_ros.policy.watchdog import ACKNOWLEDGED_S, ENDED, Deadlines, Watchdog
from samg_ros.ros import qos
from samg_ros.ros.diagnostics import ERROR, OK, Diagnostics, Report
from samg_ros.ros.node import PlainNode, run_node
from samg_ros.ros.parameters import declare
from samg_ros.ros.signals import exit_now

INTERFACES = ('velocity', 'effort')
"""Of a controller that has to be stopped; one of positions stays at the last by itself."""
_COMMAND = 'command'
_OWN = 'guard'
"""Label of the zeros, which come back to who sent them."""


class CommandGuard(PlainNode):
    """The node. Parameters are described where they are declared."""

    def __init__(self, **options: Any) -> None:
        """Begin to listen.

        Raises:
            ConfigError: if it was not said what commands mean, or that they are positions.
        """
        super().__init__('command_guard', **options)
        interface = declare(self, 'command_interface', '',
                            'What the controller takes, velocity or effort; has to be said.')
        if interface not in INTERFACES:
            raise ConfigError(
                "parameter 'command_interface' of command_guard must be velocity or effort, got "
                f"'{interface}'; where commands are positions zeros would move the arm, and it "
                'stays at the last position by itself')
        self._timeout_s = declare(
            self, 'timeout_s', 0.55, 'Seconds after a command other than zero within which the '
            "next has to come; a little more than policy's, so that it speaks first.",
            between=(0.02, 60.0))
        self.diagnostics = Diagnostics(self, interface)
        self.diagnostics.add('commands', self._report)
        self.stops = 0
        """How often commands stopped coming while the arm moved."""
        self.stopping = False
        """Whether zeros are being sent."""
        self._size = 0  # of a command that needs a successor; 0 for none
        self._deadlines = Deadlines(self._timeout_s, (_COMMAND,))
        self._command = qos.publisher(self, self.diagnostics, Float64MultiArray, 'command',
                                      qos.reliable())
        qos.subscription(self, self.diagnostics, Float64MultiArray, 'command', self._on_command,
                         qos.reliable())
        self._watchdog = Watchdog(self, self._check)

    def close(self) -> None:
        """Leave the arm at rest: nobody watches over it from now on."""
        self._watchdog.stop()
        if size := self._size:
            self._send_zeros(size)
            self._command.wait_for_all_acked(Duration(seconds=ACKNOWLEDGED_S))

    def _on_command(self, message: Float64MultiArray) -> None:
        if any(dimension.label == _OWN for dimension in message.layout.dim):
            return
        self._deadlines.mark_fresh(_COMMAND)
        self._size = len(message.data) if any(message.data) else 0

    def _check(self) -> None:
        """Send zeros while a command misses its successor; runs in the watchdog's thread."""
        size = self._size
        if not size or not self._deadlines.is_late(_COMMAND):
            self.stopping = False
            return
        if not self.stopping:
            self.stopping = True
            self.stops += 1
            self.get_logger().error(f'no command followed for {self._timeout_s:g} s: zeros are '
                                    'sent until one does')
        self._send_zeros(size)

    def _send_zeros(self, size: int) -> None:
        layout = MultiArrayLayout(dim=[MultiArrayDimension(label=_OWN, size=size, stride=size)])
        self._command.publish(Float64MultiArray(layout=layout, data=[0.0] * size))

    def _report(self) -> Report:
        values = {'stops': self.stops, 'age_s': self._deadlines.age_s(_COMMAND)}
        if not self._watchdog.running:
            return Report(ERROR, ENDED, values)
        if self.stopping:
            return Report(ERROR, f'no command followed for {self._timeout_s:g} s: zeros are sent',
                          values)
        return Report(OK, 'the arm is commanded' if self._size else 'the arm is at rest', values)


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point of the executable `command_guard`."""
    exit_now(run_node(CommandGuard, argv))
