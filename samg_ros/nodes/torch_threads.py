# SPDX-License-Identifier: Apache-2.0
"""How many CPU threads torch takes in a node.

Masking and learning run side by side, in one process or two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from samg_ros.cores import half_the_cores
from samg_ros.nodes.parameters import declare

if TYPE_CHECKING:
    from rclpy.node import Node


def declare_torch_threads(node: Node) -> None:
    """Declare the parameter `torch_threads` and follow it."""
    threads = declare(node, 'torch_threads', 0, 'CPU threads of torch; 0 takes half the cores, as '
                      'masking and learning run side by side.', between=(0, 1024))
    torch.set_num_threads(threads or half_the_cores())
