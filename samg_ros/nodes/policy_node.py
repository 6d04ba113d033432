# SPDX-License-Identifier: Apache-2.0
"""`policy`: masked frames and joint states in, commands for an arm out.

It starts disabled. Enabled, it acts on every good frame; where good frames stop, it sends the safe
action until they are back. Whenever it stops being enabled, for whatever reason, the safe action is
the last thing that it sends. The network runs in a thread of its own, so that services, parameters
and transitions are answered at once however slow it is.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from samg_ros.arm.commands import Vector
from samg_ros.errors import CheckpointError, ConfigError, InvalidInputError
from samg_ros.observation import Observer
from samg_ros.perception.description import DESCRIPTION_PARAMETER, read_description, read_fill
from samg_ros.policy.arm_driver import ACTION, DISABLED, SAFE
from samg_ros.policy.arm_node import ArmNode
from samg_ros.policy.inference import InferenceWorker, Request
from samg_ros.policy.inputs import PolicyInputs, SynchronizedInput
from samg_ros.policy.parameters import InputSettings, PolicyParameters
from samg_ros.policy.robot_clock import RobotClock
from samg_ros.policy.trace import Trace
from samg_ros.rl.evaluation.compatibility import masker_mismatch
from samg_ros.rl.evaluation.policy import Policy, load_policy
from samg_ros.ros.parameters import declare_torch_threads
from samg_ros.ros.service_calls import RemoteParameters


class PolicyNode(ArmNode):
    """The node. Its parameters are described in PolicyParameters."""

    def __init__(self, **options: Any) -> None:
        super().__init__('policy', **options)
        self._parameters_given = PolicyParameters.declare(self)
        declare_torch_threads(self)
        self._policy: Policy | None = None
        self._masker_note = ''
        self._masker_mismatch: str | None = None
        self._masker_facts: dict[str, Any] | None = None
        self.begin_reports(self._parameters_given, self._parameters_given.checkpoint)
        RemoteParameters(self, self._parameters_given.perception, (DESCRIPTION_PARAMETER, 'fill'),
                         self._on_perception, follow=True)

    # Lifecycle

    def configure(self) -> None:
        """Load the policy and the limits, check that they fit, create the publisher.

        Raises:
            SamgError: if checkpoint, device, limits or settings are not usable together.
        """
        given = self._parameters_given
        policy = self._load(given)
        spec = replace(policy.spec, crop=given.crop) if given.crop else policy.spec
        clock = RobotClock.of_node(self)
        arm = given.arm_settings(len(policy.action_low), clock.simulated)
        self._input_settings = InputSettings(
            policy.config, spec, arm.joints if arm.needs_positions else (), given.timeout_s,
            given.pairing_tolerance_s, given.min_mask_area, given.mask_limits, given.lockstep,
            policy.cameras)
        self._trace = Trace(self, self.diagnostics)
        self.make_driver(arm, clock, self._input_settings.needed_joints,
                         (*self._input_settings.deadlines, ACTION), self._trace)
        self._policy = policy
        self._compare_maskers()
        self._warn_of_limits(policy)

    def activate(self) -> None:
        """Begin to listen, disabled."""
        assert self._policy is not None
        self._deadlines.restart()
        observer = Observer(self._input_settings.spec, self._policy.more_cameras)
        self._worker = InferenceWorker(self, self._policy, observer, self._on_action)
        self._first = True
        self._inputs = PolicyInputs(self, self.drops, self._input_settings, self._deadlines,
                                    self._joint_states, self._on_input, self._on_mismatch)
        super().activate()

    def stop_listening(self) -> None:
        """End the subscriptions."""
        self._inputs.close()

    def deactivate(self) -> None:
        """Stop listening; the safe action goes out last."""
        super().deactivate()
        self._worker.stop()

    def cleanup(self) -> None:
        """Release the policy and the publisher."""
        super().cleanup()
        self._trace.close()
        self._policy = None

    def _load(self, given: PolicyParameters) -> Policy:
        if not given.checkpoint:
            raise ConfigError("policy needs a checkpoint: set its parameter 'checkpoint' to a run "
                              'folder (samg train policy makes one)')
        policy = load_policy(given.checkpoint, given.device)
        if given.task and given.task != policy.task:
            raise CheckpointError(f"the checkpoint is of task '{policy.task}', the parameter "
                                  f"'task' asks for '{given.task}'; change one of them")
        return policy

    def _warn_of_limits(self, policy: Policy) -> None:
        """Say which protection is missing, although the settings are usable."""
        arm, log = self._commands.settings, self.get_logger()
        if arm.endless:
            log.warning(f'the limits leave the range of {", ".join(arm.endless)} open: give '
                        'min_position and max_position, or their positions are not limited')
        if (share := arm.approach_share()) < 1.0:
            log.warning(f'only from {share:.0%} of the positions in the workspace the path to '
                        'safe_pose stays inside; from the others the arm stops where it would '
                        'leave')
        if policy.spec.source == 'truth':
            log.warning("the policy was trained on the simulator's true masks; a masker's masks "
                        'differ from those')

    # Acting

    def _on_input(self, given: SynchronizedInput) -> None:
        driver = self._driver
        if driver is None or driver.state == DISABLED or driver.repeat(given.frame_index):
            return
        begins = given.begins or self._first or self.state == SAFE
        self._first = False
        self._worker.submit(Request(given, driver.session, begins, time.monotonic()))

    def _on_action(self, request: Request, action: Vector, duration_s: float) -> None:
        """Send an action; called by the worker's thread."""
        given = request.input
        self._trace.add('look', stamp=given.stamp, begins=request.begins,
                        seen=given.proprioception, more=given.more_stamps)
        if self._driver is not None and self.watched():
            self._driver.act(request, action, duration_s,
                             self._parameters_given.mask_limits.slow_down
                             if given.doubtful else 1.0)

    def _on_mismatch(self, mismatch: str) -> None:
        """Stop until enabled again: camera or mask were changed, which a person has to check."""
        if self._driver is not None:
            self._driver.stop_for_good(mismatch)

    def before_enabling(self) -> None:
        """Forget what was seen before the policy was disabled."""
        self._first = True
        self._inputs.restart_mask_guards()

    def reason_not_to_enable(self) -> str | None:
        """Return which input is missing, or that the arm is outside its limits."""
        assert self._driver is not None
        if not self._inputs.count:
            return 'no good frame has come yet' + (f'; last {last}' if (last := self.drops.last)
                                                   else '')
        joints = self._input_settings.joints
        if self._parameters_given.lockstep:
            return self.outside(joints)
        missed = self._deadlines.missed
        if missed not in (None, ACTION):
            return self._inputs.silent or self._driver.missing(str(missed))
        return self._robot_clock.reason_not_to_enable or self.outside(joints)

    def problems(self) -> list[str]:
        """Return what is wrong and does not pass by itself, a line each."""
        found = self._inputs.mismatches if self.active else []
        if self._masker_mismatch:
            found.append(self._masker_mismatch)
        return found + super().problems()

    # Perception and diagnostics

    def _on_perception(self, facts: dict[str, Any]) -> None:
        self._masker_facts = facts
        self._compare_maskers()

    def _compare_maskers(self) -> None:
        """Compare how perception masks with how it did in training."""
        policy, facts = self._policy, self._masker_facts
        if policy is None or facts is None or policy.spec.source == 'raw':
            return
        note = None
        try:
            self._masker_mismatch, note = masker_mismatch(
                policy.spec, policy.masker_description, read_fill(facts['fill']),
                read_description(facts[DESCRIPTION_PARAMETER]))
        except InvalidInputError as error:
            self._masker_mismatch = str(error)
        self._masker_note = note or 'as in training'
        if note:
            self.get_logger().warning(note)
        if self._masker_mismatch:
            self._on_mismatch(self._masker_mismatch)

    def facts(self) -> dict[str, Any]:
        """Return further figures for the diagnostics."""
        given = self._parameters_given
        values: dict[str, Any] = {'checkpoint': given.checkpoint, 'device': given.device,
                                  'masker': self._masker_note or 'not known'}
        if self._policy is not None:
            values['task'] = self._policy.task
        if self.active:
            values |= {**self._inputs.figures(),
                       'repeated_joint_states': self._joint_states.repeated,
                       'overtaken': self._worker.overtaken}
            values |= {f'{name}_age_s': self._deadlines.age_s(name) for name in
                       (*self._input_settings.deadlines, ACTION)}
        return values

    def idle_warning(self) -> str | None:
        """Return which input no longer arrives; None if all arrive, and in lockstep."""
        return None if self._parameters_given.lockstep else self._inputs.silent
