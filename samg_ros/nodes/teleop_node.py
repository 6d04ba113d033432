# SPDX-License-Identifier: Apache-2.0
"""`teleop`: a person drives the arm, through the limits, workspace and watchdog of a policy.

It starts disabled. Enabled, it follows a leader arm, a joystick or the keyboard; where these stop,
it sends the safe action until they are back. Buttons ask the recorder to start, end, mark or throw
away an episode.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from samg_ros.arm.commands import ArmCommands, Vector
from samg_ros.errors import ConfigError, InvalidInputError, plain
from samg_ros.policy.arm_driver import ACTING, ACTION, DISABLED, LEADER, SAFE, ArmDriver, Sources
from samg_ros.policy.command_parameters import ARRAY, CommandParameters, declare_commands
from samg_ros.policy.inference import Request
from samg_ros.policy.inputs import JOINTS, SynchronizedInput
from samg_ros.policy.joint_states import JointStates
from samg_ros.policy.operators import Leader, OperatorParameters, make_operator, now_stamp
from samg_ros.policy.robot_clock import RobotClock
from samg_ros.policy.watchdog import ENDED, Deadlines, Watchdog
from samg_ros.ros import qos
from samg_ros.ros.compat import steady_timer
from samg_ros.ros.diagnostics import ERROR, OK, WARN, Diagnostics, Drops, Report
from samg_ros.ros.messages.pairing import stamp_of
from samg_ros.ros.node import ManagedNode, run_node
from samg_ros.ros.parameters import declare
from samg_ros.ros.publishers import UniqueName, other_publishers
from samg_ros.ros.signals import exit_now

_CONFLICTS_S = 0.2
_NO_FRAME = np.empty((0, 0, 3), np.uint8)


class Teleop(ManagedNode):
    """The node. Parameters are described in OperatorParameters and CommandParameters."""

    def __init__(self, **options: Any) -> None:
        super().__init__('teleop', **options)
        self._operator_given = OperatorParameters.declare(self)
        values = declare_commands(self)
        self._max_offset = declare(
            self, 'max_offset', 0.5, 'How far a joint of the leader may be from that of the arm '
            'when it is enabled, rad or m.', between=(0.0, 100.0))
        if self._operator_given.kind == 'topic':
            values['action_interface'] = 'position'
        self._given = CommandParameters(**values)
        self.diagnostics = Diagnostics(self, self._operator_given.kind)
        self.drops = Drops(self, 'inputs')
        self.diagnostics.add('inputs', self.drops.report)
        self.diagnostics.add('teleop', self._report)
        self._driver: ArmDriver | None = None
        self.create_service(SetBool, '~/enable', self._on_enable)
        self._recorder: dict[str, Any] = {
            name: self.create_client(Trigger, f'recorder/{name}')
            for name in ('start', 'stop', 'mark_success', 'discard')}
        self._recording = False
        UniqueName(self, self._on_name_conflict)

    @property
    def state(self) -> str:
        """DISABLED, ACTING or SAFE."""
        return DISABLED if self._driver is None else self._driver.state

    # Lifecycle

    def configure(self) -> None:
        """Load the limits, check that the settings fit, create the publisher.

        Raises:
            SamgError: if they are not usable together.
        """
        given = self._given
        clock = RobotClock.of_node(self)
        arm = given.arm_settings(0, clock.simulated)
        if not arm.joints:
            raise ConfigError("teleop needs the names of the joints: set its parameter 'limits'")
        self._commands, self._robot_clock = ArmCommands(arm), clock
        self._joint_states = JointStates(arm.joints, given.pairing_tolerance_s, given.timeout_s)
        self._deadlines = Deadlines(given.timeout_s, (LEADER, JOINTS, ACTION))
        message_type = Float64MultiArray if given.output == ARRAY else JointTrajectory
        self._publisher = qos.publisher(self, self.diagnostics, message_type, 'command',
                                        qos.reliable())
        self._driver = ArmDriver(self, self.drops, Sources(
            given, self._commands, self._joint_states, self._deadlines, clock), self._publisher)

    def activate(self) -> None:
        """Begin to listen, disabled."""
        self._deadlines.restart()
        self._joints = qos.subscription(self, self.diagnostics, JointState, 'joint_states',
                                        self._on_joints, qos.sensor_data(10))
        self._operator = make_operator(
            self, self.drops, self._operator_given, self._commands.settings.joints,
            self._on_action, self._on_button)
        self._conflicts_timer = steady_timer(self, _CONFLICTS_S, self._stop_on_problems)
        assert self._driver is not None
        self._watchdog = Watchdog(self, self._driver.check)

    def deactivate(self) -> None:
        """Stop listening; the safe action goes out last."""
        assert self._driver is not None
        self.destroy_timer(self._conflicts_timer)
        self._operator.close()
        self.destroy_subscription(self._joints)
        self._watchdog.stop()
        self._driver.disable('deactivated')

    def cleanup(self) -> None:
        """Release the publisher."""
        assert self._driver is not None
        self._driver.wait_until_received()
        self._driver = None
        self.destroy_publisher(self._publisher)

    # Acting

    def _on_joints(self, message: JointState) -> None:
        states = self._joint_states
        try:
            fresh = states.add(message.name, message.position, stamp_of(message))
        except InvalidInputError as error:
            self.drops.add('joints', str(error))
            return
        if states.complete and fresh:
            self._deadlines.mark_fresh(JOINTS, states.oldest_arrival)

    def _on_action(self, action: Vector) -> None:
        """Send what the operator asks for."""
        self._deadlines.mark_fresh(LEADER)
        if self._driver is None or self.state == DISABLED or not self._watchdog.running:
            return
        given = SynchronizedInput(now_stamp(), _NO_FRAME, None, False)
        self._driver.act(Request(given, self._driver.session, True, time.monotonic()), action, 0.0)

    def _on_button(self, what: str) -> None:
        """Ask the recorder; the button that starts an episode ends it too."""
        if what == 'start' and self._recording:
            what = 'stop'
        client = self._recorder[what]
        if not client.service_is_ready():
            self.get_logger().warning(f'there is no recorder to {what.replace("_", " ")}')
            return
        client.call_async(Trigger.Request()).add_done_callback(self._answered(what))

    def _answered(self, what: str) -> Callable[[Any], None]:
        def note(future: Any) -> None:
            answer = future.result()
            if answer.success and what != 'mark_success':
                self._recording = what == 'start'
            log = self.get_logger()
            (log.info if answer.success else log.error)(f'recorder: {plain(answer.message)}')
        return note

    def _on_enable(self, request: Any, response: Any) -> Any:
        if not request.data:
            if self._driver is not None:
                self._driver.disable('disabled by service')
            response.success, response.message = True, DISABLED
            return response
        reason = self._reason_not_to_enable()
        response.success = reason is None
        if reason is not None:
            if self._driver is not None:
                self._driver.disable(f'~/enable was refused: {reason}')
            response.message = f'not enabled: {reason}'
            return response
        assert self._driver is not None
        self._driver.enable()
        response.message = 'enabled'
        return response

    def _reason_not_to_enable(self) -> str | None:
        if not self.active or self._driver is None:
            return 'the node is not active'
        if problems := self._problems():
            return '; '.join(problems)
        missed = self._deadlines.missed
        if missed not in (None, ACTION):
            return self._driver.missing(str(missed))
        if reason := self._robot_clock.reason_not_to_enable:
            return reason
        positions = self._joint_states.positions(self._commands.settings.joints)
        if positions is None:
            return self._joint_states.missing or 'the positions of the joints are not known yet'
        return self._commands.outside(positions) or self._offset(positions)

    def _offset(self, positions: Vector) -> str | None:
        """Say which joint of a leader is too far from the arm's."""
        if not isinstance(self._operator, Leader):
            return None
        if self._operator.newest is None:
            return 'nothing came from the leader yet'
        offsets = np.abs(self._operator.newest - positions)
        joint = int(offsets.argmax())
        if offsets[joint] <= self._max_offset:
            return None
        return (f"joint '{self._commands.settings.joints[joint]}' of the leader is "
                f"{offsets[joint]:.3g} from the arm's, more than max_offset "
                f'{self._max_offset:g}; bring the leader to where the arm is')

    def _problems(self) -> list[str]:
        """Return what is wrong and does not pass by itself, a line each."""
        found = []
        if too_fast := self._robot_clock.too_fast:
            found.append(too_fast)
        if others := other_publishers(self, 'command'):
            found.append(f"{', '.join(others)} publishes on "
                         f"'{self.resolve_topic_name('command')}' too: end it, or the arm gets "
                         'the commands of both')
        return found

    def _stop_on_problems(self) -> None:
        if self._driver is not None and self.state != DISABLED and (problems := self._problems()):
            self._driver.stop_for_good('; '.join(problems))

    def _on_name_conflict(self, error: ConfigError) -> None:
        self.error = error

    def _report(self) -> Report:
        values: dict[str, Any] = {'state': self.state, 'source': self._operator_given.kind,
                                  'dropped': self.drops.total}
        if self._driver is not None:
            values |= self._driver.figures()
        if not self.active or self._driver is None:
            return Report(WARN, 'not active', values)
        if not self._watchdog.running:
            return Report(ERROR, ENDED, values)
        if problems := self._problems():
            return Report(ERROR, '; '.join(problems), values)
        if self.state == SAFE:
            return Report(ERROR, f"{self._driver.reason}: safe action "
                          f"'{self._given.safe_action}'", values)
        return Report(OK, 'following the operator' if self.state == ACTING
                      else 'disabled; ~/enable starts it', values)


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point of the executable `teleop`."""
    exit_now(run_node(Teleop, argv))
