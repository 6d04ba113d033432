# SPDX-License-Identifier: Apache-2.0
"""The frames of one camera that a policy can use: of the right size, and with a mask.

What cannot be used is dropped here and counted by cause, so that only good frames are handed on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import Image
from std_msgs.msg import Float64MultiArray

from samg_ros.errors import EncodingError, InvalidInputError
from samg_ros.policy.mask_guard import MaskGuard, MaskShape, mask_shape
from samg_ros.policy.parameters import FRAME, MASK, QUALITY, InputSettings
from samg_ros.policy.watchdog import of_camera
from samg_ros.rl.evaluation.compatibility import frame_mismatch
from samg_ros.ros.messages import mask_quality
from samg_ros.ros.messages.images import image_to_rgb
from samg_ros.ros.messages.pairing import StampPairer, stamp_of
from samg_ros.ros.messages.time_step import Stamp
from samg_ros.ros.publishers import describe_publishers

if TYPE_CHECKING:
    from samg_ros.policy.watchdog import Deadlines
    from samg_ros.ros.diagnostics import Drops
    from samg_ros.ros.node import ManagedNode

_WHAT = {FRAME: 'frame', QUALITY: 'quality of a mask'}

Listen = Callable[[Any, str, Callable[[Any], None], int], Any]
"""Subscribes: message type, topic, callback, depth."""


class GoodFrame(NamedTuple):
    """A frame that a policy can use."""

    stamp: Stamp
    pixels: npt.NDArray[np.uint8]
    """(H, W, 3) RGB, masked."""
    doubtful: bool
    """Whether the mask is likely to be wrong, as MaskGuard has it."""


class CameraFrames:
    """Listens to one camera and hands on its good frames."""

    def __init__(self, node: ManagedNode, drops: Drops, settings: InputSettings,
                 deadlines: Deadlines, name: str, on_frame: Callable[[str, GoodFrame], None],
                 on_mismatch: Callable[[str], None]) -> None:
        """Begin without listening.

        Args:
            node: is asked who publishes what does not come.
            drops: counts what cannot be used, by cause.
            settings: which frames are good.
            deadlines: where good frames and masks are marked.
            name: of the camera, whose topics are below it; empty for the only one.
            on_frame: gets the name and every good frame; must return soon.
            on_mismatch: gets one line when frames do not fit the policy.
        """
        self._node, self._drops, self._settings = node, drops, settings
        self._deadlines, self._name = deadlines, name
        self._on_frame, self._on_mismatch = on_frame, on_mismatch
        self.mismatch: str | None = None
        """How the frames differ from what the policy needs."""
        self.repeated = 0
        """Frames with the stamp of the one before."""
        self.mask_area = 0.0
        """Share of the newest frame that is not masked out."""
        self.doubtful = 0
        """Masks that are likely to be wrong."""
        self.mask_guard = MaskGuard(settings.mask_limits, 2 * settings.timeout_s)
        self._stamp: Stamp = (-1, 0)  # of the newest frame
        self._judged = StampPairer(('image', 'quality'))
        prefix = f'{name}/' if name else ''
        raw = f'{name or "camera"}/image_raw'
        self._topics = {
            FRAME: raw if settings.spec.source == 'raw' else f'{prefix}masked/image_raw',
            QUALITY: f'{prefix}{mask_quality.TOPIC}'}

    def subscribe(self, listen: Listen) -> list[Any]:
        """Return the subscriptions, made by a function."""
        made = []
        if self._settings.wants_quality:
            made.append(listen(Float64MultiArray, self._topics[QUALITY], self._on_quality, 10))
        made.append(listen(Image, self._topics[FRAME], self._on_image, 1))
        return made

    @property
    def silent(self) -> str | None:
        """Say on which topic nothing new comes, and who publishes there; None if all come."""
        for kind, topic in self._topics.items():
            if not self._deadlines.is_late(of_camera(kind, self._name)):
                continue
            same = f'; {self.repeated} came with the stamp of the one before' \
                if kind == FRAME and self.repeated else ''
            return f'no new {_WHAT[kind]} came: {describe_publishers(self._node, topic)}{same}'
        return None

    def _mark_fresh(self, kind: str) -> None:
        self._deadlines.mark_fresh(of_camera(kind, self._name))

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
        self._mark_fresh(FRAME)
        if self._settings.lockstep:
            self._on_frame(self._name, GoodFrame(stamp, frame, False))
        elif self._settings.wants_quality:
            self._on_judged(self._judged.add('image', stamp, frame))
        else:
            self._use(stamp, frame, 1.0)

    def _on_quality(self, message: Float64MultiArray) -> None:
        try:
            quality = mask_quality.from_message(message)
        except InvalidInputError as error:
            self._drops.add('quality', str(error))
            return
        self._mark_fresh(QUALITY)
        self._on_judged(self._judged.add('quality', quality.stamp, quality))

    def _on_judged(self, found: dict[str, Any] | None) -> None:
        """Use a frame once it is known what the masker thinks of its mask."""
        if found is not None:
            quality: mask_quality.MaskQuality = found['quality']
            self._use(quality.stamp, found['image'], quality.predicted_iou)

    def _use(self, stamp: Stamp, frame: npt.NDArray[np.uint8], predicted_iou: float) -> None:
        """Hand a frame on, unless its mask is empty."""
        doubtful = False
        if self._settings.spec.source != 'raw':
            shape = mask_shape(frame, self._settings.spec.fill)
            self.mask_area = shape.area
            if shape.area <= self._settings.min_mask_area:
                self._drops.add('empty_mask', 'the mask is empty: the object is not found')
                return
            doubtful = self._is_doubtful(stamp, shape, predicted_iou)
        self._on_frame(self._name, GoodFrame(stamp, frame, doubtful))

    def _is_doubtful(self, stamp: Stamp, shape: MaskShape, predicted_iou: float) -> bool:
        """Whether a mask is likely to be wrong; one that is not is marked as good."""
        at_s = stamp[0] + stamp[1] * 1e-9
        doubt = self.mask_guard.doubt(at_s, shape, predicted_iou)
        if doubt is None:
            self._mark_fresh(MASK)
            return False
        if doubt.since_s is not None:  # the masks since then were not good either
            self._deadlines.mark_late(of_camera(MASK, self._name), at_s - doubt.since_s)
        self.doubtful += 1
        self._drops.count_repaired(doubt.cause, doubt.words)
        return True

    def _fits(self, frame: npt.NDArray[np.uint8]) -> bool:
        """Whether a frame has the size that the policy needs; reports one that has not."""
        settings = self._settings
        self.mismatch = frame_mismatch(settings.config, settings.spec.crop, *frame.shape[:2])
        if self.mismatch is None:
            return True
        self._drops.add('mismatch', self.mismatch)
        self._on_mismatch(self.mismatch)
        return False
