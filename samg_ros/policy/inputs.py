# SPDX-License-Identifier: Apache-2.0
"""The inputs of a policy: the newest masked frame, and the joint positions that belong to it.

What cannot be used is dropped here and counted by cause, so that only good inputs are handed on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray

from samg_ros.errors import EncodingError, InvalidInputError
from samg_ros.observation import ObservationSpec
from samg_ros.policy.mask_guard import MaskGuard, MaskLimits, MaskShape, mask_shape
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.evaluation.compatibility import frame_mismatch
from samg_ros.ros import qos
from samg_ros.ros.messages import mask_quality, time_step
from samg_ros.ros.messages.images import image_to_rgb
from samg_ros.ros.messages.pairing import StampPairer, stamp_of
from samg_ros.ros.publishers import describe_publishers
from samg_ros.step_types import FIRST

if TYPE_CHECKING:
    from samg_ros.policy.joint_states import JointStates
    from samg_ros.policy.watchdog import Deadlines
    from samg_ros.ros.diagnostics import Drops
    from samg_ros.ros.node import ManagedNode

FRAME, JOINTS, QUALITY, MASK, PAIR = 'frame', 'joints', 'quality', 'mask', 'pair'
"""What is monitored, as named in Deadlines."""


@dataclass(frozen=True)
class SynchronizedInput:
    """A frame and what was measured at the same time."""

    stamp: time_step.Stamp
    frame: npt.NDArray[np.uint8]
    """(H, W, 3) RGB, masked."""
    proprioception: npt.NDArray[np.float32] | None
    """(k,) as the observation spec has it."""
    begins: bool
    """Whether an episode begins, or the clock was set back."""
    frame_index: int | None = None
    """Number of the frame that the command answers; in lockstep only."""
    time_ns: int | None = None
    """The simulation's time, nanoseconds; in lockstep only."""
    doubtful: bool = False
    """Whether the mask is likely to be wrong, as MaskGuard has it."""


@dataclass(frozen=True)
class InputSettings:
    """What a usable input is: crop, joints, and the bounds on age and mask."""

    config: TrainConfig
    """Of the policy's training."""
    spec: ObservationSpec
    """What the policy sees; its crop is that of the camera in use."""
    joints: tuple[str, ...]
    """Joints whose positions are needed for the commands; empty for none."""
    timeout_s: float
    """Age above which an input is late."""
    tolerance_s: float
    """Greatest difference between the stamps of a frame and of its joint positions."""
    min_mask_area: float
    """Share of the frame below which a mask counts as empty."""
    mask_limits: MaskLimits
    """When a mask is doubtful; not in lockstep."""
    lockstep: bool
    """Whether frames, joint states and time steps come with one stamp, and every one counts."""

    @property
    def wants_quality(self) -> bool:
        """Whether masks are judged by what the masker thinks of them."""
        return self.mask_limits.min_iou > 0 and self.spec.source != 'raw' and not self.lockstep

    @property
    def needed_joints(self) -> tuple[str, ...]:
        """All joints whose positions are needed, for the policy or for the commands."""
        return tuple(dict.fromkeys((*self.spec.proprioception, *self.joints)))

    @property
    def deadlines(self) -> tuple[str, ...]:
        """What is monitored, causes before effects."""
        monitored = {FRAME: True, JOINTS: bool(self.needed_joints),
                     QUALITY: self.wants_quality, MASK: self.spec.source != 'raw',
                     PAIR: bool(self.spec.proprioception)}
        return tuple(name for name, needed in monitored.items() if needed)


class PolicyInputs:
    """Subscribes while it lives, and hands on inputs that are good."""

    def __init__(self, node: ManagedNode, drops: Drops, settings: InputSettings,
                 deadlines: Deadlines, joint_states: JointStates,
                 on_input: Callable[[SynchronizedInput], None],
                 on_mismatch: Callable[[str], None]) -> None:
        """Subscribe.

        Args:
            node: owns the subscriptions and the diagnostics.
            drops: counts what cannot be used, by cause.
            settings: which inputs are good.
            deadlines: where good inputs are marked.
            joint_states: where joint positions are put.
            on_input: gets every good input; must return soon.
            on_mismatch: gets one line when frames do not fit the policy.
        """
        self._node, self._settings, self._deadlines = node, settings, deadlines
        self._drops, self._joint_states = drops, joint_states
        self._on_input, self._on_mismatch = on_input, on_mismatch
        self.mismatches: dict[str, str] = {}
        """Topic -> how what arrives there differs from what the policy needs."""
        self.count = self.repeated = 0
        """Good inputs, and frames with the stamp of the one before."""
        self.mask_area = 0.0
        """Share of the newest frame that is not masked out."""
        self.doubtful = 0
        """Masks that are likely to be wrong."""
        self.mask_guard = MaskGuard(settings.mask_limits, 2 * settings.timeout_s)
        self._stamp: time_step.Stamp = (-1, 0)  # of the newest frame
        self._used_stamp: time_step.Stamp = (-1, 0)  # of the newest good input
        self._waiting: tuple[time_step.Stamp, npt.NDArray[np.uint8], bool] | None = None
        required: tuple[str, ...] = ('image', 'time_step')
        self._judged = StampPairer(('image', 'quality'))
        self._exact = StampPairer(required + (('joints',) if settings.needed_joints else ()))
        raw = settings.spec.source == 'raw'
        self._image_topic = 'camera/image_raw' if raw else 'masked/image_raw'
        self._subscriptions = self._subscribe()

    def close(self) -> None:
        """Stop listening."""
        while self._subscriptions:
            self._node.destroy_subscription(self._subscriptions.pop())

    @property
    def silent(self) -> str | None:
        """Say on which topic nothing new comes, and who publishes there; None if all come."""
        topics = {FRAME: self._image_topic, JOINTS: 'joint_states', QUALITY: mask_quality.TOPIC}
        for name, topic in topics.items():
            if name not in self._settings.deadlines or not self._deadlines.is_late(name):
                continue
            repeats = {FRAME: self.repeated, JOINTS: self._joint_states.repeated}.get(name, 0)
            what = {FRAME: 'frame', JOINTS: 'joint state', QUALITY: 'quality of a mask'}[name]
            late = self._joint_states.late(self._settings.timeout_s)
            of = f' of {", ".join(late)}' \
                if name == JOINTS and late != self._joint_states.needed else ''
            same = f'; {repeats} came with the stamp of the one before' if repeats else ''
            return f'no new {what}{of} came: {describe_publishers(self._node, topic)}{same}'
        return None

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
        if self._settings.wants_quality:
            made.append(listen(Float64MultiArray, mask_quality.TOPIC, self._on_quality, 10))
        made.append(listen(Image, self._image_topic, self._on_image, 1))
        return made

    # Joint states

    def _on_joints(self, message: JointState) -> None:
        joint_states, stamp = self._joint_states, stamp_of(message)
        try:
            fresh = joint_states.add(message.name, message.position, stamp)
        except InvalidInputError as error:
            self._drops.add('joints', str(error))
            return
        if missing := joint_states.missing:
            self.mismatches['joint_states'] = missing
            return
        if not joint_states.complete or not (fresh or self._settings.lockstep):
            return
        self.mismatches.pop('joint_states', None)
        self._deadlines.mark_fresh(JOINTS, joint_states.oldest_arrival)
        if self._settings.lockstep:
            if joint_states.at(stamp, joint_states.needed) is not None:
                self._pair_exactly('joints', stamp, self._seen(
                    joint_states.at(stamp, self._settings.spec.proprioception)))
        elif self._waiting is not None:
            self._pair_nearest(*self._waiting)

    def _seen(self, positions: list[float] | None) -> npt.NDArray[np.float32] | None:
        """Return joint positions as the policy sees them."""
        spec = self._settings.spec
        return None if positions is None else spec.select_joints(spec.proprioception, positions)

    # Frames

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
            self.repeated += 1  # the same picture again
            return
        try:
            frame = image_to_rgb(message)
        except (EncodingError, InvalidInputError) as error:
            self._drops.add('image', str(error))
            return
        self._stamp = stamp
        if not self._fits(frame):
            return
        self._deadlines.mark_fresh(FRAME)
        if self._settings.lockstep:
            self._pair_exactly('image', stamp, frame)
            return
        if self._settings.wants_quality:
            self._on_judged(self._judged.add('image', stamp, frame))
        else:
            self._use(stamp, frame, 1.0)

    def _on_quality(self, message: Float64MultiArray) -> None:
        try:
            quality = mask_quality.from_message(message)
        except InvalidInputError as error:
            self._drops.add('quality', str(error))
            return
        self._deadlines.mark_fresh(QUALITY)
        self._on_judged(self._judged.add('quality', quality.stamp, quality))

    def _on_judged(self, found: dict[str, Any] | None) -> None:
        """Use a frame once it is known what the masker thinks of its mask."""
        if found is not None:
            quality: mask_quality.MaskQuality = found['quality']
            self._use(quality.stamp, found['image'], quality.predicted_iou)

    def _use(self, stamp: time_step.Stamp, frame: npt.NDArray[np.uint8],
             predicted_iou: float) -> None:
        """Pair a frame with joint positions, unless its mask is empty."""
        doubtful = False
        if self._settings.spec.source != 'raw':
            shape = mask_shape(frame, self._settings.spec.fill)
            self.mask_area = shape.area
            if shape.area <= self._settings.min_mask_area:
                self._drops.add('empty_mask', 'the mask is empty: the object is not found')
                return
            doubtful = self._is_doubtful(stamp, shape, predicted_iou)
        if self._waiting is not None:
            self._drops.add('unpaired', 'no joint positions came within '
                            f'{self._settings.tolerance_s:g} s of the stamp of a frame')
        self._pair_nearest(stamp, frame, doubtful)

    def _is_doubtful(self, stamp: time_step.Stamp, shape: MaskShape, predicted_iou: float) -> bool:
        """Whether a mask is likely to be wrong; one that is not is marked as good."""
        doubt = self.mask_guard.doubt(stamp[0] + stamp[1] * 1e-9, shape, predicted_iou)
        if doubt is None:
            self._deadlines.mark_fresh(MASK)
            return False
        self.doubtful += 1
        self._drops.count_repaired(doubt.cause, doubt.words)
        return True

    def _fits(self, frame: npt.NDArray[np.uint8]) -> bool:
        """Whether a frame has the size that the policy needs; reports one that has not."""
        settings = self._settings
        mismatch = frame_mismatch(settings.config, settings.spec.crop, *frame.shape[:2])
        if mismatch is None:
            self.mismatches.pop('image', None)
            return True
        self.mismatches['image'] = mismatch
        self._drops.add('mismatch', mismatch)
        self._on_mismatch(mismatch)
        return False

    # What belongs together

    def _pair_nearest(self, stamp: time_step.Stamp, frame: npt.NDArray[np.uint8],
                      doubtful: bool) -> None:
        """Hand on a frame with its joint positions, or keep it until they come."""
        seen = None
        joints = self._settings.spec.proprioception
        if joints:
            seen = self._seen(self._joint_states.near(stamp, joints))
            if seen is None:
                self._waiting = stamp, frame, doubtful
                return
            self._waiting = None
            self._deadlines.mark_fresh(PAIR)
        begins, self._used_stamp = stamp < self._used_stamp, stamp
        self.count += 1
        self._on_input(SynchronizedInput(stamp, frame, seen, begins, doubtful=doubtful))

    def _pair_exactly(self, name: str, stamp: time_step.Stamp, message: Any) -> None:
        """Hand on the messages of one time step when all have come."""
        complete = self._exact.add(name, stamp, message)
        if complete is None:
            return
        info: time_step.StepInfo = complete['time_step']
        self.count += 1
        self._on_input(SynchronizedInput(
            stamp, complete['image'], complete.get('joints'), info.step_type == FIRST,
            info.frame_index, info.time_ns))
