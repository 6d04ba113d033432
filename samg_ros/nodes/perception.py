# SPDX-License-Identifier: Apache-2.0
"""`perception`: camera images in, masked images out.

The output carries the header of its input. With reliable QoS and a deep enough queue every frame
is masked, which lockstep needs; with the defaults (best effort, depth 1) the newest frame wins, and
those that it overtook are counted.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np
from geometry_msgs.msg import Point, PointStamped
from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_srvs.srv import Trigger

from samg_ros.errors import ConfigError, EncodingError, NotFittedError, SamgError
from samg_ros.masking import Masker, apply_mask
from samg_ros.nodes import qos
from samg_ros.nodes.arrivals import Arrivals, waited_s
from samg_ros.nodes.base import ManagedNode, run_node
from samg_ros.nodes.clicks import Clicks
from samg_ros.nodes.conversions import (
    array_to_image,
    compressed_to_rgb,
    image_to_rgb,
    mask_to_image,
)
from samg_ros.nodes.diagnostics import OK, WARN, Diagnostics, Drops, Rate, Report
from samg_ros.nodes.overlay import overlay
from samg_ros.nodes.perception_parameters import COMPRESSED, LIVE, PerceptionParameters
from samg_ros.nodes.references import load_reference
from samg_ros.nodes.signals import leave
from samg_ros.nodes.torch_threads import declare_torch_threads

DESCRIPTION_PARAMETER = 'masker_description'


class Perception(ManagedNode):
    """The node. Its parameters are described in PerceptionParameters."""

    def __init__(self, **options: Any) -> None:
        super().__init__('perception', **options)
        declare_torch_threads(self)
        self._asked = PerceptionParameters.declare(self)
        self.add_on_set_parameters_callback(self._on_parameters)
        self.diagnostics = Diagnostics(self, self._asked.model)
        self.drops = Drops(self, 'frames')
        self.clicks_dropped = Drops(self, 'clicks')
        self.diagnostics.add('frames', self._report_frames)
        self.diagnostics.add('clicks', self.clicks_dropped.report)
        self.diagnostics.add('masking', self._report)
        self.create_service(Trigger, '~/capture_reference', self._on_capture)
        self.create_service(Trigger, '~/clear_points', self._on_clear)
        self._masker: Masker | None = None
        self._clicks: Clicks | None = None
        self._info: CameraInfo | None = None
        self._frame: np.ndarray | None = None
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._arrivals = Arrivals()
        self.latency = Rate()
        """From a frame's arrival to the publication of all that is made of it."""
        self.masking = Rate()
        """The masker's part of it."""
        self._stamp_age = Rate()
        self._in = 0
        self._area = self._predicted_iou = 0.0

    # Lifecycle

    def configure(self) -> None:
        """Load the model, fit it to the reference, create the publishers.

        Raises:
            SamgError: if model, weights, device or reference is not usable.
        """
        asked = self._asked
        if not asked.references and not asked.wait_for_capture:
            raise ConfigError("perception needs a reference: set its parameter 'reference' to a "
                              'folder (samg reference render makes one), or wait_for_capture')
        masker = Masker.load(asked.model, asked.settings, asked.device, asked.weights or None)
        if asked.references:
            masker.fit([load_reference(path) for path in asked.references])
        self._masker, self._clicks = masker, Clicks(masker, asked.max_points)
        self._describe()

        def publisher(message_type: Any, topic: str) -> Any:
            made = qos.publisher(self, self.diagnostics, message_type, topic, qos.reliable())
            self._outputs.append(made)
            return made

        self._mask_topic = publisher(Image, 'masked/mask')
        self._score_topic = publisher(Image, 'masked/score')
        self._info_topic = publisher(CameraInfo, 'masked/camera_info')
        self._overlay_topic = publisher(Image, 'masked/overlay')
        self._image_topic = publisher(Image, 'masked/image_raw')

    def activate(self) -> None:
        """Begin to listen."""
        self._arrivals = Arrivals()  # what was sent meanwhile was not for us

        def listen(message_type: Any, topic: str, callback: Callable[..., None],
                   depth: int = 1, with_info: bool = False) -> None:
            self._inputs.append(qos.subscription(
                self, self.diagnostics, message_type, topic, callback, qos.sensor_data(depth),
                with_info))

        listen(CameraInfo, 'camera_info', self._on_info)
        # Named after the image's topic, as their publishers name them, whatever `image` is
        # remapped to.
        image = self.resolve_topic_name('image')
        listen(PointStamped, 'clicked_point', lambda message: self._on_click(message.point), 10)
        listen(Point, f'{image}_mouse_left', self._on_click, 10)
        listen(Point, 'masked/overlay_mouse_left', self._on_click, 10)
        if self._asked.image_transport == COMPRESSED:
            listen(CompressedImage, f'{image}/compressed', self._on_compressed, with_info=True)
        else:
            listen(Image, 'image', self._on_image, with_info=True)

    def deactivate(self) -> None:
        """Stop listening."""
        while self._inputs:
            self.destroy_subscription(self._inputs.pop())

    def cleanup(self) -> None:
        """Let go of the model and the publishers."""
        self._masker = self._clicks = self._info = self._frame = None
        while self._outputs:
            self.destroy_publisher(self._outputs.pop())

    # Parameters

    def _describe(self) -> None:
        """Let others ask how the masks are made; the trainer puts it into its checkpoint."""
        assert self._masker is not None
        if self.has_parameter(DESCRIPTION_PARAMETER):
            self.undeclare_parameter(DESCRIPTION_PARAMETER)
        self.declare_parameter(
            DESCRIPTION_PARAMETER, json.dumps(self._masker.describe()),
            ParameterDescriptor(description='Masker.describe() as JSON.'), ignore_override=True)

    def _on_parameters(self, parameters: list[Any]) -> SetParametersResult:
        values = {each.name: each.value for each in parameters if each.name in LIVE}
        if not values:
            return SetParametersResult(successful=True)
        try:
            asked = self._asked.changed(values)
        except SamgError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._asked = asked
        if self._masker is not None:
            self._masker.adjust(**asked.adjustable)
            self._describe()
        return SetParametersResult(successful=True)

    # Frames

    def _on_info(self, message: CameraInfo) -> None:
        self._info = message

    def _on_image(self, message: Image, info: Mapping[str, Any]) -> None:
        self._on_frame(message, info, image_to_rgb)

    def _on_compressed(self, message: CompressedImage, info: Mapping[str, Any]) -> None:
        self._on_frame(message, info, compressed_to_rgb)

    def _on_frame(self, message: Any, info: Mapping[str, Any],
                  convert: Callable[[Any], np.ndarray]) -> None:
        began = time.perf_counter() - waited_s(info)
        assert self._masker is not None
        if overtaken := self._arrivals.missed(info):
            self.drops.count('overtaken', overtaken, 'a newer frame came before its turn, or it '
                             'was lost on the way')
        self._in += overtaken + 1
        try:
            self._frame = frame = convert(message)
            started = time.perf_counter()
            prediction = self._masker.predict(frame[None])
            mask = prediction.masks[0].cpu().numpy()  # a GPU has done its work only now
        except EncodingError as error:
            self.drops.add('encoding', str(error))
            return
        except NotFittedError:
            self.drops.add('no_reference', 'click on the object and call ~/capture_reference')
            return
        except SamgError as error:
            self.drops.add('image', str(error))
            return
        self.masking.tick(time.perf_counter() - started)
        header = message.header
        self._predicted_iou = float(prediction.predicted_iou.min())
        self._area = float(np.count_nonzero(mask)) / mask.size
        # The image goes last: whoever acts on it then has the rest already.
        if qos.is_wanted(self._mask_topic):
            self._mask_topic.publish(mask_to_image(mask, header))
        if qos.is_wanted(self._score_topic):
            score = prediction.similarity[0].amax(dim=0)
            grey = ((score + 1) * 127.5).round().clamp(0, 255).byte().cpu().numpy()
            self._score_topic.publish(array_to_image(grey, header))
        if self._info is not None and qos.is_wanted(self._info_topic):
            info_out = copy.copy(self._info)
            info_out.header = header
            self._info_topic.publish(info_out)
        if qos.is_wanted(self._overlay_topic):
            self._overlay_topic.publish(array_to_image(overlay(frame, mask), header))
        masked = apply_mask(frame, mask, self._asked.fill)
        self._image_topic.publish(array_to_image(masked, header))
        self.latency.tick(time.perf_counter() - began)
        stamp_s = header.stamp.sec + header.stamp.nanosec / 1e9
        self._stamp_age.tick(self.get_clock().now().nanoseconds / 1e9 - stamp_s)

    # Clicks

    def _on_click(self, point: Point) -> None:
        assert self._clicks is not None
        if self._frame is None:
            self.clicks_dropped.add('no_frame', 'no frame has come yet that could be clicked on')
            return
        try:
            self._clicks.add(point.x, point.y, self._frame)
        except SamgError as error:
            self.clicks_dropped.add('point', str(error))

    def _on_clear(self, request: Any, response: Any) -> Any:
        if self._clicks is None:
            response.success, response.message = False, 'perception is not configured'
            return response
        count = len(self._clicks)
        self._clicks.clear()
        response.success, response.message = True, f'cleared {count} clicked points'
        return response

    def _on_capture(self, request: Any, response: Any) -> Any:
        if self._clicks is None:
            response.success, response.message = False, 'perception is not configured'
            return response
        try:
            reference = self._clicks.capture(self._asked.capture_folder)
        except SamgError as error:
            response.success, response.message = False, str(error)
            return response
        share = float(np.count_nonzero(reference.mask)) / reference.mask.size
        response.success = True
        response.message = (f'the reference is what {len(reference.points)} points cut out, '
                            f'{share:.1%} of the frame; look at masked/overlay')
        return response

    # Diagnostics

    def _report_frames(self) -> Report:
        report = self.drops.report()
        values = {'in': self._in, 'out': self.latency.count, **report.values}
        if not self._arrivals.numbered:
            values['overtaken'] = 'not known'
        return Report(report.level, report.message, values)

    def _report(self) -> Report:
        latency = self.latency
        values = {'model': self._asked.model, 'device': self._asked.device,
                  'frames': latency.count, 'rate_hz': latency.hz,
                  'latency_median_ms': latency.duration_ms(50),
                  'latency_p95_ms': latency.duration_ms(95),
                  'masker_median_ms': self.masking.duration_ms(50),
                  'stamp_age_median_ms': self._stamp_age.duration_ms(50),
                  'dropped': self.drops.total, 'mask_area': self._area,
                  'predicted_iou': self._predicted_iou, 'age_s': latency.age_s,
                  'clicked_points': len(self._clicks or ())}
        if not self.active:
            return Report(WARN, 'not active', values)
        if self._masker is not None and self._masker.reference is None:
            return Report(WARN, 'no reference: click on the object and call ~/capture_reference',
                          values)
        if not latency.count:
            return Report(OK, 'waiting for the first image', values)
        if latency.age_s > self._asked.stale_after_s:
            return Report(WARN, f'no frame was masked for {latency.age_s:.1f} s', values)
        if self._area == 0.0:
            return Report(WARN, 'the mask is empty: the object is not found', values)
        return Report(OK, 'masking', values)


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point of the executable `perception`."""
    leave(run_node(Perception, argv))
