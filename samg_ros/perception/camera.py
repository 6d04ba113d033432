# SPDX-License-Identifier: Apache-2.0
"""One camera of `perception`: what comes from it, waits its turn, and goes out masked."""

from __future__ import annotations

import copy
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from geometry_msgs.msg import Point, PointStamped
from rclpy.qos import HistoryPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from samg_ros.errors import EncodingError, SamgError
from samg_ros.masking import apply_mask
from samg_ros.perception.clicks import Clicks
from samg_ros.perception.parameters import COMPRESSED, PerceptionParameters
from samg_ros.ros import qos
from samg_ros.ros.diagnostics import OK, WARN, Drops, Rate, Report
from samg_ros.ros.messages.images import (
    array_to_image,
    compressed_to_rgb,
    image_to_rgb,
    mask_to_image,
)
from samg_ros.ros.messages.message_info import Arrivals, waited_s

if TYPE_CHECKING:
    from torch import Tensor

    from samg_ros.ros.node import ManagedNode


@dataclass(frozen=True)
class Frame:
    """What is to be masked."""

    header: Header
    pixels: npt.NDArray[np.uint8]
    """(H, W, 3) RGB."""
    came_at: float
    """When the middleware got it, on the clock of `time.perf_counter`."""


@dataclass(frozen=True)
class MaskResult:
    """What the masker made of a frame."""

    mask: npt.NDArray[Any]
    """(H, W) bool."""
    similarity: Tensor
    """(O, H, W) float, -1 to 1, on the masker's device."""
    predicted_iou: float
    """Least of its objects."""
    took_s: float
    """Seconds of the masker's call."""
    batch: int
    """Frames in that call."""


class CameraStream:
    """The topics below a camera's name, its clicks, and its figures on /diagnostics."""

    def __init__(self, node: ManagedNode, name: str, asked: PerceptionParameters,
                 on_frame: Callable[[], None]) -> None:
        """Begin to report.

        Args:
            node: whose topics and diagnostics these are.
            name: of the camera; its topics are `<name>/image` and so on. Empty for the only one,
                whose topics are `image` and so on.
            asked: the node's parameters, for those that cannot change.
            on_frame: called when a frame has come.
        """
        self._node, self._asked, self._on_frame = node, asked, on_frame
        self.name = name
        self.prefix = f'{name}/' if name else ''
        label = f'{name} ' if name else ''
        self.drops = Drops(node, f'{label}frames')
        self.clicks_dropped = Drops(node, f'{label}clicks')
        self.latency = Rate()
        """From a frame's arrival to the publication of all that is made of it."""
        self.masking = Rate()
        """The masker's part of it."""
        self.received = 0
        """Frames whose turn was or never will be: those masked and those dropped."""
        self.clicks: Clicks | None = None
        """Those on what this camera is to find, from `configure` to `cleanup`."""
        self._arrivals = Arrivals()
        self._waiting: deque[tuple[Any, float]] = deque(maxlen=1)
        self._info: CameraInfo | None = None
        self._newest: npt.NDArray[np.uint8] | None = None
        self._batch = 0
        self._area = self._predicted_iou = 0.0
        self._stamp_age = Rate()
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        node.diagnostics.add(f'{label}frames', self._report_frames)
        node.diagnostics.add(f'{label}clicks', self.clicks_dropped.report)
        node.diagnostics.add(f'{label}masking', self._report)

    # Lifecycle

    def configure(self, clicks: Clicks) -> None:
        """Create the publishers.

        Args:
            clicks: on what is to be found; they hold its masker.
        """
        self.clicks = clicks

        def publisher(message_type: Any, topic: str) -> Any:
            made = qos.publisher(self._node, self._node.diagnostics, message_type,
                                 f'{self.prefix}masked/{topic}', qos.reliable())
            self._outputs.append(made)
            return made

        self._mask_topic = publisher(Image, 'mask')
        self._score_topic = publisher(Image, 'score')
        self._info_topic = publisher(CameraInfo, 'camera_info')
        self._overlay_topic = publisher(Image, 'overlay')
        self._image_topic = publisher(Image, 'image_raw')

    def activate(self) -> None:
        """Begin to listen."""
        self._arrivals = Arrivals()  # what was sent meanwhile was not for us

        def listen(message_type: Any, topic: str, callback: Callable[..., None],
                   depth: int = 1, with_info: bool = False) -> Any:
            made = qos.subscription(
                self._node, self._node.diagnostics, message_type, topic, callback,
                qos.sensor_data(depth), with_info)
            self._inputs.append(made)
            return made

        listen(CameraInfo, f'{self.prefix}camera_info', self._on_info)
        # Named after the image's topic, as their publishers name them, whatever `image` is
        # remapped to.
        image = self._node.resolve_topic_name(f'{self.prefix}image')
        listen(PointStamped, f'{self.prefix}clicked_point',
               lambda message: self._on_click(message.point), 10)
        listen(Point, f'{image}_mouse_left', self._on_click, 10)
        listen(Point, f'{self.prefix}masked/overlay_mouse_left', self._on_click, 10)
        if self._asked.image_transport == COMPRESSED:
            self._convert: Callable[[Any], npt.NDArray[np.uint8]] = compressed_to_rgb
            frames = listen(CompressedImage, f'{image}/compressed', self._on_message,
                            with_info=True)
        else:
            self._convert = image_to_rgb
            frames = listen(Image, f'{self.prefix}image', self._on_message, with_info=True)
        profile = frames.qos_profile
        keeps_all = profile.history == HistoryPolicy.KEEP_ALL
        self._waiting = deque(maxlen=None if keeps_all else profile.depth)

    def deactivate(self) -> None:
        """Stop listening."""
        while self._inputs:
            self._node.destroy_subscription(self._inputs.pop())
        if left := len(self._waiting):
            self.received += left
            self.drops.count('inactive', left, 'the node was deactivated before its turn')
            self._waiting.clear()

    def cleanup(self) -> None:
        """Let go of the clicks and the publishers."""
        self.clicks = self._info = self._newest = None
        while self._outputs:
            self._node.destroy_publisher(self._outputs.pop())

    # Frames

    @property
    def waiting(self) -> int:
        """How many frames wait for their turn."""
        return len(self._waiting)

    def _on_info(self, message: CameraInfo) -> None:
        self._info = message

    def _on_message(self, message: Any, info: Mapping[str, Any]) -> None:
        if not self._inputs:
            return  # the executor had it in its queue when the node was deactivated
        came_at = time.perf_counter() - waited_s(info)
        missed = self._arrivals.missed(info)
        if overtaken := missed + (len(self._waiting) == self._waiting.maxlen):
            self.received += overtaken
            self.drops.count('overtaken', overtaken, 'a newer frame came before its turn, or it '
                             'was lost on the way')
        self._waiting.append((message, came_at))
        self._on_frame()

    def take(self) -> Frame | None:
        """Return the frame whose turn it is, None if there is none that is a picture."""
        while self._waiting:
            message, came_at = self._waiting.popleft()
            self.received += 1
            try:
                self._newest = self._convert(message)
            except SamgError as error:
                self.drops.add('encoding' if isinstance(error, EncodingError) else 'image',
                               str(error))
                continue
            return Frame(message.header, self._newest, came_at)
        return None

    def publish(self, frame: Frame, found: MaskResult, fill: tuple[int, int, int]) -> None:
        """Publish what is wanted of a frame.

        Args:
            frame: from `take`.
            found: in it.
            fill: RGB outside the mask.
        """
        header, mask = frame.header, found.mask
        self._batch, self._predicted_iou = found.batch, found.predicted_iou
        self._area = float(np.count_nonzero(mask)) / mask.size
        self.masking.tick(found.took_s)
        # The image goes last: whoever acts on it then has the rest already.
        if qos.has_subscribers(self._mask_topic):
            self._mask_topic.publish(mask_to_image(mask, header))
        if qos.has_subscribers(self._score_topic):
            score = found.similarity.amax(dim=0)
            grey = ((score + 1) * 127.5).round().clamp(0, 255).byte().cpu().numpy()
            self._score_topic.publish(array_to_image(grey, header))
        if self._info is not None and qos.has_subscribers(self._info_topic):
            info_out = copy.copy(self._info)
            info_out.header = header
            self._info_topic.publish(info_out)
        if qos.has_subscribers(self._overlay_topic):
            self._overlay_topic.publish(array_to_image(overlay(frame.pixels, mask), header))
        masked = apply_mask(frame.pixels, mask, fill)
        self._image_topic.publish(array_to_image(masked, header))
        self.latency.tick(time.perf_counter() - frame.came_at)
        stamp_s = header.stamp.sec + header.stamp.nanosec / 1e9
        self._stamp_age.tick(self._node.get_clock().now().nanoseconds / 1e9 - stamp_s)

    # Clicks

    def _on_click(self, point: Point) -> None:
        assert self.clicks is not None
        if self._newest is None:
            self.clicks_dropped.add('no_frame', 'no frame has come yet that could be clicked on')
            return
        try:
            self.clicks.add(point.x, point.y, self._newest, self.name)
        except SamgError as error:
            self.clicks_dropped.add('point', str(error))

    # Diagnostics

    def _report_frames(self) -> Report:
        report = self.drops.report()
        values = {'in': self.received, 'out': self.latency.count, **report.values}
        if not self._arrivals.numbered:
            values['overtaken'] = 'not known'
        return Report(report.level, report.message, values)

    def _report(self) -> Report:
        latency, asked = self.latency, self._asked
        values = {'model': asked.model, 'device': asked.device,
                  'frames': latency.count, 'rate_hz': latency.hz,
                  'latency_median_ms': latency.duration_ms(50),
                  'latency_p95_ms': latency.duration_ms(95),
                  'masker_median_ms': self.masking.duration_ms(50),
                  'batch': self._batch, 'stamp_age_median_ms': self._stamp_age.duration_ms(50),
                  'dropped': self.drops.total, 'mask_area': self._area,
                  'predicted_iou': self._predicted_iou, 'age_s': latency.age_s,
                  'clicked_points': len(self.clicks or ())}
        if not self._node.active:
            return Report(WARN, 'not active', values)
        if self.clicks is not None and self.clicks.masker.reference is None:
            return Report(WARN, 'no reference: click on the object and call ~/capture_reference',
                          values)
        if not latency.count:
            return Report(OK, 'waiting for the first image', values)
        if latency.age_s > asked.stale_after_s:
            return Report(WARN, f'no frame was masked for {latency.age_s:.1f} s', values)
        if self._area == 0.0:
            return Report(WARN, 'the mask is empty: the object is not found', values)
        return Report(OK, 'masking', values)


_COLOUR = np.array([40, 220, 60], dtype=np.uint16)


def overlay(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the frame with what is outside the mask darkened and the object tinted.

    Args:
        frame: (H, W, 3) uint8 RGB.
        mask: (H, W) bool.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    wide = frame.astype(np.uint16)
    tinted = (2 * wide + _COLOUR) // 3
    return np.where(mask[..., None], tinted, wide // 3).astype(np.uint8)
