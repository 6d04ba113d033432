# SPDX-License-Identifier: Apache-2.0
"""One camera of `perception`: its topics, its queue of frames, and its diagnostics."""

from __future__ import annotations

import copy
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from geometry_msgs.msg import Point, PointStamped
from rclpy.qos import HistoryPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Float64MultiArray, Header

from samg_ros.errors import EncodingError, SamgError
from samg_ros.masking import apply_mask
from samg_ros.masking.tracker import Tracker
from samg_ros.perception.clicks import Clicks
from samg_ros.perception.frames import Frame, MaskResult, overlay
from samg_ros.perception.parameters import COMPRESSED, PerceptionParameters
from samg_ros.ros import qos
from samg_ros.ros.diagnostics import OK, WARN, Drops, Rate, Report
from samg_ros.ros.messages import mask_quality
from samg_ros.ros.messages.images import (
    array_to_image,
    compressed_to_rgb,
    image_to_rgb,
    mask_to_image,
)
from samg_ros.ros.messages.message_info import Arrivals, waited_s
from samg_ros.ros.publishers import describe_publishers

if TYPE_CHECKING:
    from samg_ros.ros.node import ManagedNode


_KEPT_INFOS = 32
"""CameraInfo messages kept to find the one of a frame's stamp: a second of a 30 Hz camera."""


class CameraStream:
    """The topics below a camera's name, its clicks, and its figures on /diagnostics."""

    def __init__(self, node: ManagedNode, name: str, params: PerceptionParameters,
                 on_frame: Callable[[], None]) -> None:
        """Declare the reports.

        Args:
            node: that has the topics and the diagnostics.
            name: of the camera; its topics are `<name>/image` and so on. Empty for the only one,
                whose topics are `image` and so on.
            params: parameters of the node; only those that cannot change are read.
            on_frame: called when a frame has arrived.
        """
        self._node, self._params, self._on_frame = node, params, on_frame
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
        """Frames that are dealt with: masked, dropped, or skipped because of no subscriber."""
        self.skipped = 0
        """Frames that were not masked because no topic of the result has a subscriber."""
        self.clicks: Clicks | None = None
        """The clicks on the objects of this camera; set from `configure` to `cleanup`."""
        self.tracker: Tracker | None = None
        """Of this camera's frames; set likewise."""
        self._arrivals = Arrivals()
        self._waiting: deque[tuple[Any, float]] = deque(maxlen=1)
        self._infos: deque[CameraInfo] = deque(maxlen=_KEPT_INFOS)
        self._frames: Any = None
        self._lost = self._missed = self._replaced = 0
        self._counted: Counter[str] = Counter()
        self._arrived_at = 0.0
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
            clicks: on the objects to be found; they hold the masker.
        """
        self.clicks, self.tracker = clicks, Tracker(clicks.masker)

        def publisher(message_type: Any, topic: str) -> Any:
            made = qos.publisher(self._node, self._node.diagnostics, message_type,
                                 f'{self.prefix}masked/{topic}', qos.reliable())
            self._outputs.append(made)
            return made

        self._mask_topic = publisher(Image, 'mask')
        self._score_topic = publisher(Image, 'score')
        self._info_topic = publisher(CameraInfo, 'camera_info')
        self._quality_topic = publisher(Float64MultiArray, 'quality')
        self._overlay_topic = publisher(Image, 'overlay')
        self._image_topic = publisher(Image, 'image_raw')

    def activate(self) -> None:
        """Begin to listen."""
        self._arrivals = Arrivals()  # frames sent while inactive do not count as missed
        self._lost = self._missed = self._replaced = 0
        self._counted.clear()
        self._arrived_at = time.monotonic()

        def listen(message_type: Any, topic: str, callback: Callable[..., None],
                   depth: int = 1, with_info: bool = False,
                   on_lost: Callable[[int], None] | None = None) -> Any:
            made = qos.subscription(
                self._node, self._node.diagnostics, message_type, topic, callback,
                qos.sensor_data(depth), with_info, on_lost)
            self._inputs.append(made)
            return made

        listen(CameraInfo, f'{self.prefix}camera_info', self._infos.append,
               _KEPT_INFOS)
        # Named after the image's topic, as their publishers name them, whatever `image` is
        # remapped to.
        image = self._node.resolve_topic_name(f'{self.prefix}image')
        listen(PointStamped, f'{self.prefix}clicked_point',
               lambda message: self._on_click(message.point), 10)
        listen(Point, f'{image}_mouse_left', self._on_click, 10)
        listen(Point, f'{self.prefix}masked/overlay_mouse_left', self._on_click, 10)
        if self._params.image_transport == COMPRESSED:
            self._convert: Callable[[Any, int], npt.NDArray[np.uint8]] = compressed_to_rgb
            self._image_type = 'sensor_msgs/msg/CompressedImage'
            self._frames = listen(CompressedImage, f'{image}/compressed', self._on_message,
                                  with_info=True, on_lost=self._on_lost)
        else:
            self._convert = image_to_rgb
            self._image_type = 'sensor_msgs/msg/Image'
            self._frames = listen(Image, f'{self.prefix}image', self._on_message,
                                  with_info=True, on_lost=self._on_lost)
        profile = self._frames.qos_profile
        keeps_all = profile.history == HistoryPolicy.KEEP_ALL
        self._waiting = deque(maxlen=None if keeps_all else profile.depth)

    def deactivate(self) -> None:
        """Stop listening."""
        while self._inputs:
            self._node.destroy_subscription(self._inputs.pop())
        if left := len(self._waiting):
            self.received += left
            self.drops.count('inactive', left, 'the node was deactivated before it was masked')
            self._waiting.clear()

    def cleanup(self) -> None:
        """Release the clicks and the publishers."""
        self.clicks = self.tracker = self._newest = None
        self._infos.clear()
        while self._outputs:
            self._node.destroy_publisher(self._outputs.pop())

    # Frames

    @property
    def waiting(self) -> int:
        """How many frames wait to be masked."""
        return len(self._waiting)

    @property
    def has_subscribers(self) -> bool:
        """Whether any topic of the result has a subscriber."""
        return any(map(qos.has_subscribers, self._outputs))

    def _on_lost(self, total: int) -> None:
        self._lost = total
        self._count_missed()

    def _count_missed(self) -> None:
        """Count frames that did not arrive: lost on the way, or replaced by a newer one.

        The message numbers say how many are missing; the middleware says how many of these it
        lost. Its event may come before or after the next message.
        """
        lost = min(self._lost, self._missed)
        for cause, count, why in (
                ('lost', lost, 'the middleware lost it on the way; docs/perception.md'),
                ('overtaken', self._missed - lost + self._replaced,
                 'a newer frame arrived before it was masked')):
            if count or cause in self._counted:
                self.drops.count(cause, count - self._counted[cause], why)
                self._counted[cause] = count

    def _on_message(self, message: Any, info: Mapping[str, Any]) -> None:
        if not self._inputs:
            return  # the executor had it in its queue when the node was deactivated
        self._arrived_at = time.monotonic()
        received_at = time.perf_counter() - waited_s(info)
        missed = self._arrivals.missed(info)
        replaced = int(len(self._waiting) == self._waiting.maxlen)
        if missed or replaced:
            self.received += missed + replaced
            self._missed += missed
            self._replaced += replaced
            self._count_missed()
        self._waiting.append((message, received_at))
        self._on_frame()

    def take(self) -> Frame | None:
        """Return the oldest frame that waits and can be decoded; None if there is none."""
        while self._waiting:
            message, received_at = self._waiting.popleft()
            self.received += 1
            try:
                self._newest = self._convert(message, self._params.max_pixels)
            except MemoryError:
                self.drops.add('memory', 'there is not enough memory for the image')
                continue
            except SamgError as error:
                self.drops.add('encoding' if isinstance(error, EncodingError) else 'image',
                               str(error))
                continue
            if self._params.lazy and not self.has_subscribers:
                self.skipped += 1
                continue
            return Frame(message.header, self._newest, received_at)
        return None

    def publish(self, frame: Frame, found: MaskResult, fill: tuple[int, int, int]) -> None:
        """Publish the results that have subscribers, and the masked image.

        Args:
            frame: from `take`.
            found: its mask.
            fill: RGB outside the mask.
        """
        header, mask = frame.header, found.mask
        self._batch, self._predicted_iou = found.batch, found.predicted_iou
        self._area = float(np.count_nonzero(mask)) / mask.size
        self.masking.tick(found.duration_s)
        # The image goes last, so that its receivers have the other results by then.
        if qos.has_subscribers(self._mask_topic):
            self._mask_topic.publish(mask_to_image(mask, header))
        if qos.has_subscribers(self._score_topic):
            score = found.similarity.amax(dim=0)
            grey = ((score + 1) * 127.5).round().clamp(0, 255).byte().cpu().numpy()
            self._score_topic.publish(array_to_image(grey, header))
        if qos.has_subscribers(self._info_topic) and (info := self._info_of(header)) is not None:
            self._info_topic.publish(info)
        if qos.has_subscribers(self._overlay_topic):
            self._overlay_topic.publish(array_to_image(overlay(frame.pixels, mask), header))
        if qos.has_subscribers(self._quality_topic):
            self._quality_topic.publish(mask_quality.to_message(header, found.predicted_iou))
        masked = apply_mask(frame.pixels, mask, fill)
        self._image_topic.publish(array_to_image(masked, header))
        self.latency.tick(time.perf_counter() - frame.received_at)
        self._stamp_age.tick(self._node.get_clock().now().nanoseconds / 1e9 - frame.stamp_s)

    def _info_of(self, header: Header) -> CameraInfo | None:
        """Return the camera's data that hold for a frame, with the frame's header.

        Those of the same stamp; else, from a driver that sends them now and then, the newest that
        are not younger than the frame.
        """
        def stamp(of: Header) -> tuple[int, int]:
            return of.stamp.sec, of.stamp.nanosec

        until = [info for info in self._infos if stamp(info.header) <= stamp(header)]
        if not until:
            return None
        info = copy.copy(max(until, key=lambda each: stamp(each.header)))
        info.header = header
        return info

    # Clicks

    def _on_click(self, point: Point) -> None:
        if self.clicks is None or not self._inputs:
            return  # the executor had it in its queue when the node was deactivated
        if self._newest is None:
            self.clicks_dropped.add('no_frame', 'no frame has arrived yet')
            return
        try:
            self.clicks.add(point.x, point.y, self._newest, self.name)
        except SamgError as error:
            self.clicks_dropped.add('point', str(error))

    # Diagnostics

    def _report_frames(self) -> Report:
        report = self.drops.report()
        values = {'in': self.received, 'out': self.latency.count,
                  'no_subscriber': self.skipped, **report.values}
        if not self._arrivals.numbered:
            values['overtaken'] = 'not known'
        return Report(report.level, report.message, values)

    def _report(self) -> Report:
        latency, params = self.latency, self._params
        values = {'model': params.model, 'device': params.device,
                  'engine': '' if self.clicks is None else self.clicks.masker.engine,
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
        silent_s = min(time.monotonic() - self._arrived_at, latency.age_s)
        if silent_s > params.stale_after_s:
            return Report(WARN, f'no frame was masked for {silent_s:.1f} s: '
                          f'{describe_publishers(self._node, self._frames.topic_name)}; expected '
                          f'{self._image_type}', values)
        if params.lazy and not self.has_subscribers:
            return Report(OK, 'idle: no subscriber of a masked topic', values)
        if not latency.count:
            return Report(OK, 'waiting for the first image', values)
        if latency.age_s > params.stale_after_s and self.drops.total:
            return Report(WARN, f'no frame was masked for {latency.age_s:.1f} s: frames arrive '
                          f'and are dropped; last {self.drops.last}', values)
        if self._area == 0.0:
            return Report(WARN, 'the mask is empty: the object is not found', values)
        return Report(OK, 'masking', values)
