# SPDX-License-Identifier: Apache-2.0
"""What a policy acts on: the newest masked frame, and the joint state that belongs to it.

Whatever is not fit to act on ends here, counted by cause, so that behind this module there are
only good moments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray

from samg_ros.arm.commands import Vector, joint_positions
from samg_ros.errors import EncodingError, InvalidInputError
from samg_ros.observation import ObservationSpec
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.evaluation.compatibility import frame_mismatch, joints_mismatch, mask_area
from samg_ros.ros import qos
from samg_ros.ros.messages import time_step
from samg_ros.ros.messages.images import image_to_rgb
from samg_ros.ros.messages.pairing import NearestStamp, StampPairer, stamp_of
from samg_ros.step_types import FIRST

if TYPE_CHECKING:
    from samg_ros.policy.watchdog import Deadlines
    from samg_ros.ros.diagnostics import Drops
    from samg_ros.ros.node import ManagedNode

FRAME, JOINTS, MASK, PAIR = 'frame', 'joints', 'mask', 'pair'
"""What has to be good, as named in Deadlines."""


@dataclass(frozen=True)
class SynchronizedInput:
    """All that belongs to one frame."""

    stamp: time_step.Stamp
    frame: npt.NDArray[np.uint8]
    """(H, W, 3) RGB, masked."""
    proprioception: npt.NDArray[np.float32] | None
    """(k,) as the observation spec has it."""
    begins: bool
    """Whether an episode begins, or time was set back."""
    frame_index: int | None = None
    """In lockstep, the frame that the command answers."""
    time_ns: int | None = None
    """In lockstep, the simulation's time."""


@dataclass(frozen=True)
class InputSettings:
    """What is taken for good."""

    config: TrainConfig
    """Of the policy's training."""
    spec: ObservationSpec
    """What the policy sees; its crop is that of the camera in use."""
    joints: tuple[str, ...]
    """Joints whose positions the arm's commands need; empty for none."""
    tolerance_s: float
    """Greatest difference between the stamps of a frame and its joint state."""
    timeout_s: float
    """How far a frame may be behind the newest joint state."""
    min_mask_area: float
    """Share of the frame below which a mask counts as empty."""
    lockstep: bool
    """Whether frames, joint states and time steps come with one stamp, and every one counts."""

    @property
    def needed_joints(self) -> tuple[str, ...]:
        """All joints that must be in a joint state."""
        return tuple(dict.fromkeys((*self.spec.proprioception, *self.joints)))

    @property
    def deadlines(self) -> tuple[str, ...]:
        """What has to be good again and again, causes first."""
        awaited = {FRAME: True, JOINTS: bool(self.needed_joints), MASK: self.spec.source != 'raw',
                   PAIR: bool(self.spec.proprioception)}
        return tuple(name for name, needed in awaited.items() if needed)


class PolicyInputs:
    """Subscribes while it lives, and hands over good moments."""

    def __init__(self, node: ManagedNode, drops: Drops, settings: InputSettings,
                 deadlines: Deadlines, on_moment: Callable[[SynchronizedInput], None],
                 on_mismatch: Callable[[str], None]) -> None:
        """Begin to listen.

        Args:
            node: owns the subscriptions and the diagnostics.
            drops: counts what cannot be used, by cause.
            settings: what is taken for good.
            deadlines: is told what came.
            on_moment: gets every good moment.
            on_mismatch: gets one line when frames do not fit the policy.
        """
        self._node, self._settings, self._deadlines = node, settings, deadlines
        self._drops = drops
        self._on_moment, self._on_mismatch = on_moment, on_mismatch
        self.mismatches: dict[str, str] = {}
        """Topic -> how what arrives there differs from what the policy wants."""
        self.moments = self.repeated = 0
        self.mask_area = 0.0
        self.positions: Vector | None = None
        """(A,) newest positions of the arm's joints."""
        self._stamp: time_step.Stamp = (-1, 0)
        self._near = NearestStamp(settings.tolerance_s, settings.timeout_s)
        self._waiting: tuple[time_step.Stamp, npt.NDArray[np.uint8]] | None = None
        required: tuple[str, ...] = ('image', 'time_step')
        self._exact = StampPairer(required + (('joints',) if settings.needed_joints else ()))
        self._topics = self._subscribe()

    def close(self) -> None:
        """Stop listening."""
        while self._topics:
            self._node.destroy_subscription(self._topics.pop())

    def _subscribe(self) -> list[Any]:
        lockstep = self._settings.lockstep

        def listen(message_type: Any, topic: str, callback: Callable[[Any], None],
                   depth: int) -> Any:
            profile = qos.reliable() if lockstep else qos.sensor_data(depth)
            return qos.subscription(self._node, self._node.diagnostics, message_type, topic,
                                    callback, profile)

        made = []
        if lockstep:
            made.append(listen(Float64MultiArray, 'time_step', self._on_time_step, 1))
        if self._settings.needed_joints:
            made.append(listen(JointState, 'joint_states', self._on_joints, 10))
        raw = self._settings.spec.source == 'raw'
        made.append(listen(Image, 'camera/image_raw' if raw else 'masked/image_raw',
                           self._on_image, 1))
        return made

    def _on_joints(self, message: JointState) -> None:
        wanted = self._settings.needed_joints
        if not set(wanted) & set(message.name):
            return  # another part of the robot
        if mismatch := joints_mismatch(wanted, message.name, len(message.position)):
            self.mismatches['joint_states'] = mismatch
            self._drops.add('joints', mismatch)
            return
        found = joint_positions(message.name, message.position, wanted)
        if found is None:
            self._drops.add('joints_not_finite', 'a joint state has positions that are not '
                                 'finite')
            return
        self.mismatches.pop('joint_states', None)
        self._deadlines.mark_fresh(JOINTS)
        if self._settings.joints:
            self.positions = joint_positions(message.name, message.position,
                                             self._settings.joints)
        seen = self._settings.spec.select_joints(message.name, message.position)
        self._near.add(stamp_of(message), seen)
        if self._settings.lockstep:
            self._pair_exactly('joints', stamp_of(message), seen)
        elif self._waiting is not None:
            self._pair_nearest(*self._waiting)

    def _on_time_step(self, message: Float64MultiArray) -> None:
        try:
            info = time_step.from_message(message)
        except InvalidInputError as error:
            self._drops.add('time_step', str(error))
            return
        self._pair_exactly('time_step', info.stamp, info)

    def _on_image(self, message: Image) -> None:
        stamp = stamp_of(message)
        if stamp == self._stamp and not self._settings.lockstep:
            self.repeated += 1  # a frozen picture is not a new one
            return
        try:
            frame = image_to_rgb(message)
        except (EncodingError, InvalidInputError) as error:
            self._drops.add('image', str(error))
            return
        settings = self._settings
        mismatch = frame_mismatch(settings.config, settings.spec.crop, *frame.shape[:2])
        if mismatch is not None:
            self.mismatches['image'] = mismatch
            self._drops.add('mismatch', mismatch)
            self._on_mismatch(mismatch)
            return
        self.mismatches.pop('image', None)
        self._deadlines.mark_fresh(FRAME)
        if settings.spec.source != 'raw':
            self.mask_area = mask_area(frame, settings.spec.fill)
            if not settings.lockstep:
                if self.mask_area <= settings.min_mask_area:
                    self._drops.add('empty_mask', 'the mask is empty: the object is not found')
                    return
                self._deadlines.mark_fresh(MASK)
        if settings.lockstep:
            self._pair_exactly('image', stamp, frame)
        else:
            if self._waiting is not None:
                self._drops.add('unpaired', 'no joint state came within '
                                     f'{settings.tolerance_s:g} s of the stamp of a frame')
            self._pair_nearest(stamp, frame)

    def _pair_nearest(self, stamp: time_step.Stamp, frame: npt.NDArray[np.uint8]) -> None:
        """Hand the frame over with its joint state, or let it wait for that."""
        seen = None
        if self._settings.spec.proprioception:
            seen = self._near.find(stamp)
            if seen is None:
                self._waiting = stamp, frame
                return
            self._waiting = None
            self._deadlines.mark_fresh(PAIR)
        begins, self._stamp = stamp < self._stamp, stamp
        self.moments += 1
        self._on_moment(SynchronizedInput(stamp, frame, seen, begins))

    def _pair_exactly(self, name: str, stamp: time_step.Stamp, message: Any) -> None:
        moment = self._exact.add(name, stamp, message)
        if moment is None:
            return
        info: time_step.StepInfo = moment['time_step']
        self.moments += 1
        self._on_moment(SynchronizedInput(stamp, moment['image'], moment.get('joints'),
                               info.step_type == FIRST, info.frame_index, info.time_ns))
