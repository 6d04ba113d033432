# SPDX-License-Identifier: Apache-2.0
"""How others see that a node is still there.

No message is ever sent. Each node has a publisher whose liveliness the middleware asserts from a
thread of its own, below Python: a model that takes seconds for a frame does not look dead, while a
process that was killed, or stopped by a debugger, does after `LEASE_S`, and one that ended at once.
(Fast DDS asserts for the first time within `LEASE_S` of the start. Who is killed before is missed
with all else of its process, after 20 s.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import LivelinessPolicy, QoSProfile
from std_msgs.msg import Empty

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.publisher import Publisher

LEASE_S = 2.0
"""Seconds after which a node that was not heard of is dead."""
_TOPIC = 'heartbeat'


def _qos() -> QoSProfile:
    # Both ends name the lease: Fast DDS watches only writers whose reader asks for one.
    return QoSProfile(depth=1, liveliness=LivelinessPolicy.AUTOMATIC,
                      liveliness_lease_duration=Duration(seconds=LEASE_S))


def heartbeat(node: Node) -> Publisher:
    """Return the publisher that stands for a node's life; it ends with the node."""
    return node.create_publisher(Empty, f'~/{_TOPIC}', _qos())


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
        self._subscription = node.create_subscription(
            Empty, f'{name}/{_TOPIC}', lambda message: None, _qos(),
            event_callbacks=SubscriptionEventCallbacks(liveliness=self._on_change))

    @property
    def alive(self) -> bool:
        """Whether the node is there.

        The publishers known tell of one that came or left in good order, within a process as well,
        where Fast DDS has no liveliness; only liveliness tells of one that was killed.
        """
        return not self._lost and self._node.count_publishers(self._subscription.topic_name) > 0

    def _on_change(self, event: Any) -> None:
        self._lost = event.alive_count == 0
