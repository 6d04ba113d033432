# SPDX-License-Identifier: Apache-2.0
"""Prints docs/parameters.md: every parameter of every node, as the nodes declare them.

    python scripts/parameter_table.py > docs/parameters.md

Each node is created, and what it declares is written down. The nodes in NEED_A_BAG end with an
error after their last declaration, because there is no bag to open; an error of any other node
would cut its table short, so it ends the script.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import rclpy
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node

from samg_ros.errors import BagError
from samg_ros.nodes.executables import NODES, node_class
from samg_ros.ros.domain import choose_domain
from samg_ros.ros.parameters import overrides

NEEDED = {'command_guard': {'command_interface': 'velocity'},
          'lifecycle_manager': {'nodes': ['perception']},
          'recorder': {'folder': 'bags'}}
"""Parameters without which a node stops before it has declared the others."""
NEED_A_BAG = ('bag_evaluator', 'bag_player')
FROM_RCLPY = ('start_type_description_service', 'qos_overrides.')
BEGINNING = """\
# Parameters

Every parameter of every node, with type, default and range. Set them in the `params_file` of a
launch file, or with `--ros-args -p name:=value`. While a node runs, `ros2 param describe /policy
timeout_s` prints the same. This page is printed from the code: `make docs` writes it again.

*Fixed* parameters are read when the node starts; the others can be changed while it runs. Each
topic also has rclpy's parameters `qos_overrides.<topic>.publisher.reliability` (`durability`,
`depth`, `history`), and the same with `subscription`.
"""

Declared = tuple[str, Any, ParameterDescriptor]


@contextmanager
def noted_declarations() -> Iterator[list[Declared]]:
    """Note what nodes declare in the meantime, rclpy's own parameters left out."""
    declared: list[Declared] = []
    declare = Node.declare_parameter

    def note(node: Node, name: str, value: Any = None, descriptor: Any = None,
             ignore_override: bool = False) -> Any:
        if descriptor is not None and descriptor.description and not name.startswith(FROM_RCLPY):
            declared.append((name, value, descriptor))
        return declare(node, name, value, descriptor or ParameterDescriptor(), ignore_override)

    Node.declare_parameter = note
    try:
        yield declared
    finally:
        Node.declare_parameter = declare


def declarations(name: str) -> list[Declared]:
    """Return what a node declares: name, default, descriptor.

    Raises:
        SamgError: if the node cannot be created.
    """
    with noted_declarations() as declared:
        try:
            node = node_class(name)(parameter_overrides=overrides(NEEDED.get(name, {})))
        except BagError:
            if name not in NEED_A_BAG:
                raise
            return declared
        getattr(node, 'close', lambda: None)()
        node.destroy_node()
    return declared


def row(name: str, default: Any, descriptor: ParameterDescriptor) -> str:
    """Return a parameter's row of the table."""
    limits = [f'{bounds.from_value:g} to {bounds.to_value:g}' for bounds in
              (*descriptor.integer_range, *descriptor.floating_point_range)]
    allowed = descriptor.additional_constraints or ''.join(limits)
    cells = (f'`{name}`', type(default).__name__, f'`{default!r}`', allowed,
             'yes' if descriptor.read_only else '', descriptor.description)
    return ' | '.join(('', *(cell.replace('|', '\\|') for cell in cells), '')).strip()


def main() -> None:
    """Print the page."""
    os.environ.setdefault('MUJOCO_GL', 'egl')
    choose_domain()
    rclpy.init()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # the trainer makes its run folder
        print_tables()
    rclpy.shutdown()


def print_tables() -> None:
    """Print the page; rclpy has begun."""
    print(BEGINNING)
    for name in sorted(NODES):
        print(f'## {name}\n\n| parameter | type | default | allowed | fixed | meaning |\n'
              '|---|---|---|---|---|---|')
        print('\n'.join(row(*each) for each in declarations(name)), end='\n\n')


if __name__ == '__main__':
    main()
