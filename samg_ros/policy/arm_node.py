# SPDX-License-Identifier: Apache-2.0
"""A node that moves an arm: what `policy` and `teleop` have in common.

It starts disabled. Whenever it stops being enabled, for whatever reason, the safe action is the
last command that it sends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory

from samg_ros.arm.commands import ArmCommands
from samg_ros.arm.settings import ArmSettings
from samg_ros.errors import ConfigError
from samg_ros.policy.arm_driver import ACTING, DISABLED, SAFE, ArmDriver, Sources
from samg_ros.policy.joint_states import JointStates
from samg_ros.policy.parameters import ARRAY, CommandParameters
from samg_ros.policy.robot_clock import RobotClock
from samg_ros.policy.trace import Trace
from samg_ros.policy.watchdog import ENDED, Deadlines, Watchdog
from samg_ros.ros import qos
from samg_ros.ros.compat import steady_timer
from samg_ros.ros.diagnostics import ERROR, OK, WARN, Diagnostics, Drops, Report
from samg_ros.ros.node import ManagedNode
from samg_ros.ros.publishers import UniqueName, name_is_taken, other_publishers
from samg_ros.ros.service_calls import MEND_FIRST, NOT_ENABLED

_CONFLICTS_S = 0.2
"""Period in which other publishers of the command and other nodes of this name are looked for."""


class ArmNode(ManagedNode):
    """A lifecycle node with `~/enable`, a watchdog and reports.

    Its subclass makes the driver in `configure`, listens between `activate` and `stop_listening`,
    and says what is special about it in `reason_not_to_enable`, `problems` and `facts`.
    """

    doing = 'acting'
    """What an enabled node does, for its report."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        self._report_name = name
        self._driver: ArmDriver | None = None
        self._watchdog: Watchdog | None = None

    def begin_reports(self, given: CommandParameters, hardware_id: str) -> None:
        """Begin to report and to offer `~/enable`.

        Args:
            given: the parameters of the commands.
            hardware_id: what the reports are about, for the diagnostics.
        """
        self._given = given
        self.diagnostics = Diagnostics(self, hardware_id)
        self.drops = Drops(self, 'inputs')
        self.diagnostics.add('inputs', self.drops.report)
        self.diagnostics.add(self._report_name, self._report)
        self.create_service(SetBool, '~/enable', self._on_enable)
        UniqueName(self, self._on_name_conflict)

    @property
    def state(self) -> str:
        """DISABLED, ACTING or SAFE."""
        return DISABLED if self._driver is None else self._driver.state

    def make_driver(self, arm: ArmSettings, clock: RobotClock, joints: Sequence[str],
                    monitored: Sequence[str], trace: Trace | None = None) -> None:
        """Create the publisher of the commands and what drives the arm.

        Args:
            arm: how actions become commands.
            clock: the robot's.
            joints: names of those whose positions are needed.
            monitored: inputs and outputs that must not stop, causes before effects.
            trace: see ArmDriver.
        """
        given = self._given
        self._commands, self._robot_clock = ArmCommands(arm), clock
        self._joint_states = JointStates(joints, given.pairing_tolerance_s, given.timeout_s)
        self._deadlines = Deadlines(given.timeout_s, monitored)
        message_type = Float64MultiArray if given.output == ARRAY else JointTrajectory
        self._publisher = qos.publisher(self, self.diagnostics, message_type, 'command',
                                        qos.reliable())
        self._driver = ArmDriver(self, self.drops, Sources(
            given, self._commands, self._joint_states, self._deadlines, clock), self._publisher,
            trace)

    def activate(self) -> None:
        """Begin to watch inputs and outputs, disabled."""
        assert self._driver is not None
        self._conflicts_timer = steady_timer(self, _CONFLICTS_S, self._stop_on_problems)
        self._watchdog = None if self._given.lockstep else Watchdog(self, self._driver.check)

    def deactivate(self) -> None:
        """Stop listening; the safe action goes out last."""
        assert self._driver is not None
        self.destroy_timer(self._conflicts_timer)
        self.stop_listening()
        if self._watchdog is not None:
            self._watchdog.stop()
        self._driver.disable('deactivated')

    def cleanup(self) -> None:
        """Release the publisher, once the controller has the last command."""
        assert self._driver is not None
        self._driver.wait_until_received()
        self._driver = None
        self.destroy_publisher(self._publisher)

    def stop_listening(self) -> None:
        """End the subscriptions that `activate` began."""
        raise NotImplementedError

    def before_enabling(self) -> None:
        """Prepare for the first action of a new session."""

    def reason_not_to_enable(self) -> str | None:
        """Return what keeps an active node without problems from being enabled, in one line."""
        raise NotImplementedError

    def problems(self) -> list[str]:
        """Return what is wrong and does not pass by itself, a line each."""
        found = []
        if self.active and (too_fast := self._robot_clock.too_fast):
            found.append(too_fast)
        if self.active and (others := other_publishers(self, 'command')):
            topic = self.resolve_topic_name('command')
            found.append(f"{', '.join(others)} publishes on '{topic}' too: end it, or the arm "
                         'gets the commands of both')
        if name_is_taken(self):
            found.append(f"another node '{self.get_fully_qualified_name()}' is running; end one")
        return found

    def facts(self) -> dict[str, Any]:
        """Return further figures for the diagnostics."""
        raise NotImplementedError

    def idle_warning(self) -> str | None:
        """Return what a disabled node lacks before it can be enabled; None for nothing."""
        return None

    def watched(self) -> bool:
        """Whether the watchdog runs, or none is needed."""
        return self._watchdog is None or self._watchdog.running

    def _on_enable(self, request: Any, response: Any) -> Any:
        if not request.data:
            if self._driver is not None:
                self._driver.disable('disabled by service')
            response.success, response.message = True, DISABLED
            return response
        problems = '; '.join(self.problems()) if self.active else ''
        reason = problems or (self.reason_not_to_enable() if self.active else
                              'the node is not active')
        response.success = reason is None
        if reason is not None:
            if self._driver is not None:  # the answer must be true, also if it was enabled before
                self._driver.disable(f'~/enable was refused: {reason}')
            response.message = f'{MEND_FIRST if problems else NOT_ENABLED}{reason}'
            return response
        assert self._driver is not None
        if self.state == DISABLED:
            self.before_enabling()
            self._driver.enable()
        response.message = 'enabled' if self.state == ACTING else \
            f'enabled; the safe action is sent until all is good: {self._driver.reason}'
        return response

    def outside(self, joints: Sequence[str]) -> str | None:
        """Say that the arm is outside limits or workspace, or that its positions are not known."""
        if not joints:
            return None
        positions = self._joint_states.positions(joints)
        if positions is None:
            return self._joint_states.missing or 'the positions of the joints are not known yet'
        return self._commands.outside(positions)

    def _stop_on_problems(self) -> None:
        if self._driver is not None and self.state != DISABLED and (problems := self.problems()):
            self._driver.stop_for_good('; '.join(problems))

    def _on_name_conflict(self, error: ConfigError) -> None:
        self.error = error

    def _report(self) -> Report:
        values = {'state': self.state, 'dropped': self.drops.total, **self.facts()}
        if self._driver is not None:
            values |= self._driver.figures()
        if not self.active or self._driver is None:
            return Report(WARN, 'not active', values)
        if not self.watched():
            return Report(ERROR, ENDED, values)
        if problems := self.problems():
            return Report(ERROR, '; '.join(problems), values)
        if self.state == SAFE:
            return Report(ERROR, f"{self._driver.reason}: safe action "
                          f"'{self._given.safe_action}'", values)
        if self.state == ACTING:
            return Report(OK, self.doing, values)
        warning = self.idle_warning()
        return Report(WARN, f'disabled; {warning}', values) if warning else \
            Report(OK, 'disabled; ~/enable starts it', values)
