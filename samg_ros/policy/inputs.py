# SPDX-License-Identifier: Apache-2.0
"""The inputs of a policy: the newest masked frame of each camera, and the joint positions with it.

What cannot be used is dropped and counted by cause, so that only good inputs are handed on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from samg_ros.errors import InvalidInputError
from samg_ros.observation import Frames
from samg_ros.policy.camera_frames import CameraFrames, GoodFrame
from samg_ros.policy.parameters import CAMERAS, JOINTS, PAIR, InputSettings
from samg_ros.policy.watchdog import of_camera
from samg_ros.ros import qos
from samg_ros.ros.messages import time_step
from samg_ros.ros.messages.pairing import CameraPairer, StampPairer, stamp_of
from samg_ros.ros.publishers import describe_publishers
from samg_ros.step_types import FIRST

if TYPE_CHECKING:
    from samg_ros.policy.joint_states import JointStates
    from samg_ros.policy.watchdog import Deadlines
    from samg_ros.ros.diagnostics import Drops
    from samg_ros.ros.node import ManagedNode


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
    """Whether a mask is likely to be wrong, as MaskGuard has it."""
    more: Frames = field(default_factory=dict)
    """Frames of further cameras."""
    more_stamps: Mapping[str, time_step.Stamp] = field(default_factory=dict)
    """Their stamps, by the names of the cameras."""


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
        self._drops, self._joint_states, self._on_input = drops, joint_states, on_input
        self._joints_mismatch: str | None = None
        self.count = 0
        """Good inputs."""
        self.cameras = tuple(
            CameraFrames(node, drops, settings, deadlines, name, self._on_frame, on_mismatch)
            for name in settings.cameras)
        self._main, *self._more = settings.cameras
        self._used_stamp: time_step.Stamp = (-1, 0)  # of the newest good input
        self._pairer = CameraPairer[GoodFrame](self._more, settings.tolerance_s,
                                               settings.timeout_s, self._on_unpaired)
        self._exact = StampPairer(('time_step', *map(_image, settings.cameras),
                                   *(('joints',) if settings.needed_joints else ())))
        self._subscriptions = self._subscribe()

    def close(self) -> None:
        """Stop listening."""
        while self._subscriptions:
            self._node.destroy_subscription(self._subscriptions.pop())

    @property
    def mismatches(self) -> list[str]:
        """How what arrives differs from what the policy needs."""
        return [line for line in (*(each.mismatch for each in self.cameras),
                                  self._joints_mismatch) if line]

    @property
    def silent(self) -> str | None:
        """Say on which topic nothing new comes, and who publishes there; None if all come."""
        for camera in self.cameras:
            if line := camera.silent:
                return line
        if JOINTS not in self._settings.deadlines or not self._deadlines.is_late(JOINTS):
            return None
        late = self._joint_states.late(self._settings.timeout_s)
        of = f' of {", ".join(late)}' if late != self._joint_states.needed else ''
        repeats = self._joint_states.repeated
        same = f'; {repeats} came with the stamp of the one before' if repeats else ''
        return (f'no new joint state{of} came: '
                f'{describe_publishers(self._node, "joint_states")}{same}')

    def figures(self) -> dict[str, Any]:
        """Return what goes into the diagnostics."""
        return {'inputs': self.count, 'repeated': sum(each.repeated for each in self.cameras),
                'mask_area': min(each.mask_area for each in self.cameras),
                'doubtful_masks': sum(each.doubtful for each in self.cameras)}

    def restart_mask_guards(self) -> None:
        """Take the next masks as good, whatever they are like."""
        for camera in self.cameras:
            camera.mask_guard.restart()

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
        for camera in self.cameras:
            made += camera.subscribe(listen)
        return made

    # What arrives

    def _on_joints(self, message: JointState) -> None:
        joint_states, stamp = self._joint_states, stamp_of(message)
        try:
            fresh = joint_states.add(message.name, message.position, stamp)
        except InvalidInputError as error:
            self._drops.add('joints', str(error))
            return
        if missing := joint_states.missing:
            self._joints_mismatch = missing
            return
        if not joint_states.complete or not (fresh or self._settings.lockstep):
            return
        self._joints_mismatch = None
        self._deadlines.mark_fresh(JOINTS, joint_states.oldest_arrival)
        if self._settings.lockstep:
            if joint_states.at(stamp, joint_states.needed) is not None:
                self._pair_exactly('joints', stamp, self._seen(
                    joint_states.at(stamp, self._settings.spec.proprioception)))
        else:
            self._pair_nearest()

    def _seen(self, positions: list[float] | None) -> npt.NDArray[np.float32] | None:
        """Return joint positions as the policy sees them."""
        spec = self._settings.spec
        return None if positions is None else spec.select_joints(spec.proprioception, positions)

    def _on_time_step(self, message: Float64MultiArray) -> None:
        try:
            info = time_step.from_message(message)
        except InvalidInputError as error:
            self._drops.add('time_step', str(error))
            return
        self._pair_exactly('time_step', info.stamp, info)

    def _on_frame(self, camera: str, frame: GoodFrame) -> None:
        if self._settings.lockstep:
            self._pair_exactly(_image(camera), frame.stamp, frame.pixels)
            return
        if camera != self._main:
            self._pairer.add_more(camera, frame.stamp, frame)
        elif self._pairer.add(frame.stamp, frame):
            self._joint_states.set_back(frame.stamp)
        self._pair_nearest()

    # What belongs together

    def _pair_nearest(self) -> None:
        """Hand on the newest frame that waits of which all that belongs to it is there."""
        if (found := self._pairer.take(self._complete)) is not None:
            self.count += 1
            self._on_input(found)

    def _on_unpaired(self, frame: GoodFrame) -> None:
        what = 'no joint positions' if not self._more else \
            'no joint positions, or no frame of another camera,'
        self._drops.add('unpaired', f'{what} came within {self._settings.tolerance_s:g} s of the '
                        'stamp of a frame')

    def _complete(self, frame: GoodFrame, more: dict[str, GoodFrame]) -> SynchronizedInput | None:
        """Return frames with the joint positions; None if those have not come yet."""
        self._deadlines.mark_fresh(CAMERAS)
        seen = None
        joints = self._settings.spec.proprioception
        if joints:
            seen = self._seen(self._joint_states.near(frame.stamp, joints))
            if seen is None:
                return None
            self._deadlines.mark_fresh(PAIR)
        begins, self._used_stamp = frame.stamp < self._used_stamp, frame.stamp
        return SynchronizedInput(
            frame.stamp, frame.pixels, seen, begins,
            doubtful=any(each.doubtful for each in (frame, *more.values())),
            more={name: each.pixels for name, each in more.items()},
            more_stamps={name: each.stamp for name, each in more.items()})

    def _pair_exactly(self, name: str, stamp: time_step.Stamp, message: Any) -> None:
        """Hand on the messages of one time step when all have come."""
        complete: Mapping[str, Any] | None = self._exact.add(name, stamp, message)
        if complete is None:
            return
        info: time_step.StepInfo = complete['time_step']
        self.count += 1
        self._on_input(SynchronizedInput(
            stamp, complete[_image(self._main)], complete.get('joints'),
            info.step_type == FIRST, info.frame_index, info.time_ns,
            more={camera: complete[_image(camera)] for camera in self._more},
            more_stamps=dict.fromkeys(self._more, stamp)))


def _image(camera: str) -> str:
    """Name of a camera's frame among the messages of one time step."""
    return of_camera('image', camera)
