# SPDX-License-Identifier: Apache-2.0
"""Sends the commands: actions while the policy is enabled and its inputs are good, else safe ones.

A controller keeps its last command for ever. So the safe action is sent, again and again, while an
input is missing; and whenever the policy stops being enabled, it is the last command sent.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rclpy.duration import Duration

from samg_ros.policy.parameters import ARRAY, CAMERAS, FRAME, JOINTS, MASK, PAIR, QUALITY
from samg_ros.policy.watchdog import ACKNOWLEDGED_S, Deadlines
from samg_ros.ros.diagnostics import Rate
from samg_ros.ros.messages import command
from samg_ros.ros.messages.command import to_trajectory

if TYPE_CHECKING:
    from samg_ros.arm.commands import ArmCommands, Vector
    from samg_ros.policy.inference import Request
    from samg_ros.policy.joint_states import JointStates
    from samg_ros.policy.parameters import CommandParameters
    from samg_ros.policy.robot_clock import RobotClock
    from samg_ros.policy.trace import Trace
    from samg_ros.ros.diagnostics import Drops
    from samg_ros.ros.node import ManagedNode

DISABLED, ACTING, SAFE = 'disabled', 'acting', 'safe'
"""Nothing is sent; actions are sent; the safe action is sent until all inputs are good."""
ACTION, LEADER = 'action', 'leader'
"""Monitored beside the inputs of a policy, as named in Deadlines."""
_MISSING = {LEADER: 'nothing came from the operator', FRAME: 'no new frame came',
            JOINTS: 'no joint state came',
            QUALITY: 'perception said nothing of how good its masks are',
            MASK: 'the mask was empty or doubtful',
            CAMERAS: 'the other cameras had no frame near one of the main camera',
            PAIR: 'no joint state was near a frame', ACTION: 'no finite action was ready in time'}


@dataclass(frozen=True, eq=False)
class Sources:
    """The settings, inputs and clock from which commands are computed."""

    parameters: CommandParameters
    commands: ArmCommands
    joint_states: JointStates
    deadlines: Deadlines
    clock: RobotClock


class ArmDriver:
    """The states of the policy and the commands sent in each. Safe to call from any thread."""

    def __init__(self, node: ManagedNode, drops: Drops, sources: Sources, publisher: Any,
                 trace: Trace | None = None) -> None:
        """Begin disabled.

        Args:
            node: for its log.
            drops: counts actions that are not sent, by cause.
            sources: what the commands depend on.
            publisher: of the commands.
            trace: where all that commands depend on is published; None for nowhere.
        """
        self._log = node.get_logger()
        self._drops, self._publisher, self._trace = drops, publisher, trace
        self._parameters, self._clock = sources.parameters, sources.clock
        self._commands, self._deadlines = sources.commands, sources.deadlines
        self._joint_states = sources.joint_states
        self._lock = threading.RLock()
        self.state = DISABLED
        self.session = 0
        """How often it was enabled."""
        self.reason = ''
        """Why it was stopped or disabled last."""
        self.stops = 0
        """How often the safe action began."""
        self._actions = Rate()  # with the seconds from input to command
        self._answer: tuple[int, Any] | None = None  # in lockstep: frame, command
        self._sent_at = self._clock.now_s()
        self._time_ns: int | None = None

    # What moves the arm

    def enable(self) -> None:
        """Send actions from now on; the caller has checked that all inputs are good."""
        with self._lock:
            if self.state != DISABLED:
                return
            positions = self._positions()
            self._commands.begin(positions)
            if self._trace is not None:
                self._trace.add('begin', settings=self._commands.settings.to_dict(),
                                torch_threads=torch.get_num_threads(), positions=positions)
            self.session += 1
            self._time_ns = self._answer = None
            self._sent_at = self._clock.now_s()
            self._deadlines.mark_fresh(ACTION)
            self.state, self.reason = ACTING, ''

    def disable(self, reason: str) -> None:
        """Send the safe action, and nothing after it."""
        with self._lock:
            if self.state == DISABLED:
                return
            self.state, self.reason = DISABLED, reason
            self._answer = None
            if not self._parameters.lockstep:
                self._send_safe(final=True)

    def stop_for_good(self, reason: str) -> None:
        """Disable with an error in the log: what is wrong does not pass by itself."""
        with self._lock:
            if self.state != DISABLED:
                self._log.error(f'disabled: {reason}')
                self.disable(reason)

    def act(self, request: Request, action: Vector, duration_s: float,
            speed_share: float = 1.0) -> None:
        """Send an action, if it is still of use; an action that is not is counted.

        Args:
            request: the input that the action answers.
            action: (A,) of the policy or the operator.
            duration_s: seconds since the input came.
            speed_share: 0 to 1, slows the arm down.
        """
        with self._lock:
            if self.state == DISABLED or request.session != self.session:
                return
            if not np.isfinite(action).all():
                self._drops.add('action_not_finite', f'the action was {action.tolist()}')
                return
            if not self._parameters.lockstep and not self._is_timely(request, duration_s):
                return
            resumes = self.state == SAFE
            if resumes:
                self._commands.resume()
                self.state = ACTING
                self._log.info('all inputs are good again: acting')
            interval_s, positions = self._interval_s(request), self._positions()
            values = self._commands.act(action, interval_s, positions, speed_share)
            if self._trace is not None:
                self._trace.add('act', interval_s=interval_s, positions=positions,
                                speed_share=speed_share, resumes=resumes)
            self._send(values, request.input.frame_index)
            self._deadlines.mark_fresh(ACTION)
            self._actions.tick(duration_s)

    def repeat(self, frame_index: int | None) -> bool:
        """Send the last command again, if a lockstep simulator shows its frame again.

        Returns:
            Whether that frame is the one that the last command answered.
        """
        with self._lock:
            if self._answer is None or self._answer[0] != frame_index:
                return False
            self._publisher.publish(self._answer[1])
            return True

    def check(self) -> None:
        """Send the safe action while an input is missing; called by the watchdog."""
        self._clock.measure()
        with self._lock:
            if self.state == DISABLED:
                return
            if too_fast := self._clock.too_fast:
                self.stop_for_good(too_fast)
                return
            name = self._deadlines.missed
            if name is None:
                return
            if self.state != SAFE:
                self.state, self.reason = SAFE, self.missing(name)
                self.stops += 1
                self._log.error(f"{self.reason}: safe action '{self._parameters.safe_action}'")
            self._send_safe()

    def wait_until_received(self) -> None:
        """Wait until the controller has the last command, before the publisher goes."""
        self._publisher.wait_for_all_acked(Duration(seconds=ACKNOWLEDGED_S))

    def missing(self, name: str) -> str:
        """Say in one line that an input is missing, and for how long it has to be."""
        timeout_s = self._parameters.timeout_s
        late = self._joint_states.late(timeout_s)
        what = _what(name)
        if name == JOINTS and late and late != self._joint_states.needed:
            what = f'no joint state of {", ".join(late)} came'
        return f'{what} for {timeout_s:g} s'

    def figures(self) -> dict[str, Any]:
        """Return what goes into the diagnostics."""
        with self._lock:
            return {'actions': self._actions.count, 'rate_hz': self._actions.hz,
                    'latency_median_ms': self._actions.duration_ms(50),
                    'latency_p95_ms': self._actions.duration_ms(95),
                    'stops': self.stops, 'last_stop': self.reason,
                    **{f'limited_{name}': count
                       for name, count in sorted(self._commands.interventions.items())}}

    # Details

    def _is_timely(self, request: Request, duration_s: float) -> bool:
        if duration_s > self._parameters.timeout_s:
            self._drops.add('late', f'an action took {duration_s:.2g} s')
            return False
        if (name := self._deadlines.missed) not in (None, ACTION):
            self._drops.add('stale', f'{_what(str(name))} while an action was computed')
            return False
        if self.state == SAFE and not request.begins:
            self._drops.add('stale', 'the safe action began while an action was computed')
            return False
        return True

    def _interval_s(self, request: Request) -> float:
        """Seconds of the arm's time since the command before."""
        now_ns = request.input.time_ns
        if now_ns is None:
            return self._clock.now_s() - self._sent_at
        before_ns = now_ns if self._time_ns is None else self._time_ns
        self._time_ns = now_ns
        return max(0, now_ns - before_ns) * 1e-9

    def _positions(self) -> Vector | None:
        """(A,) of the arm's joints; None if they are not needed, or not known."""
        settings = self._commands.settings
        return self._joint_states.positions(settings.joints) if settings.needs_positions else None

    def _send_safe(self, *, final: bool = False) -> None:
        positions = None if self._deadlines.is_late(JOINTS) else self._positions()
        interval_s = self._clock.now_s() - self._sent_at
        values = self._commands.safe(interval_s, positions, final=final)
        if self._trace is not None:
            self._trace.add('safe', interval_s=interval_s, positions=positions, final=final)
        if values is not None:
            self._send(values)

    def _send(self, values: Vector, frame_index: int | None = None) -> None:
        message: Any
        if self._parameters.output == ARRAY:
            message = command.to_message(values, frame_index)
        else:
            message = to_trajectory(self._commands.settings.joints, values.tolist(),
                                    self._parameters.trajectory_reach_s)
        if frame_index is not None:
            self._answer = frame_index, message
        self._publisher.publish(message)
        self._sent_at = self._clock.now_s()


def _what(name: str) -> str:
    """Say in words what an input that is missing did not do; `name` as in Deadlines."""
    kind, _, camera = name.partition(' of ')
    return f'{camera}: {_MISSING[kind]}' if camera else _MISSING[kind]
