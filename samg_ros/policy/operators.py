# SPDX-License-Identifier: Apache-2.0
"""Who drives an arm by hand, and how their input becomes an action: joystick, keyboard, leader.

A joystick and the keyboard give joint velocities, a leader arm joint positions. Whatever comes is
an action only: limits, workspace and watchdog come after it, as after a policy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from samg_ros.arm.keyboard import speeds_of_keys
from samg_ros.errors import InvalidInputError
from samg_ros.ros import qos
from samg_ros.ros.parameters import declare

if TYPE_CHECKING:
    from samg_ros.arm.commands import Vector
    from samg_ros.ros.diagnostics import Drops
    from samg_ros.ros.node import ManagedNode

KINDS = ('topic', 'joy', 'keyboard')
"""A leader that publishes joint positions; sensor_msgs/Joy; typed keys as std_msgs/String."""
_DEPTH = 10


class Operator(Protocol):
    """Turns the messages of a leader arm, a joystick or a keyboard into actions, one for each."""

    action_interface: str
    """What its actions are: `position` or `velocity`."""

    def close(self) -> None:
        """Stop listening."""


@dataclass(frozen=True)
class OperatorParameters:
    """Which operator there is, and what its input means."""

    kind: str
    speed: float
    """rad/s or m/s at full deflection."""
    axes: tuple[int, ...]
    """Axis of the joystick for each joint, -1 for none."""
    deadman_button: int
    buttons: dict[str, int]
    """What the recorder is asked for -> button."""

    @classmethod
    def declare(cls, node: ManagedNode) -> OperatorParameters:
        """Declare the parameters and read them.

        Raises:
            ConfigError: if one has another type or is out of range.
        """
        def button(name: str, default: int, what: str) -> int:
            return int(declare(node, f'{name}_button', default, f'Button that {what}; -1 for none.',
                               between=(-1, 100)))

        return cls(
            declare(node, 'source', KINDS[0], 'topic: joint positions on leader/joint_states or '
                    'leader/joint_trajectory. joy: a joystick on joy. keyboard: keys on keys.',
                    choices=KINDS),
            declare(node, 'speed', 0.3, 'Speed of a joint at full deflection of the joystick, or '
                    'while its key is held, rad/s or m/s.', between=(0.0, 10.0)),
            tuple(declare(node, 'axes', [0, 1, 3, 4, 6, 7], 'Axis of the joystick for each joint, '
                          'in the order of the command; -1 for none. Joints without one stay.')),
            button('deadman', 4, 'has to be held while the arm moves'),
            {'start': button('start', 7, 'starts and ends the recording of an episode'),
             'mark_success': button('success', 0, 'marks the episode as a success'),
             'discard': button('discard', 1, 'throws the episode away')})


def make_operator(node: ManagedNode, drops: Drops, parameters: OperatorParameters,
                  joints: Sequence[str], on_action: Callable[[Vector], None],
                  on_button: Callable[[str], None]) -> Operator:
    """Return the operator that the parameters name.

    Args:
        node: owns the subscriptions.
        drops: counts messages that cannot be used.
        parameters: which operator.
        joints: in the order of the command.
        on_action: gets (A,) float64 for every message that can be used.
        on_button: gets what the recorder is asked for.
    """
    if parameters.kind == 'topic':
        return Leader(node, drops, joints, on_action)
    return Jog(node, drops, parameters, len(joints), on_action, on_button)


class Leader:
    """Joint positions on `leader/joint_states` or `leader/joint_trajectory`, matched by name."""

    action_interface = 'position'

    def __init__(self, node: ManagedNode, drops: Drops, joints: Sequence[str],
                 on_action: Callable[[Vector], None]) -> None:
        self._drops = drops
        self._node, self._joints, self._on_action = node, tuple(joints), on_action
        self._subscriptions = [
            qos.subscription(node, node.diagnostics, JointState, 'leader/joint_states',
                             lambda message: self._take(message.name, message.position),
                             qos.sensor_data(_DEPTH)),
            qos.subscription(node, node.diagnostics, JointTrajectory, 'leader/joint_trajectory',
                             self._on_trajectory, qos.reliable(_DEPTH))]
        self.newest: Vector | None = None
        """(A,) positions of the leader; None before the first."""

    def close(self) -> None:
        """Stop listening."""
        while self._subscriptions:
            self._node.destroy_subscription(self._subscriptions.pop())

    def _on_trajectory(self, message: JointTrajectory) -> None:
        if message.points:
            self._take(message.joint_names, message.points[-1].positions)

    def _take(self, names: Sequence[str], positions: Sequence[float]) -> None:
        try:
            self.newest = in_order(self._joints, names, positions)
        except InvalidInputError as error:
            self._drops.add('leader', str(error))
            return
        self._on_action(self.newest)


def in_order(joints: Sequence[str], names: Sequence[str], positions: Sequence[float]) -> Vector:
    """Return the positions of joints, (A,), from those of a message.

    Raises:
        InvalidInputError: if one is missing or not finite, or the message contradicts itself.
    """
    if len(names) != len(positions):
        raise InvalidInputError(f'the leader gave {len(names)} names but {len(positions)} '
                                'positions')
    found = dict(zip(names, positions, strict=True))
    if len(found) < len(names):
        raise InvalidInputError(f'the leader names a joint twice: {", ".join(names)}')
    if missing := [joint for joint in joints if joint not in found]:
        raise InvalidInputError(f'the leader gives no position of {", ".join(missing)}; it gives '
                                f'{", ".join(names) or "none"}')
    values = np.array([found[joint] for joint in joints], np.float64)
    if not np.isfinite(values).all():
        raise InvalidInputError('the leader gave positions that are not finite')
    return values


class Jog:
    """Joint velocities from a joystick (`joy`) or from typed keys (`keys`)."""

    action_interface = 'velocity'

    def __init__(self, node: ManagedNode, drops: Drops, parameters: OperatorParameters, size: int,
                 on_action: Callable[[Vector], None], on_button: Callable[[str], None]) -> None:
        self._drops = drops
        self._node, self._parameters, self._size = node, parameters, size
        self._on_action, self._on_button = on_action, on_button
        self._pressed: dict[str, bool] = {}
        kind, topic, callback = (Joy, 'joy', self._on_joy) if parameters.kind == 'joy' else \
            (String, 'keys', self._on_keys)
        self._subscription: Any = qos.subscription(
            node, node.diagnostics, kind, topic, callback, qos.reliable(_DEPTH))

    def close(self) -> None:
        """Stop listening."""
        self._node.destroy_subscription(self._subscription)

    def _on_joy(self, message: Joy) -> None:
        given = self._parameters
        for what, button in given.buttons.items():
            pressed = 0 <= button < len(message.buttons) and bool(message.buttons[button])
            if pressed and not self._pressed.get(what):
                self._on_button(what)
            self._pressed[what] = pressed
        held = given.deadman_button < 0 or (
            given.deadman_button < len(message.buttons)
            and bool(message.buttons[given.deadman_button]))
        speeds = np.zeros(self._size)
        for joint, axis in enumerate(given.axes[:self._size]):
            if held and 0 <= axis < len(message.axes):
                speeds[joint] = given.speed * np.clip(message.axes[axis], -1.0, 1.0)
        if not np.isfinite(speeds).all():
            self._drops.add('leader', 'the joystick gave values that are not finite')
            return
        self._on_action(speeds)

    def _on_keys(self, message: String) -> None:
        speeds, buttons = speeds_of_keys(message.data, self._size)
        for what in buttons:
            self._on_button(what)
        self._on_action(self._parameters.speed * speeds)


def now_stamp() -> tuple[int, int]:
    """Return the time as a stamp, for actions that carry none."""
    sec, nanosec = divmod(time.time_ns(), 10**9)
    return sec, nanosec
