# SPDX-License-Identifier: Apache-2.0
"""Why nothing arrives on a subscribed topic, in one line for /diagnostics."""

from __future__ import annotations

from collections import Counter
from typing import Any


def describe_silence(node: Any, subscription: Any) -> str:
    """Return what is known about a topic on which no message arrives.

    Args:
        node: that subscribes.
        subscription: of the node; None if there is none.

    Returns:
        One line with the topic's name after remapping, its type, and how many publishers of which
        types it has, for example "'/image' (sensor_msgs/msg/Image) has no publisher".
    """
    if subscription is None:
        return 'the topic is not subscribed'
    name, wanted = subscription.topic_name, type_name(subscription.msg_type)
    types = Counter(each.topic_type for each in node.get_publishers_info_by_topic(name))
    said = f"'{name}' ({wanted}) has "
    if not types:
        return said + 'no publisher; check the topic name and remappings'
    others = {each: count for each, count in types.items() if each != wanted}
    if types[wanted]:
        said += _count(types[wanted], 'publisher') + ', from which nothing arrives'
    else:
        said += 'no publisher of this type'
    if others:
        said += ', and ' + ', '.join(f'{_count(count, "publisher")} of {each}'
                                     for each, count in sorted(others.items()))
    return said


def type_name(message_type: Any) -> str:
    """Return the ROS name of a message class: 'sensor_msgs/msg/Image'."""
    return f'{message_type.__module__.split(".")[0]}/msg/{message_type.__name__}'


def _count(number: int, noun: str) -> str:
    return f'{number} {noun}{"" if number == 1 else "s"}'
