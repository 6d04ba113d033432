# SPDX-License-Identifier: Apache-2.0
"""Reads from a parameter file which parameters a node will get, before the node starts.

A graph needs that for two decisions: whether a parameter asks for a further node (a velocity
controller gets a command guard), and which settings of a checkpoint to leave out, because the
user's file sets them and must win.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from samg_ros.errors import ConfigError
from samg_ros.files.schema import read_yaml

_KEY = 'ros__parameters'


def given_parameters(path: Path | str, node: str) -> dict[str, Any]:
    """Return the parameters that a file gives a node.

    Sections are taken by the last part of their name, so that '/**/policy', '/left/policy' and
    'policy' all are of `policy`, as '/**' is of every node; a later section wins.

    Args:
        path: ROS parameter file (YAML).
        node: name of the node, without namespace.

    Raises:
        ConfigError: if the file cannot be read.
    """
    path = Path(path).expanduser()
    content = read_yaml(path, Any, ConfigError, finite=False)
    found: dict[str, Any] = {}
    _collect(content, node, '', found)
    return found


def _collect(content: Any, node: str, section: str, found: dict[str, Any]) -> None:
    """Take the sections of a node, which may be nested by namespace."""
    if not isinstance(content, dict):
        return
    for key, value in content.items():
        name = str(key)
        if name == _KEY:
            if section.rpartition('/')[2] in (node, '*', '**') and isinstance(value, dict):
                found.update({str(parameter): each for parameter, each in value.items()})
        else:
            _collect(value, node, name, found)


def unless_given(values: dict[str, Any], path: str, node: str) -> dict[str, Any]:
    """Return a checkpoint's values without those that the user's parameter file sets.

    Args:
        values: name -> value, of a checkpoint.
        path: parameter file of the user; empty for none.
        node: name of the node.

    Raises:
        ConfigError: if the file cannot be read.
    """
    given = given_parameters(path, node) if path else {}
    return {name: value for name, value in values.items() if name not in given}
