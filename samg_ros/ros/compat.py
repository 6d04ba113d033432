# SPDX-License-Identifier: Apache-2.0
"""What differs between ROS 2 distributions: everything else may use rclpy as Kilted has it.

| | Humble | Jazzy | Kilted, Lyrical |
|---|---|---|---|
| QoS events | `rclpy.qos_event` | `rclpy.event_handler` | same |
| `ClockType` | `rclpy.clock` | `rclpy.clock_type` | same |
| `EventsExecutor` | no | `rclpy.experimental` in late releases (7.1.6) | same |
| message info for a callback | no | second argument | the same, or one tuple of both |

A test holds that no other module imports a name of rclpy that Humble does not have.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rclpy.clock import Clock
from rclpy.executors import SingleThreadedExecutor

try:
    from rclpy.event_handler import (
        PublisherEventCallbacks,
        SubscriptionEventCallbacks,
        UnsupportedEventTypeError,
    )
except ImportError:  # Humble
    from rclpy.qos_event import (
        PublisherEventCallbacks,
        SubscriptionEventCallbacks,
        UnsupportedEventTypeError,
    )
try:
    from rclpy.clock_type import ClockType
except ImportError:  # Humble
    from rclpy.clock import ClockType
try:
    from rclpy.experimental import EventsExecutor
except ImportError:  # Humble, Jazzy
    EventsExecutor = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.timer import Timer

__all__ = ['PublisherEventCallbacks', 'SubscriptionEventCallbacks', 'UnsupportedEventTypeError',
           'make_executor', 'steady_timer', 'with_message_info']


def make_executor() -> Any:
    """Return the fastest single-threaded executor that this distribution has.

    `EventsExecutor` takes under half the time per message of `SingleThreadedExecutor`. Its `spin`
    does not return on a signal; use `samg_ros.ros.node.spin`.
    """
    return SingleThreadedExecutor() if EventsExecutor is None else EventsExecutor()


def steady_timer(node: Node, period_s: float, callback: Callable[[], None]) -> Timer:
    """Create a timer on the monotonic clock: it runs on while simulated time stands still.

    The callback is not called any more once the timer or its node is destroyed. (Jazzy's
    `EventsExecutor` still calls a timer that came due before.)

    Args:
        node: the node whose executor calls back.
        period_s: seconds between two calls.
        callback: what to call, without arguments.
    """
    def call() -> None:
        if timer in node.timers:
            callback()

    timer = node.create_timer(period_s, call, clock=Clock(clock_type=ClockType.STEADY_TIME))
    return timer


def with_message_info(callback: Callable[[Any, Any], None]) -> Callable[..., None]:
    """Make rclpy pass a subscription's callback the middleware's information on each message.

    rclpy passes it to callbacks that take two arguments. `SingleThreadedExecutor` then calls with
    two, `EventsExecutor` with one tuple of both, and Humble with the message alone: the callback
    gets an empty mapping.
    """
    def call(*given: Any) -> None:
        if len(given) == 1:
            given = given[0] if isinstance(given[0], tuple) else (given[0], {})
        callback(*given)

    call.__signature__ = inspect.signature(  # type: ignore[attr-defined]
        lambda message, info: None)
    return call
