# SPDX-License-Identifier: Apache-2.0
"""`perception`: camera images in, masked images out.

The output carries the header of its input. With reliable QoS and a deep enough queue every frame
is masked, which lockstep needs; with the defaults (best effort, depth 1) the newest frame wins.
"""

from __future__ import annotations

import copy
import json
import time
from typing import Any, NoReturn

import numpy as np
from rcl_interfaces.msg import ParameterDescriptor
from sensor_msgs.msg import CameraInfo, Image

from samg_ros.errors import ConfigError, EncodingError, SamgError
from samg_ros.masking import Masker, MaskerSettings, Reference, apply_mask
from samg_ros.nodes import qos
from samg_ros.nodes.base import ManagedNode, run_node
from samg_ros.nodes.conversions import array_to_image, image_to_rgb, mask_to_image
from samg_ros.nodes.diagnostics import OK, WARN, Diagnostics, Drops, Rate, Report
from samg_ros.nodes.parameters import declare
from samg_ros.nodes.signals import leave
from samg_ros.nodes.torch_threads import declare_torch_threads

_OVERLAY_COLOUR = np.array([40, 220, 60], dtype=np.uint16)
DESCRIPTION_PARAMETER = 'masker_description'


class Perception(ManagedNode):
    """The node. Parameters are described where they are declared."""

    def __init__(self, **options: Any) -> None:
        super().__init__('perception', **options)
        self._model = declare(self, 'model', 'mini', 'Masking model.')
        self._weights = declare(self, 'weights', '', "Weight file; empty for the package's own.")
        self._device = declare(self, 'device', 'cpu', 'Torch device.')
        declare_torch_threads(self)
        self._reference = declare(self, 'reference', '', 'Folder of the reference, or a public '
                                  'SAM-G reference image.')
        defaults = MaskerSettings()
        self._settings = {
            'features': tuple(declare(self, 'features', list(defaults.features),
                                      'Feature maps that find the object: dino, sam or both.')),
            'passes': declare(self, 'passes', 0, "Decoder passes per frame; 0 takes the model's.",
                              between=(0, 3)) or None,
            'fit_weights': declare(self, 'fit_weights', defaults.fit_weights,
                                   'Fit the combination of masks to the reference.'),
            'fit_steps': declare(self, 'fit_steps', defaults.fit_steps,
                                 'Optimiser steps of that fit.', between=(1, 100_000)),
            'min_predicted_iou': declare(
                self, 'min_predicted_iou', defaults.min_predicted_iou,
                'A mask of which the model thinks less is empty.', between=(0.0, 1.0)),
        }
        self._fill = tuple(declare(self, 'fill', [0, 0, 0], 'RGB outside the mask, 0 to 255.'))
        if len(self._fill) != 3 or not all(0 <= value <= 255 for value in self._fill):
            raise ConfigError(f"parameter 'fill' of perception must be three values from 0 to "
                              f'255, got {list(self._fill)}')
        self.diagnostics = Diagnostics(self, self._model)
        self.drops = Drops(self, 'frames')
        self.diagnostics.add('frames', self.drops.report)
        self.diagnostics.add('masking', self._report)
        self._masker: Masker | None = None
        self._info: CameraInfo | None = None
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._work = Rate()
        self._area = self._predicted_iou = 0.0

    # Lifecycle

    def configure(self) -> None:
        """Load the model, fit it to the reference, create the publishers.

        Raises:
            SamgError: if model, weights, device or reference is not usable.
        """
        if not self._reference:
            raise ConfigError("perception needs a reference: set its parameter 'reference' to a "
                              'folder (samg reference render makes one)')
        self._masker = Masker.load(self._model, MaskerSettings(**self._settings), self._device,
                                   self._weights or None)
        self._masker.fit(Reference.load(self._reference))
        self._describe(json.dumps(self._masker.describe()))

        def publisher(message_type: Any, topic: str) -> Any:
            made = qos.publisher(self, self.diagnostics, message_type, topic, qos.reliable())
            self._outputs.append(made)
            return made

        self._mask_topic = publisher(Image, 'masked/mask')
        self._info_topic = publisher(CameraInfo, 'masked/camera_info')
        self._overlay_topic = publisher(Image, 'masked/overlay')
        self._image_topic = publisher(Image, 'masked/image_raw')

    def activate(self) -> None:
        """Begin to listen."""
        self._inputs = [
            qos.subscription(self, self.diagnostics, CameraInfo, 'camera_info', self._on_info,
                             qos.sensor_data(1)),
            qos.subscription(self, self.diagnostics, Image, 'image', self._on_image,
                             qos.sensor_data(1))]

    def deactivate(self) -> None:
        """Stop listening."""
        while self._inputs:
            self.destroy_subscription(self._inputs.pop())

    def cleanup(self) -> None:
        """Let go of the model and the publishers."""
        self._masker = self._info = None
        while self._outputs:
            self.destroy_publisher(self._outputs.pop())

    def _describe(self, description: str) -> None:
        """Let others ask how the masks are made; the trainer puts it into its checkpoint."""
        if self.has_parameter(DESCRIPTION_PARAMETER):
            self.undeclare_parameter(DESCRIPTION_PARAMETER)
        self.declare_parameter(
            DESCRIPTION_PARAMETER, description,
            ParameterDescriptor(description='Masker.describe() as JSON.'), ignore_override=True)

    # Frames

    def _on_info(self, message: CameraInfo) -> None:
        self._info = message

    def _on_image(self, message: Image) -> None:
        began = time.perf_counter()
        assert self._masker is not None
        try:
            frame = image_to_rgb(message)
            prediction = self._masker.predict(frame[None])
        except EncodingError as error:
            self.drops.add('encoding', str(error))
            return
        except SamgError as error:
            self.drops.add('image', str(error))
            return
        mask = prediction.masks[0].cpu().numpy()
        self._predicted_iou = float(prediction.predicted_iou.min())
        self._area = float(mask.mean())
        # The image goes last: whoever acts on it then has the rest already.
        if qos.is_wanted(self._mask_topic):
            self._mask_topic.publish(mask_to_image(mask, message.header))
        if self._info is not None and qos.is_wanted(self._info_topic):
            info = copy.copy(self._info)
            info.header = message.header
            self._info_topic.publish(info)
        if qos.is_wanted(self._overlay_topic):
            self._overlay_topic.publish(array_to_image(overlay(frame, mask), message.header))
        masked = apply_mask(frame, mask, self._fill)
        self._image_topic.publish(array_to_image(masked, message.header))
        self._work.tick(time.perf_counter() - began)

    def _report(self) -> Report:
        values = {'model': self._model, 'device': self._device, 'frames': self._work.count,
                  'rate_hz': self._work.hz, 'latency_median_ms': self._work.duration_ms(50),
                  'latency_p95_ms': self._work.duration_ms(95), 'dropped': self.drops.total,
                  'mask_area': self._area, 'predicted_iou': self._predicted_iou,
                  'age_s': self._work.age_s}
        if not self.active:
            return Report(WARN, 'not active', values)
        if not self._work.count:
            return Report(OK, 'waiting for the first image', values)
        if self._area == 0.0:
            return Report(WARN, 'the mask is empty: the object is not found', values)
        return Report(OK, 'masking', values)


def overlay(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the frame with what is outside the mask darkened and the object tinted.

    Args:
        frame: (H, W, 3) uint8 RGB.
        mask: (H, W) bool.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    wide = frame.astype(np.uint16)
    tinted = (2 * wide + _OVERLAY_COLOUR) // 3
    return np.where(mask[..., None], tinted, wide // 3).astype(np.uint8)


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point of the executable `perception`."""
    leave(run_node(Perception, argv))
