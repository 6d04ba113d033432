# SPDX-License-Identifier: Apache-2.0
"""Writes what comes on some topics, as it came over DDS, with the time at which it came."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from rclpy.qos import QoSProfile

from samg_ros.errors import BagError
from samg_ros.ros import qos
from samg_ros.ros.compat import SubscriptionEventCallbacks, with_message_info
from samg_ros.ros.messages.message_info import waited_s

if TYPE_CHECKING:
    from samg_ros.ros.node import PlainNode

_DEPTH = 100
"""Messages of a topic that wait while others are written."""


class Sink(Protocol):
    """What a TopicRecorder writes to: a recording, or a stand-in that drops messages."""

    def add(self, topic: str, kind: str, log_time_ns: int, data: bytes) -> None:
        """Do as `Recording.add` does."""


class TopicRecorder:
    """Writes what comes on some topics into a recording."""

    def __init__(self, node: PlainNode, recording: Sink, topics: Mapping[str, Any]) -> None:
        """Begin to listen.

        Args:
            node: the node that listens; an error of the disk is its error.
            recording: where it goes.
            topics: name -> message class.
        """
        self.counts: Counter[str] = Counter()
        """Messages written, by the full name of their topic."""
        self._node, self._recording = node, recording
        self._topics: dict[str, Any] = {}
        for topic, kind in topics.items():
            self._subscribe(topic, kind, qos.reliable(_DEPTH))

    def _subscribe(self, topic: str, kind: Any, profile: QoSProfile) -> None:
        kind_name = f'{kind.__module__.partition(".")[0]}/msg/{kind.__name__}'
        self._topics[topic] = self._node.create_subscription(
            kind, topic, with_message_info(partial(
                self._on_message, self._node.resolve_topic_name(topic), kind_name)),
            profile, raw=True, event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=lambda event: self._listen_anyway(topic, kind)))

    def _listen_anyway(self, topic: str, kind: Any) -> None:
        """Take what comes of a topic whose publisher does not send again what was lost."""
        def again() -> None:
            timer.cancel()
            self._node.destroy_subscription(self._topics.pop(topic))
            self._subscribe(topic, kind, qos.sensor_data(_DEPTH))

        timer = self._node.create_timer(0.0, again)  # not while the subscription is in use

    def _on_message(self, topic: str, kind: str, data: bytes, info: Mapping[str, Any]) -> None:
        if self._node.error is not None:
            return
        came_ns = time.time_ns() - round(waited_s(info) * 1e9)
        try:
            self._recording.add(topic, kind, came_ns, data)
        except BagError as error:
            self._node.error = error
            return
        self.counts[topic] += 1
