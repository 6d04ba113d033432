# SPDX-License-Identifier: Apache-2.0
"""Quality of service: the defaults, overrides by parameter, and mismatches reported by name.

Cameras publish reliable, because a reliable publisher serves any subscriber; subscribers ask for
best effort, because a live image that is late is of no use. Lockstep needs every message, so its
parameter file asks for reliable on every hop through the standard `qos_overrides` parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rclpy.parameter import Parameter
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy, qos_policy_name_from_kind
from rclpy.qos_overriding_options import QoSOverridingOptions

from samg_ros.ros.compat import (
    PublisherEventCallbacks,
    SubscriptionEventCallbacks,
    with_message_info,
)

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.publisher import Publisher
    from rclpy.subscription import Subscription

    from samg_ros.ros.diagnostics import Diagnostics

DEPTH = 5


def reliable(depth: int = DEPTH) -> QoSProfile:
    """What cameras, commands and time steps are published with."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth,
                      reliability=ReliabilityPolicy.RELIABLE)


def sensor_data(depth: int = DEPTH) -> QoSProfile:
    """What images are subscribed with."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth,
                      reliability=ReliabilityPolicy.BEST_EFFORT)


def publisher(node: Node, diagnostics: Diagnostics, message_type: Any, topic: str,
              profile: QoSProfile) -> Publisher:
    """Create a publisher with QoS overrides by parameter and mismatches on /diagnostics.

    Args:
        node: the node that publishes.
        diagnostics: where a mismatch is reported.
        message_type: class of the message.
        topic: topic name.
        profile: QoS unless `qos_overrides.<topic>.publisher.*` says otherwise.
    """
    _apply_overrides_under_namespace(node, topic)
    events = PublisherEventCallbacks(
        incompatible_qos=_reporter(node, diagnostics, topic, 'a subscriber', 'asks for'))
    return node.create_publisher(
        message_type, topic, profile, event_callbacks=events,
        qos_overriding_options=QoSOverridingOptions.with_default_policies())


def subscription(node: Node, diagnostics: Diagnostics, message_type: Any, topic: str,
                 callback: Callable[..., None], profile: QoSProfile,
                 with_info: bool = False,
                 on_lost: Callable[[int], None] | None = None) -> Subscription:
    """Create a subscription; as `publisher`, with `qos_overrides.<topic>.subscription.*`.

    Received messages are counted on /diagnostics. With `with_info` the callback also gets the
    middleware's information about the message: a mapping as `samg_ros.ros.messages.message_info`
    reads it, empty where rclpy does not pass it on. `on_lost` is called with the number of messages
    that the middleware lost so far, where it reports that.
    """
    _apply_overrides_under_namespace(node, topic)
    events = SubscriptionEventCallbacks(
        incompatible_qos=_reporter(node, diagnostics, topic, 'a publisher', 'offers'),
        message_lost=None if on_lost is None else lambda event: on_lost(event.total_count))
    name = node.resolve_topic_name(topic)

    def count(*given: Any) -> None:
        diagnostics.received[name] += 1
        callback(*given)

    informed = with_message_info(count) if with_info else lambda message: count(message)
    return node.create_subscription(
        message_type, topic, informed, profile, event_callbacks=events,
        qos_overriding_options=QoSOverridingOptions.with_default_policies())


def _apply_overrides_under_namespace(node: Node, topic: str) -> None:
    """Let `qos_overrides./camera/image_raw` count for /left/camera/image_raw of the node /left/x.

    rclpy looks for the full name only, so a parameter file would hold for one namespace alone. A
    parameter with the full name wins.
    """
    namespace, name = node.get_namespace().rstrip('/'), node.resolve_topic_name(topic)
    if not namespace or not name.startswith(f'{namespace}/'):
        return
    given = node._parameter_overrides
    short = f'qos_overrides.{name.removeprefix(namespace)}.'
    for key in [key for key in given if key.startswith(short)]:
        full = f'qos_overrides.{name}.{key.removeprefix(short)}'
        given.setdefault(full, Parameter(full, value=given[key].value))


def has_subscribers(topic: Publisher) -> bool:
    """Whether a publisher has subscribers; without any, nothing need be computed or sent."""
    return topic.get_subscription_count() > 0


def _reporter(node: Node, diagnostics: Diagnostics, topic: str, who: str, does: str,
              ) -> Callable[[Any], None]:
    def report(event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        name = node.resolve_topic_name(topic)
        message = (f"{who} of '{name}' {does} another {policy} than {node.get_name()}: nothing "
                   f'passes between them; change qos_overrides.{name} of one of the two')
        diagnostics.mismatches[name] = message
        node.get_logger().error(message)
    return report
