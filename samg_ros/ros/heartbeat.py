# SPDX-License-Identifier: Apache-2.0
"""How other nodes notice that a node is still there.

Each node has a publisher whose liveliness the middleware asserts from a thread of its own, below
Python: a model that takes seconds for a frame does not look dead, while a process that was killed,
or stopped by a debugger, does after `LEASE_S`, and one that ended does at once. (Fast DDS asserts
for the first time within `LEASE_S` of the start. A process that is killed earlier is noticed only
when it is dropped as a participant, after 20 s.)

Where the middleware has no liveliness events (rmw_zenoh), the node publishes a message every
`_BEAT_S` from a thread instead, and is dead after `_SILENT_S` without one.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from rclpy.duration import Duration
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.qos import LivelinessPolicy, QoSProfile
from std_msgs.msg import Empty

from samg_ros.ros.compat import (
    PublisherEventCallbacks,
    SubscriptionEventCallbacks,
    UnsupportedEventTypeError,
)

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.publisher import Publisher

LEASE_S = 2.0
"""Seconds without a sign of life after which a node is dead."""
_BEAT_S, _SILENT_S = 0.5, 5.0
"""Without liveliness events; longer than `LEASE_S`, because Python may be busy at both ends."""
_TOPIC = 'heartbeat'


def _qos() -> QoSProfile:
    # Both ends name the lease: Fast DDS watches only writers whose reader asks for one.
    return QoSProfile(depth=1, liveliness=LivelinessPolicy.AUTOMATIC,
                      liveliness_lease_duration=Duration(seconds=LEASE_S))


def heartbeat(node: Node) -> Publisher:
    """Return the publisher by which others see that a node is there; it ends with the node."""
    topic = f'~/{_TOPIC}'
    try:
        return node.create_publisher(
            Empty, topic, _qos(),
            event_callbacks=PublisherEventCallbacks(liveliness=lambda event: None))
    except UnsupportedEventTypeError:
        publisher = node.create_publisher(Empty, topic, QoSProfile(depth=1))
        threading.Thread(target=_beat, args=(publisher,), name='heartbeat', daemon=True).start()
        return publisher


def _beat(publisher: Publisher) -> None:
    """Publish until the publisher is destroyed."""
    while True:
        try:
            publisher.publish(Empty())
        except rclpy_implementation.InvalidHandle:
            return
        time.sleep(_BEAT_S)


class HeartbeatWatch:
    """Watches another node, be it in another process or in this one."""

    def __init__(self, node: Node, name: str) -> None:
        """Begin.

        Args:
            node: the node that watches.
            name: the node that is watched; it has a `heartbeat`.
        """
        self._node = node
        self._lost = False
        self._beat_at: float | None = None  # without liveliness events
        topic = f'{name}/{_TOPIC}'
        try:
            self._subscription = node.create_subscription(
                Empty, topic, lambda message: None, _qos(),
                event_callbacks=SubscriptionEventCallbacks(liveliness=self._on_change))
        except UnsupportedEventTypeError:
            self._subscription = node.create_subscription(Empty, topic, self._on_beat,
                                                          QoSProfile(depth=1))

    @property
    def alive(self) -> bool:
        """Whether the watched node runs.

        A node that starts or shuts down in an orderly way is seen by its heartbeat publisher, which
        appears or goes. A killed node leaves its publisher behind for seconds: it is noticed by the
        liveliness event of DDS, or, where there is none, by heartbeats that no longer arrive.
        """
        silent = self._beat_at is not None and time.monotonic() - self._beat_at > _SILENT_S
        there = self._node.count_publishers(self._subscription.topic_name) > 0
        if not there:
            self._beat_at = None
        return there and not self._lost and not silent

    def _on_change(self, event: Any) -> None:
        self._lost = event.alive_count == 0

    def _on_beat(self, message: Empty) -> None:
        self._beat_at = time.monotonic()
