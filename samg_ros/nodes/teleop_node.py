# SPDX-License-Identifier: Apache-2.0
"""`teleop`: a person drives the arm, through the limits, workspace and watchdog of a policy.

It starts disabled. Enabled, it follows a leader arm, a joystick or the keyboard; where these stop,
it sends the safe action until they are back. Buttons ask the recorder to start, end, mark or throw
away an episode.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from samg_ros.arm.commands import Vector
from samg_ros.errors import ConfigError, InvalidInputError, plain
from samg_ros.policy.arm_driver import ACTION, DISABLED, LEADER
from samg_ros.policy.arm_node import ArmNode
from samg_ros.policy.inference import Request
from samg_ros.policy.inputs import SynchronizedInput
from samg_ros.policy.operators import Leader, OperatorParameters, make_operator, now_stamp
from samg_ros.policy.parameters import JOINTS, CommandParameters, declare_commands
from samg_ros.policy.robot_clock import RobotClock
from samg_ros.ros import qos
from samg_ros.ros.messages.pairing import stamp_of
from samg_ros.ros.parameters import declare

_NO_FRAME = np.empty((0, 0, 3), np.uint8)


class Teleop(ArmNode):
    """The node. Parameters are described in OperatorParameters and CommandParameters."""

    doing = 'following the operator'

    def __init__(self, **options: Any) -> None:
        super().__init__('teleop', **options)
        self._operator_given = OperatorParameters.declare(self)
        values = declare_commands(self)
        self._max_offset = declare(
            self, 'max_offset', 0.5, 'How far a joint of the leader may be from that of the arm '
            'when it is enabled, rad or m.', between=(0.0, 100.0))
        if self._operator_given.kind == 'topic':
            values['action_interface'] = 'position'
        self.begin_reports(CommandParameters(**values), self._operator_given.kind)
        self._recorder: dict[str, Any] = {
            name: self.create_client(Trigger, f'recorder/{name}')
            for name in ('start', 'stop', 'mark_success', 'discard')}
        self._recording = False

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
        self.make_driver(arm, clock, arm.joints, (LEADER, JOINTS, ACTION))

    def activate(self) -> None:
        """Begin to listen, disabled."""
        self._deadlines.restart()
        self._joints = qos.subscription(self, self.diagnostics, JointState, 'joint_states',
                                        self._on_joints, qos.sensor_data(10))
        self._operator = make_operator(
            self, self.drops, self._operator_given, self._commands.settings.joints,
            self._on_action, self._on_button)
        super().activate()

    def stop_listening(self) -> None:
        """End the subscriptions."""
        self._operator.close()
        self.destroy_subscription(self._joints)

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
        if self._driver is None or self.state == DISABLED or not self.watched():
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

    def reason_not_to_enable(self) -> str | None:
        """Return what is missing, or that arm or leader are not where they must be."""
        assert self._driver is not None
        missed = self._deadlines.missed
        if missed not in (None, ACTION):
            return self._driver.missing(str(missed))
        joints = self._commands.settings.joints
        if reason := self._robot_clock.reason_not_to_enable or self.outside(joints):
            return reason
        positions = self._joint_states.positions(joints)
        return None if positions is None else self._offset(positions)

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

    def facts(self) -> dict[str, Any]:
        """Return further figures for the diagnostics."""
        return {'source': self._operator_given.kind}
