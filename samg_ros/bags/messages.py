# SPDX-License-Identifier: Apache-2.0
"""Builds messages without ROS, for bags that are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from rosbags.typesys import Stores, get_typestore

from samg_ros.bags.topics import ARRAY, IMAGE, JOINT_STATE

STORE = get_typestore(Stores.ROS2_KILTED)
_TYPES = STORE.types


def header(stamp_ns: int, frame_id: str = '') -> Any:
    """Return the header of a moment, ns."""
    sec, nanosec = divmod(stamp_ns, 10**9)
    return _TYPES['std_msgs/msg/Header'](
        stamp=_TYPES['builtin_interfaces/msg/Time'](sec=sec, nanosec=nanosec), frame_id=frame_id)


def image(given: Any, pixels: npt.NDArray[np.uint8], encoding: str) -> Any:
    """Return an Image.

    Args:
        given: its header.
        pixels: (H, W) or (H, W, 3).
        encoding: mono8 or rgb8.
    """
    height, width = pixels.shape[:2]
    return _TYPES[IMAGE](header=given, height=height, width=width, encoding=encoding,
                         is_bigendian=0, step=pixels.size // height,
                         data=np.ascontiguousarray(pixels).reshape(-1))


def array(values: npt.NDArray[np.float64]) -> Any:
    """Return a Float64MultiArray of an action."""
    size = len(values)
    layout = _TYPES['std_msgs/msg/MultiArrayLayout'](
        dim=[_TYPES['std_msgs/msg/MultiArrayDimension'](label='action', size=size, stride=size)],
        data_offset=0)
    return _TYPES[ARRAY](layout=layout, data=values)


def joint_state(given: Any, names: Sequence[str], positions: npt.NDArray[np.float64]) -> Any:
    """Return a JointState of positions, with its header."""
    nothing = np.empty(0)
    return _TYPES[JOINT_STATE](header=given, name=list(names), position=positions,
                               velocity=nothing, effort=nothing)
