# SPDX-License-Identifier: Apache-2.0
"""`~/trace`: all that a policy's commands depend on beside its frames, as a line of JSON each.

Times between commands come from the wall clock, frames are overtaken, and the watchdog acts when
it has to: what was sent cannot be had from the inputs alone. With this topic in a recording `samg
eval replay` computes every command again, to the bit.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from std_msgs.msg import String

from samg_ros.ros import qos

if TYPE_CHECKING:
    from samg_ros.ros.diagnostics import Diagnostics
    from samg_ros.ros.node import ManagedNode

_DEPTH = 100


class Trace:
    """Publishes while anybody listens. Safe to call from any thread."""

    def __init__(self, node: ManagedNode, diagnostics: Diagnostics) -> None:
        """Create the topic.

        Args:
            node: whose commands are traced.
            diagnostics: where a QoS mismatch is reported.
        """
        self._node = node
        self._publisher = qos.publisher(node, diagnostics, String, '~/trace',
                                        qos.reliable(_DEPTH))

    def add(self, event: str, **values: Any) -> None:
        """Publish an event; see samg_ros.bags.replay.sent for what they mean.

        Args:
            event: begin, look, act or safe.
            **values: plain JSON types, or arrays of numbers.
        """
        if qos.has_subscribers(self._publisher):
            plain = {name: value.tolist() if isinstance(value, np.ndarray) else value
                     for name, value in values.items()}
            self._publisher.publish(String(data=json.dumps({'event': event, **plain})))

    def close(self) -> None:
        """Release the publisher."""
        self._node.destroy_publisher(self._publisher)
