# SPDX-License-Identifier: Apache-2.0
"""Parameters that explain themselves: every one with a description, a range, and read-only if so.

`ros2 param describe` and rqt then show what a value means and may be, and rclpy itself refuses
one that is out of range.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    ParameterUninitializedException,
)
from rclpy.parameter import Parameter

from samg_ros.cores import half_the_cores
from samg_ros.errors import ConfigError

if TYPE_CHECKING:
    from rclpy.node import Node


def declare(node: Node, name: str, default: Any, description: str, *,
            between: tuple[float, float] | None = None, choices: tuple[str, ...] = (),
            read_only: bool = True) -> Any:
    """Declare a parameter and return its value.

    Args:
        node: the node that owns it.
        name: its name.
        default: value if neither the command line nor a file gives one; also fixes the type.
        description: one sentence, with the unit.
        between: least and greatest value, both allowed.
        choices: the strings that are allowed.
        read_only: true unless the node follows a change while it runs.

    Raises:
        ConfigError: if the value given has another type or is out of range.
    """
    descriptor = ParameterDescriptor(description=description, read_only=read_only)
    if choices:
        descriptor.additional_constraints = f'one of {", ".join(choices)}'
    if between is not None:
        low, high = between
        if isinstance(default, int):
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
        else:
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(low), to_value=float(high))]
    try:
        value = node.declare_parameter(name, default, descriptor).value
    except (InvalidParameterTypeException, InvalidParameterValueException,
            ParameterUninitializedException) as error:
        wanted = type(default).__name__
        if between is not None:
            wanted += f' from {between[0]} to {between[1]}'
        raise ConfigError(f"parameter '{name}' of {node.get_name()} must be {wanted}: "
                          f'{error}') from error
    if choices and value not in choices:
        raise ConfigError(f"parameter '{name}' of {node.get_name()} must be one of "
                          f"{', '.join(choices)}, got '{value}'")
    return value


def overrides(values: Mapping[str, Any]) -> list[Parameter]:
    """Return plain values as `parameter_overrides` of a node."""
    return [Parameter(name, value=value) for name, value in values.items()]


def declare_torch_threads(node: Node) -> None:
    """Declare the parameter `torch_threads` and set torch's number of threads to it."""
    import torch  # late: only nodes with a network need it

    threads = declare(node, 'torch_threads', 0, 'CPU threads of torch; 0 takes half the cores, '
                      'because masking and learning run at the same time.', between=(0, 1024))
    torch.set_num_threads(threads or half_the_cores())
