# SPDX-License-Identifier: Apache-2.0
"""How far and how fast each joint may go, from a file in ros2_control's and MoveIt's format.

An arm's description usually comes with a `joint_limits.yaml` already:

    joint_limits:
      joint_1:
        has_position_limits: true
        min_position: -3.14        # rad, or m
        max_position: 3.14
        max_velocity: 0.6          # rad/s, or m/s
        max_acceleration: 2.0      # rad/s^2, or m/s^2

A value that is not given is no limit, nor is one whose `has_..._limits` is false.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samg_ros.errors import ConfigError
from samg_ros.files.schema import convert, read_yaml

_GROUPS = {'has_position_limits': ('min_position', 'max_position'),
           'has_velocity_limits': ('max_velocity',),
           'has_acceleration_limits': ('max_acceleration',)}
"""The fields of each flag: false switches them off, true requires them."""
_FIELDS = tuple(name for names in _GROUPS.values() for name in names)
_FOREIGN = ('has_jerk_limits', 'has_effort_limits', 'has_soft_limits')
"""Flags of the format whose limits are not enforced here; they must be false."""


@dataclass(frozen=True)
class JointLimits:
    """The limits of one joint.

    Raises:
        ConfigError: if a value is not usable; the message names joint and field.
    """

    joint: str
    """Its name, as in joint_states."""
    min_position: float = -math.inf
    """Least position, rad or m."""
    max_position: float = math.inf
    """Greatest position, rad or m."""
    max_velocity: float = math.inf
    """Greatest speed either way, rad/s or m/s; above 0."""
    max_acceleration: float = math.inf
    """Greatest change of the velocity, rad/s^2 or m/s^2; above 0."""

    def __post_init__(self) -> None:
        for name in ('max_velocity', 'max_acceleration'):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} of joint '{self.joint}' must be above 0, got "
                                  f'{getattr(self, name)}')
        if not self.min_position < self.max_position:
            raise ConfigError(f"min_position of joint '{self.joint}' must be below its "
                              f'max_position, got {self.min_position} and {self.max_position}')


def load_joint_limits(path: Path | str, joints: Sequence[str] = ()) -> tuple[JointLimits, ...]:
    """Read the limits of a command's joints.

    Args:
        path: YAML file; joints that are not asked for may be in it too.
        joints: names in the order of the command; empty takes all of the file, in its order.

    Raises:
        ConfigError: if the file cannot be read, lacks a joint, or has a field that is unknown or
            not usable.
    """
    path = Path(path).expanduser()
    content = read_yaml(path, dict[str, Any], ConfigError, finite=False)  # .inf is no limit
    table = content.get('joint_limits')
    if not isinstance(table, dict) or not table:
        raise ConfigError(f"the file '{path}' has no joint limits; expected the key joint_limits "
                          'with a table of fields for each joint')
    if len(set(joints)) < len(joints):
        raise ConfigError(f'a joint is named twice in {", ".join(joints)}; name each once')
    missing = [joint for joint in joints if joint not in table]
    if missing:
        raise ConfigError(f"the joint limits '{path}' lack joint '{missing[0]}'; they have "
                          f'{", ".join(map(str, table))}')
    try:
        return tuple(_parse(str(joint), table[joint]) for joint in joints or table)
    except ConfigError as error:
        raise ConfigError(f"in the joint limits '{path}': {error}") from error


def _parse(joint: str, values: Any) -> JointLimits:
    if not isinstance(values, dict):
        raise ConfigError(f"joint '{joint}' must have a table of limits, got {values!r}")
    convert(values, dict[str, Any], f"joint '{joint}'", ConfigError, finite=False)
    for name, value in values.items():
        if name in (*_GROUPS, *_FOREIGN):
            if not isinstance(value, bool):
                raise ConfigError(f"{name} of joint '{joint}' must be true or false, got {value!r}")
            if name in _FOREIGN and value:
                raise ConfigError(f"{name} of joint '{joint}' is true, but such limits are not "
                                  'enforced here; set it to false and leave them to the driver')
        elif name not in _FIELDS:
            raise ConfigError(f"joint '{joint}' has the unknown field '{name}'; known are "
                              f'{", ".join((*_FIELDS, *_GROUPS))}')
        elif isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            raise ConfigError(f"{name} of joint '{joint}' must be a number, got {value!r}")
    kept: dict[str, float] = {}
    for flag, names in _GROUPS.items():
        for name in names:
            if values.get(flag, name in values) and name not in values:
                raise ConfigError(f"joint '{joint}' has {flag} but no {name}; give it, or set the "
                                  'flag to false')
        if values.get(flag, True):
            kept |= {name: float(values[name]) for name in names if name in values}
    return JointLimits(joint, **kept)
