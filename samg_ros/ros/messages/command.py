# SPDX-License-Identifier: Apache-2.0
"""The `command` message: an action, and which frame it answers.

The first dimension of the layout is the action, as ros2_control's forward_command_controller takes
it. A second one, `frame_index`, names the frame that the action answers, so that a command that
comes twice or late is known as such. A plain array of the right length is a command too.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
from builtin_interfaces.msg import Duration
from std_msgs.msg import Float64MultiArray, MultiArrayDimension, MultiArrayLayout
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from samg_ros.errors import CommandError

ACTION_LABEL, FRAME_LABEL = 'action', 'frame_index'


class Fault(str, Enum):
    """Why a command was dropped; the name is a key in the diagnostics."""

    WRONG_SIZE = 'wrong_size'
    NOT_FINITE = 'not_finite'
    DUPLICATE = 'duplicate'
    LATE = 'late'
    UNKNOWN_FRAME = 'unknown_frame'
    RESET = 'reset'
    CONFLICT = 'conflict'


class BadCommandError(CommandError):
    """A command that cannot be carried out; `fault` says of which kind."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


@dataclass(frozen=True, eq=False)
class Command:
    """An action, and the frame that it answers."""

    action: npt.NDArray[np.float64]
    """(A,) finite."""
    frame_index: int | None
    """As in `time_step`; None if the sender does not say."""


def to_message(action: npt.ArrayLike, frame_index: int | None = None) -> Float64MultiArray:
    """Return the message of a command.

    Args:
        action: (A,) float.
        frame_index: the frame that it answers, None for a plain array.
    """
    data = np.asarray(action, dtype=np.float64).reshape(-1).tolist()
    layout = _layout(len(data), frame_index is not None)
    if frame_index is not None:
        data.append(float(frame_index))
    return Float64MultiArray(layout=layout, data=data)


@functools.cache
def _layout(size: int, with_frame: bool) -> MultiArrayLayout:
    dimensions = [MultiArrayDimension(label=ACTION_LABEL, size=size, stride=size)]
    if with_frame:
        dimensions.append(MultiArrayDimension(label=FRAME_LABEL, size=1, stride=1))
    return MultiArrayLayout(dim=dimensions)


def from_message(message: Float64MultiArray, action_size: int) -> Command:
    """Return the command in a message.

    Args:
        message: as `to_message` makes it, or a plain array of `action_size` values.
        action_size: how many values an action has.

    Raises:
        BadCommandError: if it has the wrong length or is not finite.
    """
    values = np.array(message.data, dtype=np.float64)
    layout = [(dimension.label, dimension.size) for dimension in message.layout.dim]
    frames = [size for label, size in layout if label == FRAME_LABEL]
    size = values.size - sum(frames)
    if frames not in ([], [1]) or size != action_size:
        shape = ', '.join(f'{label}: {n}' for label, n in layout)
        raise BadCommandError(
            Fault.WRONG_SIZE,
            f'a command of {values.size} values{f" ({shape})" if shape else ""} came; expected '
            f'{action_size}, and {FRAME_LABEL} behind them if the layout names it')
    if not np.isfinite(values).all():
        raise BadCommandError(Fault.NOT_FINITE,
                              f'a command must be finite, got {values[:action_size].tolist()}')
    frame_index = int(values[-1]) if frames else None
    return Command(values[:action_size], frame_index)


def to_trajectory(joints: Sequence[str], positions: Sequence[float], reach_s: float,
                  ) -> JointTrajectory:
    """Return a trajectory that begins when it comes and ends at the positions.

    Args:
        joints: names.
        positions: (A,) one per joint, rad or m.
        reach_s: seconds until the positions are to be reached.
    """
    seconds, rest = divmod(round(reach_s * 1e9), 10**9)
    point = JointTrajectoryPoint(
        positions=[float(value) for value in positions],
        time_from_start=Duration(sec=seconds, nanosec=rest))
    return JointTrajectory(joint_names=list(joints), points=[point])
