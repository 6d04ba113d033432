# SPDX-License-Identifier: Apache-2.0
"""`policy`: masked frames and joint states in, commands for an arm out.

It starts disabled. Enabled, it acts on every good frame; where good frames stop, it sends the safe
action until they are back, since a controller keeps its last command for ever. Whenever it stops
being enabled, however that comes, the safe action is the last thing that it sends.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
from rclpy.duration import Duration
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory

from samg_ros.arm.commands import ArmCommands, Vector
from samg_ros.errors import CheckpointError, ConfigError
from samg_ros.observation import Observer
from samg_ros.perception.parameters import DESCRIPTION_PARAMETER
from samg_ros.policy.inputs import (
    FRAME,
    JOINTS,
    MASK,
    PAIR,
    InputSettings,
    PolicyInputs,
    SynchronizedInput,
)
from samg_ros.policy.parameters import ARRAY, PolicyParameters
from samg_ros.policy.watchdog import ACKNOWLEDGED_S, ENDED, Deadlines, Watchdog
from samg_ros.rl.evaluation.compatibility import masker_mismatch
from samg_ros.rl.evaluation.policy import Policy, load_policy
from samg_ros.ros import qos
from samg_ros.ros.diagnostics import ERROR, OK, WARN, Diagnostics, Drops, Rate, Report
from samg_ros.ros.messages import command
from samg_ros.ros.messages.command import to_trajectory
from samg_ros.ros.node import ManagedNode, run_node
from samg_ros.ros.parameters import declare_torch_threads
from samg_ros.ros.service_calls import RemoteParameters
from samg_ros.ros.signals import exit_now

DISABLED, ACTING, SAFE = 'disabled', 'acting', 'safe'
ACTION = 'action'
_MISSED = {FRAME: 'no new frame came', JOINTS: 'no joint state came', MASK: 'the mask was empty',
           PAIR: 'no joint state was near a frame', ACTION: 'no finite action was ready in time'}


class PolicyNode(ManagedNode):
    """The node. Parameters are described where they are declared."""

    def __init__(self, **options: Any) -> None:
        super().__init__('policy', **options)
        asked = self._asked = PolicyParameters.declare(self)
        declare_torch_threads(self)
        self.diagnostics = Diagnostics(self, asked.checkpoint)
        self.drops = Drops(self, 'inputs')
        self.diagnostics.add('inputs', self.drops.report)
        self.diagnostics.add('policy', self._report)
        self.state = DISABLED
        self._lock = threading.RLock()  # the watchdog's thread sends commands too
        self._policy: Policy | None = None
        self._masker_note = ''
        self._masker_mismatch: str | None = None
        self._why = ''
        self._stops = 0
        self._work = Rate()
        self._begins = True
        self._answered: tuple[int, Any] | None = None
        self._time_ns: int | None = None
        self.create_service(SetBool, '~/enable', self._on_enable)
        self._running_masker: dict[str, Any] | None = None
        RemoteParameters(self, asked.perception, (DESCRIPTION_PARAMETER, 'fill'),
                         self._on_perception, follow=True)

    # Lifecycle

    def configure(self) -> None:
        """Load the policy and the limits, check that they fit, create the publisher.

        Raises:
            SamgError: if checkpoint, device, limits or settings are not usable together.
        """
        asked = self._asked
        if not asked.checkpoint:
            raise ConfigError("policy needs a checkpoint: set its parameter 'checkpoint' to a run "
                              'folder (samg train policy makes one)')
        policy = load_policy(asked.checkpoint, asked.device)
        if asked.task and asked.task != policy.task:
            raise CheckpointError(f"the checkpoint is of task '{policy.task}', the parameter "
                                  f"'task' asks for '{asked.task}'; change one of them")
        spec = replace(policy.spec, crop=asked.crop) if asked.crop else policy.spec
        arm = asked.arm_settings(len(policy.action_low))
        self._wanted = InputSettings(
            policy.config, spec, arm.joints if arm.needs_positions else (),
            asked.pairing_tolerance_s, asked.timeout_s, asked.min_mask_area, asked.lockstep)
        self._commands = ArmCommands(arm)
        self._observer = Observer(spec)
        self._policy = policy
        self._compare_maskers()
        kind = Float64MultiArray if self._asked.output == ARRAY else JointTrajectory
        self._command = qos.publisher(self, self.diagnostics, kind, 'command', qos.reliable())
        if arm.endless:
            self.get_logger().warning(f'the limits leave the range of {", ".join(arm.endless)} '
                                      'open: give min_position and max_position, or their '
                                      'positions are not limited')
        if spec.source == 'truth':
            self.get_logger().warning("the policy was trained on the simulator's true masks; "
                                      "behind a masker it sees what it never saw")

    def activate(self) -> None:
        """Begin to listen, disabled."""
        names = self._wanted.deadlines
        self._deadlines = Deadlines(self._asked.timeout_s, (*names, ACTION))
        self._inputs = PolicyInputs(self, self.drops, self._wanted, self._deadlines,
                                    self._on_moment, self._on_mismatch)
        self._sent_at = time.monotonic()
        self._watchdog = None if self._asked.lockstep else Watchdog(self, self._check)

    def deactivate(self) -> None:
        """Stop listening; the safe action goes out last."""
        self._inputs.close()
        if self._watchdog is not None:
            self._watchdog.stop()
        self._disable('deactivated')

    def cleanup(self) -> None:
        """Let go of the policy and the publisher."""
        self._policy = self._answered = None
        self.destroy_publisher(self._command)

    # Acting

    def _on_moment(self, moment: SynchronizedInput) -> None:
        began = time.monotonic()
        if self.state == DISABLED:
            return
        if self._answered is not None and self._answered[0] == moment.frame_index:
            self._command.publish(self._answered[1])  # the simulator asked again
            return
        assert self._policy is not None
        begins = self._begins or moment.begins or self.state == SAFE
        see = self._observer.reset if begins else self._observer.push
        action = self._policy.act(see(moment.frame, moment.proprioception))
        self._begins = False
        if not np.isfinite(action).all():
            self.drops.add('action_not_finite', f'the policy gave {action.tolist()}')
            return
        with self._lock:
            self._act(moment, action, time.monotonic() - began)

    def _act(self, moment: SynchronizedInput, action: Vector, duration_s: float) -> None:
        if self.state == DISABLED:
            return
        if self._watchdog is not None:
            if duration_s > self._asked.timeout_s:
                self.drops.add('late', f'an action took {duration_s:.2g} s')
                return
            if (missed := self._deadlines.missed) not in (None, ACTION):
                self.drops.add('stale', f'{_MISSED[str(missed)]} while a frame waited')
                return
            if not self._watchdog.running:
                return  # and this node ends
        if self.state == SAFE:
            self._commands.resume()
            self.state = ACTING
            self.get_logger().info('input is good again: acting')
        interval_s = time.monotonic() - self._sent_at
        if moment.time_ns is not None:  # a simulator that waits has a time of its own
            before = moment.time_ns if self._time_ns is None else self._time_ns
            interval_s = max(0, moment.time_ns - before) * 1e-9
            self._time_ns = moment.time_ns
        self._send(self._commands.act(action, interval_s, self._inputs.positions),
                   moment.frame_index)
        self._deadlines.mark_fresh(ACTION)
        self._work.tick(duration_s)

    def _send(self, values: Vector, frame_index: int | None = None) -> None:
        message: Any
        if self._asked.output == ARRAY:
            message = command.to_message(values, frame_index)
        else:
            message = to_trajectory(self._commands.settings.joints, values.tolist(),
                                    self._asked.trajectory_reach_s)
        if frame_index is not None:
            self._answered = frame_index, message
        self._command.publish(message)
        self._sent_at = time.monotonic()

    # Safety

    def _check(self) -> None:
        """Send the safe action while something is missed; runs in the watchdog's thread."""
        with self._lock:
            missed = None if self.state == DISABLED else self._deadlines.missed
            if missed is None:
                return
            if self.state != SAFE:
                self.state = SAFE
                self._why = f'{_MISSED[missed]} for {self._asked.timeout_s:g} s'
                self._stops += 1
                self.get_logger().error(f"{self._why}: safe action '{self._asked.safe_action}'")
            self._send_safe()

    def _send_safe(self, *, final: bool = False) -> None:
        positions = None if self._deadlines.is_late(JOINTS) else self._inputs.positions
        values = self._commands.safe(time.monotonic() - self._sent_at, positions, final=final)
        if values is not None:
            self._send(values)

    def _disable(self, why: str) -> None:
        with self._lock:
            if self.state == DISABLED:
                return
            self.state, self._why = DISABLED, why
            self._answered = None
            if self._asked.lockstep:
                return
            self._send_safe(final=True)
            self._command.wait_for_all_acked(Duration(seconds=ACKNOWLEDGED_S))

    def _on_mismatch(self, mismatch: str) -> None:
        """Stop for good: someone changed camera or mask, and has to say that it is well."""
        if self.state != DISABLED:
            self.get_logger().error(f'disabled: {mismatch}')
            self._disable(mismatch)

    def _on_enable(self, request: Any, response: Any) -> Any:
        if not request.data:
            self._disable('disabled by service')
            response.success, response.message = True, DISABLED
            return response
        reason = self._reason_not_to_enable()
        if reason is None and self.state == DISABLED:
            with self._lock:
                self._commands.begin(self._inputs.positions)
                self._begins, self._time_ns = True, None
                self._sent_at = time.monotonic()
                self._deadlines.mark_fresh(ACTION)
                self.state, self._why = ACTING, ''
        response.success = reason is None
        response.message = f'not enabled: {reason}' if reason else 'enabled'
        return response

    def _reason_not_to_enable(self) -> str | None:
        if not self.active:
            return 'the node is not active'
        mismatches = self._mismatchs()
        if mismatches:
            return '; '.join(mismatches.values())
        if not self._inputs.moments:
            return 'no good frame has come yet' + (f'; last {last}' if (last := self.drops.last)
                                                   else '')
        positions = self._inputs.positions
        if self._wanted.joints and positions is None:
            return 'the positions of the joints are not known yet'
        if positions is not None and (outside := self._commands.outside(positions)):
            return outside
        missed = self._deadlines.missed
        if missed not in (None, ACTION) and not self._asked.lockstep:
            return f'{_MISSED[str(missed)]} for {self._asked.timeout_s:g} s'
        return None

    # Perception and diagnostics

    def _on_perception(self, facts: dict[str, Any]) -> None:
        self._running_masker = facts
        self._compare_maskers()

    def _compare_maskers(self) -> None:
        policy, facts = self._policy, self._running_masker
        if policy is None or facts is None or policy.spec.source == 'raw':
            return
        self._masker_mismatch, note = masker_mismatch(
            policy.spec, policy.masker_description, facts['fill'],
            json.loads(facts[DESCRIPTION_PARAMETER]))
        self._masker_note = note or 'as in training'
        if note:
            self.get_logger().warning(note)
        if self._masker_mismatch:
            self._on_mismatch(self._masker_mismatch)

    def _mismatchs(self) -> dict[str, str]:
        found = dict(self._inputs.mismatches) if self.active else {}
        if self._masker_mismatch:
            found['perception'] = self._masker_mismatch
        return found

    def _report(self) -> Report:
        values: dict[str, Any] = {
            'state': self.state, 'checkpoint': self._asked.checkpoint, 'device': self._asked.device,
            'masker': self._masker_note or 'not known', 'actions': self._work.count,
            'rate_hz': self._work.hz, 'latency_median_ms': self._work.duration_ms(50),
            'latency_p95_ms': self._work.duration_ms(95), 'dropped': self.drops.total,
            'stops': self._stops, 'last_stop': self._why}
        if not self.active:
            return Report(WARN, 'not active', values)
        values |= {'task': self._policy.task if self._policy else '',
                   'moments': self._inputs.moments, 'repeated': self._inputs.repeated,
                   'mask_area': self._inputs.mask_area}
        values |= {f'{name}_age_s': self._deadlines.age_s(name) for name in
                   (*self._wanted.deadlines, ACTION)}
        values |= {f'limited_{name}': count
                   for name, count in sorted(self._commands.interventions.items())}
        if self._watchdog is not None and not self._watchdog.running:
            return Report(ERROR, ENDED, values)
        mismatches = self._mismatchs()
        if mismatches:
            return Report(ERROR, '; '.join(mismatches.values()), values)
        if self.state == SAFE:
            return Report(ERROR, f"{self._why}: safe action '{self._asked.safe_action}'", values)
        return Report(OK, 'acting' if self.state == ACTING else 'disabled; ~/enable starts it',
                      values)


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point of the executable `policy`."""
    exit_now(run_node(PolicyNode, argv))
