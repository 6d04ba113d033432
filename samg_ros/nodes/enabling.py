# SPDX-License-Identifier: Apache-2.0
"""Switches a policy on as soon as it lets itself be switched on.

A policy refuses until it has seen a good frame. Where nobody stands beside an arm, in simulation
and in front of a bag, no person needs to say when.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from std_srvs.srv import SetBool

from samg_ros.nodes.asking import Asking

if TYPE_CHECKING:
    from rclpy.node import Node


class Enabling:
    """Asks until the answer is yes."""

    def __init__(self, node: Node, policy: str) -> None:
        """Begin to ask.

        Args:
            node: the node that asks.
            policy: name of the node to enable.
        """
        self.answer = ''
        """What it said last; empty before it said anything."""
        self._asking = Asking(node, SetBool, f'{policy}/enable', SetBool.Request(data=True),
                              self._on_answer)

    @property
    def enabled(self) -> bool:
        """Whether it said yes."""
        return self._asking.done

    @property
    def there(self) -> bool:
        """Whether the policy can be asked."""
        return self._asking.there

    def _on_answer(self, response: Any) -> bool:
        self.answer = response.message
        return bool(response.success)
