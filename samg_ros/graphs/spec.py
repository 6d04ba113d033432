# SPDX-License-Identifier: Apache-2.0
"""What a graph is made of, for its launch file and for `samg run`.

`make_plan` of each graph turns the user's arguments into these; a launch file starts a process of
each (`launch_actions`), `samg run` makes an object of each (`one_process`). So both have the same
nodes, parameters and remappings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Remappings = tuple[tuple[str, str], ...]

CAMERA_REMAPPINGS: Remappings = (('image', 'camera/image_raw'),
                                 ('camera_info', 'camera/camera_info'))
"""What makes perception listen to the simulator's camera."""


@dataclass(frozen=True)
class NodeSpec:
    """One node of a graph."""

    name: str
    """Name of the node."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Those that the plan gives it, over those of the parameter file."""
    remappings: Remappings = ()
    """Topic names that differ from its own."""
    managed: bool = False
    """Whether the graph's lifecycle manager brings it up and down."""
    package: str = 'samg_ros'
    """That has the executable; nodes of other packages can only be started as processes."""
    executable: str = ''
    """Empty if it has the name of the node."""


def given_only(values: Mapping[str, str]) -> dict[str, Any]:
    """Return the parameters that were given, those not empty; the parameter file has the others."""
    return {name: value for name, value in values.items() if value}


def ros_arguments(remappings: Remappings) -> list[str]:
    """Return remappings as the arguments of a node."""
    return ['--ros-args', *(part for old, new in remappings for part in ('-r', f'{old}:={new}'))]
