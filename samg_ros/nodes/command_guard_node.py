# SPDX-License-Identifier: Apache-2.0
"""`command_guard`: passes commands on to a controller, and stops the arm when they stop coming.

A velocity or effort controller keeps its last command for ever. `policy` sends the safe action when
something fails, but not after `kill -9`, from a machine that has no power or through a torn cable.
The guard stands between the two (`command_raw` in, `command` out), as a process of its own and best
on the controller's computer. A command other than zero has to be followed by another one in time,
or zeros are sent. What the controller would ignore or should not get is not passed on, and does not
count as a command.
"""

from __future__ import annotations

import threading
from typing import Any

from rclpy.duration import Duration
from std_msgs.msg import Float64MultiArray

from samg_ros.arm.settings import KEEPS_MOVING
from samg_ros.errors import ConfigError
from samg_ros.policy.watchdog import ACKNOWLEDGED_S, ENDED, Deadlines, Watchdog
from samg_ros.ros import qos
from samg_ros.ros.compat import steady_timer
from samg_ros.ros.diagnostics import ERROR, OK, WARN, Diagnostics, Drops, Report
from samg_ros.ros.messages import command
from samg_ros.ros.node import PlainNode
from samg_ros.ros.parameters import declare
from samg_ros.ros.publishers import UniqueName, other_publishers

_COMMAND = 'command'
_CONFLICTS_S = 0.2


class CommandGuard(PlainNode):
    """The node. Parameters are described where they are declared."""

    def __init__(self, **options: Any) -> None:
        """Begin to pass commands on.

        Raises:
            ConfigError: if it was not said what commands mean, or that they are positions.
        """
        super().__init__('command_guard', **options)
        interface = declare(self, 'command_interface', '',
                            'What the controller takes, velocity or effort; must be given.')
        if interface not in KEEPS_MOVING:
            raise ConfigError(
                "parameter 'command_interface' of command_guard must be velocity or effort, got "
                f"'{interface}'; where commands are positions zeros would move the arm, and it "
                'stays at the last position by itself')
        self._timeout_s = declare(
            self, 'timeout_s', 0.55, 'Seconds within which a command other than zero has to be '
            "followed by the next; a little more than policy's, whose safe action comes first.",
            between=(0.02, 60.0))
        self._size = declare(
            self, 'size', 0, "Values in a command, the number of the controller's joints; 0 takes "
            'that of the first command.', between=(0, 1000))
        self.diagnostics = Diagnostics(self, interface)
        self.drops = Drops(self, 'commands')
        self.diagnostics.add('commands', self._report)
        self.diagnostics.add('dropped commands', self.drops.report)
        self.stops = 0
        """How often commands stopped coming while the arm moved."""
        self.stopping = False
        """Whether zeros are being sent."""
        self._moving = False
        self._others: list[str] = []
        self._lock = threading.Lock()  # zeros of the watchdog must not follow a newer command
        self._deadlines = Deadlines(self._timeout_s, (_COMMAND,))
        self._command = qos.publisher(self, self.diagnostics, Float64MultiArray, 'command',
                                      qos.reliable())
        qos.subscription(self, self.diagnostics, Float64MultiArray, 'command_raw',
                         self._on_command, qos.reliable())
        self._watchdog = Watchdog(self, self._check)
        UniqueName(self, self._on_name_conflict)
        steady_timer(self, _CONFLICTS_S, self._look_for_others)

    def close(self) -> None:
        """Leave the arm at rest: nothing watches it from now on."""
        self._watchdog.stop()
        if self._moving:
            self._send_zeros()
            self._command.wait_for_all_acked(Duration(seconds=ACKNOWLEDGED_S))

    def _on_command(self, message: Float64MultiArray) -> None:
        try:
            size = self._size or len(message.data)
            if size == 0:
                raise command.BadCommandError(command.Fault.WRONG_SIZE, 'a command without values')
            values = command.from_message(message, size).action
            if self._others:
                raise command.BadCommandError(command.Fault.CONFLICT, self._conflict)
        except command.BadCommandError as error:
            self.drops.add(error.fault.value, str(error))
            return
        with self._lock:
            self._size = size
            self._moving = bool(values.any())
            self._deadlines.mark_fresh(_COMMAND)
            self.stopping = False
            self._command.publish(message)

    def _check(self) -> None:
        """Send zeros while the next command is missing; runs in the watchdog's thread."""
        with self._lock:
            if not self._moving or not self._deadlines.is_late(_COMMAND):
                return
            if not self.stopping:
                self.stopping = True
                self.stops += 1
                self.get_logger().error(f'no command followed for {self._timeout_s:g} s: zeros are '
                                        'sent until one does')
            self._send_zeros()

    def _send_zeros(self) -> None:
        self._command.publish(command.to_message([0.0] * self._size))

    @property
    def _conflict(self) -> str:
        return (f"{', '.join(self._others)} publishes on '{self.resolve_topic_name('command')}' "
                "too, so the guard passes nothing on; let it publish on 'command_raw', or end it")

    def _look_for_others(self) -> None:
        self._others = other_publishers(self, 'command')

    def _on_name_conflict(self, error: ConfigError) -> None:
        self.error = error

    def _report(self) -> Report:
        values = {'stops': self.stops, 'age_s': self._deadlines.age_s(_COMMAND),
                  'size': self._size, 'dropped': self.drops.total}
        if not self._watchdog.running:
            return Report(ERROR, ENDED, values)
        if self._others:
            return Report(ERROR, self._conflict, values)
        if self.stopping:
            return Report(ERROR, f'no command followed for {self._timeout_s:g} s: zeros are sent',
                          values)
        if not self.count_publishers('command_raw'):
            return Report(WARN, "the arm is at rest; nothing publishes on "
                          f"'{self.resolve_topic_name('command_raw')}'", values)
        return Report(OK, 'the arm is commanded' if self._moving else 'the arm is at rest', values)
