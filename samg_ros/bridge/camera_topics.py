# SPDX-License-Identifier: Apache-2.0
"""The topics of one camera: picture, JPEG, intrinsics, true mask; published while subscribed to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from samg_ros.ros import qos
from samg_ros.ros.messages.images import array_to_compressed, array_to_image, mask_to_image

if TYPE_CHECKING:
    from rclpy.node import Node

    from samg_ros.ros.diagnostics import Diagnostics


class CameraTopics:
    """The topics below a camera's name.

    Args:
        node: the node that publishes.
        diagnostics: where a QoS mismatch is reported.
        name: of the camera; the picture's topic is `<name>/image_raw`.
        frame_id: of its optical frame, x right, y down, z forward.
        matrix: (3, 3) intrinsics in pixels.
        height: pixels.
        width: pixels.
        jpeg_quality: 1 to 100.
    """

    def __init__(self, node: Node, diagnostics: Diagnostics, name: str, frame_id: str,
                 matrix: npt.NDArray[np.float64], height: int, width: int,
                 jpeg_quality: int) -> None:
        def publisher(message_type: Any, topic: str) -> Any:
            return qos.publisher(node, diagnostics, message_type, f'{name}/{topic}',
                                 qos.reliable())

        self._image = publisher(Image, 'image_raw')
        self._jpeg = publisher(CompressedImage, 'image_raw/compressed')
        self._info = publisher(CameraInfo, 'camera_info')
        self._truth = publisher(Image, 'segmentation')
        self._frame_id = frame_id
        self._jpeg_quality = jpeg_quality
        self._intrinsics = CameraInfo(height=height, width=width, distortion_model='plumb_bob')
        self._intrinsics.d = [0.0] * 5
        self._intrinsics.k = matrix.reshape(-1)
        self._intrinsics.r = np.eye(3).reshape(-1)
        self._intrinsics.p = np.hstack([matrix, np.zeros((3, 1))]).reshape(-1)

    @property
    def listeners(self) -> int:
        """How many listen to the picture."""
        return int(self._image.get_subscription_count())

    @property
    def truth_is_wanted(self) -> bool:
        """Whether anybody listens to the true mask."""
        return qos.has_subscribers(self._truth)

    def publish(self, stamp: Time, frame: npt.NDArray[np.uint8],
                mask: npt.NDArray[np.bool_] | None) -> None:
        """Publish one frame, the picture last so that the rest is there when it comes.

        Args:
            stamp: of every message.
            frame: (H, W, 3) uint8 RGB.
            mask: (H, W) bool; None where the simulation kept no truth.
        """
        header = Header(stamp=stamp, frame_id=self._frame_id)
        if mask is not None and self.truth_is_wanted:
            self._truth.publish(mask_to_image(mask, header))
        if qos.has_subscribers(self._info):
            self._intrinsics.header = header
            self._info.publish(self._intrinsics)
        if qos.has_subscribers(self._jpeg):
            self._jpeg.publish(array_to_compressed(frame, header, self._jpeg_quality))
        self._image.publish(array_to_image(frame, header))
