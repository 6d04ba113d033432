# SPDX-License-Identifier: Apache-2.0
"""`samg run ... --record FILE.mcap`: what was seen and done in a session, for `samg eval bag`.

Messages are written as they came over DDS, without being decoded.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Float64MultiArray

from samg_ros.bags.recording import Recording
from samg_ros.nodes import qos
from samg_ros.nodes.base import PlainNode
from samg_ros.sim.tasks import COMMAND_TOPICS

TOPICS = {
    'camera/image_raw': Image, 'camera/camera_info': CameraInfo, 'camera/segmentation': Image,
    'masked/image_raw': Image, 'masked/camera_info': CameraInfo, 'masked/mask': Image,
    'joint_states': JointState, 'time_step': Float64MultiArray, 'command': Float64MultiArray,
    **dict.fromkeys(COMMAND_TOPICS.values(), Float64MultiArray)}
"""What went in, what was made of it, and what the arm was sent; nobody has to publish all."""
_DEPTH = 100
"""Messages of a topic that wait while others are written."""


class Recorder(PlainNode):
    """Writes TOPICS into a file while it lives."""

    def __init__(self, path: Path, **options: Any) -> None:
        """Begin to record.

        Raises:
            BagError: if the file is there already or cannot be written.
        """
        self._recording = Recording(path)  # first: without a file there is no node
        super().__init__('recorder', **options)
        self.count = 0
        """Messages written."""
        for topic, kind in TOPICS.items():
            name = f'{kind.__module__.partition(".")[0]}/msg/{kind.__name__}'
            self.create_subscription(
                kind, topic, partial(self._on_message, self.resolve_topic_name(topic), name),
                qos.reliable(_DEPTH), raw=True)

    def close(self) -> None:
        """Finish the file."""
        self._recording.close()

    def _on_message(self, topic: str, kind: str, data: bytes) -> None:
        self._recording.add(topic, kind, time.time_ns(), data)
        self.count += 1
