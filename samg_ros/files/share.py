# SPDX-License-Identifier: Apache-2.0
"""Finds the package's parameter files, in a checkout, a wheel and a colcon install alike."""

from __future__ import annotations

import sys
from pathlib import Path

import samg_ros
from samg_ros.errors import ConfigError


def share_file(name: str) -> Path:
    """Return the path of an installed file.

    Args:
        name: path below share/samg_ros: 'config/sim_train.yaml'.

    Raises:
        ConfigError: if it is not there.
    """
    places = [Path(samg_ros.__file__).resolve().parents[1], Path(sys.prefix) / 'share/samg_ros',
              *_ament_share()]
    for place in places:
        if (place / name).is_file():
            return place / name
    raise ConfigError(f"the file '{name}' of samg_ros is missing; looked in "
                      f'{", ".join(str(place) for place in places)}; install the package again')


def parameter_file(given: str, default: str) -> Path:
    """Return the parameter file of a graph.

    Args:
        given: path from the user; empty for the package's.
        default: the package's, below share/samg_ros.

    Raises:
        ConfigError: if it is not there.
    """
    if not given:
        return share_file(default)
    path = Path(given).expanduser()
    if not path.is_file():
        raise ConfigError(f"there is no parameter file '{given}'; check params_file")
    return path


def absolute(path: str) -> str:
    """Return a user's path as one that means the same in any process; empty stays empty."""
    return str(Path(path).expanduser().resolve()) if path else ''


def _ament_share() -> list[Path]:
    """The share folder of a sourced ROS workspace, if there is one."""
    try:
        from ament_index_python.packages import get_package_share_directory
        return [Path(get_package_share_directory('samg_ros'))]
    except (ImportError, LookupError, OSError):  # not installed; not there; nothing sourced
        return []
