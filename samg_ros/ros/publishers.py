# SPDX-License-Identifier: Apache-2.0
"""Conflicts that ROS does not report: two publishers of a command, two nodes of one name."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from samg_ros.errors import ConfigError
from samg_ros.ros.compat import steady_timer

if TYPE_CHECKING:
    from rclpy.node import Node

_CHECK_S = 0.5
NEWCOMER_S = 5.0
"""Seconds in which a new node looks for another one of its name. It discovers those that run within
about two; whoever comes after that is itself the newcomer."""


def full_name(node: str, namespace: str) -> str:
    """Return the name of a node with its namespace: '/left/policy'."""
    return f'{namespace.rstrip("/")}/{node}'


def name_is_taken(node: Node) -> bool:
    """Whether another node has the same full name."""
    mine = (node.get_name(), node.get_namespace())
    return node.get_node_names_and_namespaces().count(mine) > 1


def name_conflict(node: Node) -> ConfigError:
    """Return the error of a node whose name is taken."""
    name = full_name(node.get_name(), node.get_namespace())
    return ConfigError(f"another node '{name}' is running: end it, or give this one another name "
                       'or namespace (--ros-args -r __node:=NAME, -r __ns:=/NAMESPACE)')


def other_publishers(node: Node, topic: str) -> list[str]:
    """Return the full names of other nodes that publish on a topic.

    A node of the same name counts once for each of its publishers beyond the first.

    Args:
        node: who asks; one publisher of its own on the topic is left out.
        topic: relative or absolute name.
    """
    mine = full_name(node.get_name(), node.get_namespace())
    names = [full_name(info.node_name, info.node_namespace)
             for info in node.get_publishers_info_by_topic(node.resolve_topic_name(topic))]
    if mine in names:
        names.remove(mine)
    return sorted(names)


def describe_publishers(node: Node, topic: str) -> str:
    """Say how many publishers a topic has, and of which types: "'/image' has 1 publisher (...)"."""
    name = node.resolve_topic_name(topic)
    infos: list[Any] = node.get_publishers_info_by_topic(name)
    types = ', '.join(sorted({info.topic_type for info in infos}))
    count = f'{len(infos)} publisher{"s" * (len(infos) != 1)}'
    return f"'{name}' has {count}{f' of {types}' if types else ''}"


class UniqueName:
    """Ends a node that starts beside another one of the same name."""

    def __init__(self, node: Any, on_conflict: Callable[[ConfigError], None]) -> None:
        """Begin to look.

        Args:
            node: the node, which has just been made.
            on_conflict: gets the error, once.
        """
        self._node, self._on_conflict = node, on_conflict
        self._until = time.monotonic() + NEWCOMER_S
        self._timer = steady_timer(node, _CHECK_S, self._check)

    def _check(self) -> None:
        if name_is_taken(self._node):
            self._node.destroy_timer(self._timer)
            self._on_conflict(name_conflict(self._node))
        elif time.monotonic() > self._until:
            self._node.destroy_timer(self._timer)
