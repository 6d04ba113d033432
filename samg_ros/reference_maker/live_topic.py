# SPDX-License-Identifier: Apache-2.0
"""The newest picture of a camera topic. The only file here that knows ROS."""

from __future__ import annotations

import threading
import time
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import CompressedImage, Image as ImageMessage

from samg_ros.errors import ConfigError, InvalidInputError
from samg_ros.reference_maker.pictures import Image, limited
from samg_ros.ros.domain import init_ros, starting_ros, stay_on_this_machine
from samg_ros.ros.messages.images import compressed_to_rgb, image_to_rgb
from samg_ros.ros.qos import sensor_data

_POLL_S = 0.1


class LiveTopic:
    """Listens to a camera and keeps its newest message; it is decoded when it is asked for."""

    def __init__(self, topic: str) -> None:
        """Begin to listen.

        Args:
            topic: of sensor_msgs/Image, or of sensor_msgs/CompressedImage if its name ends in
                `compressed`.

        Raises:
            InvalidInputError: if it cannot be the name of a topic.
        """
        self.name, self.count = topic, 1
        self._newest: tuple[Any, float] | None = None
        self._began = time.monotonic()
        self._compressed = topic.rstrip('/').endswith('compressed')
        stay_on_this_machine()
        self._context = rclpy.Context()
        init_ros(context=self._context)
        try:
            with starting_ros():
                self._node = rclpy.create_node('reference_maker', context=self._context)
            self._node.create_subscription(
                CompressedImage if self._compressed else ImageMessage, topic, self._keep,
                sensor_data(1))
        except ConfigError:
            self._context.try_shutdown()
            raise
        except Exception as error:
            self._context.try_shutdown()
            raise InvalidInputError(f'--topic {topic!r}: not the name of a topic; give one such as '
                                    '/camera/image_raw') from error
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._spin, name='live topic', daemon=True)
        self._thread.start()

    def frame(self, index: int = 0) -> Image:
        """Return the newest picture, (H, W, 3) uint8 RGB.

        Raises:
            InvalidInputError: if none has come yet.
            SamgError: if its encoding cannot be read.
        """
        if self._newest is None:
            raise InvalidInputError(self.status())
        message, _ = self._newest
        pixels = compressed_to_rgb(message) if self._compressed else image_to_rgb(message)
        return limited(pixels.copy())

    def status(self) -> str:
        """Return in words what comes on the topic."""
        now = time.monotonic()
        if self._newest is not None:
            age = now - self._newest[1]
            return '' if age < 2 else f'{self.name}: the last picture came {age:.0f} s ago'
        publishers = self._node.count_publishers(self.name)
        return (f'{self.name}: no picture in {now - self._began:.0f} s, {publishers} publishers; '
                'start the camera, and compare with `ros2 topic list`')

    def close(self) -> None:
        """Stop listening."""
        self._closing.set()
        self._thread.join()
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()

    def _keep(self, message: Any) -> None:
        self._newest = message, time.monotonic()

    def _spin(self) -> None:
        while not self._closing.is_set():
            self._executor.spin_once(timeout_sec=_POLL_S)
