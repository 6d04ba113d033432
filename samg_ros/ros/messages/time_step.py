# SPDX-License-Identifier: Apache-2.0
"""The `time_step` message: what a simulator says about a frame, in a Float64MultiArray."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from std_msgs.msg import Float64MultiArray

from samg_ros.errors import InvalidInputError
from samg_ros.ros.messages.labelled import layout, numbers_of, required
from samg_ros.step_types import FIRST, LAST, MID

"""Step types, as in dm_env."""

Stamp = tuple[int, int]
"""Seconds and nanoseconds of a header stamp."""


@dataclass(frozen=True)
class StepInfo:
    """What belongs to one frame beside its pixels."""

    stamp_sec: int
    """Seconds of the frame's header stamp, by which frames and time steps are paired."""
    stamp_nanosec: int
    """Nanoseconds of it."""
    time_ns: int
    """Simulation time in nanoseconds; exact up to 104 days."""
    reward: float
    """Reward of the action before, summed over its repeats; 0 on the first step."""
    discount: float
    """0 if the episode ended in a terminal state, else 1."""
    step_type: int
    """FIRST, MID or LAST."""
    step_index: int
    """Agent steps since the episode began."""
    frame_index: int
    """Frames since the bridge began, the number that a command answers."""
    success: int = 0
    """1 while the task is solved, else 0; always 0 in tasks that only know rewards."""
    expert: tuple[float, ...] = ()
    """Action that an expert takes in this frame, within the limits; empty without an expert."""

    @property
    def stamp(self) -> Stamp:
        return self.stamp_sec, self.stamp_nanosec


_INTEGERS = ('stamp_sec', 'stamp_nanosec', 'time_ns', 'step_type', 'step_index', 'frame_index',
             'success')
LABELS = tuple(field.name for field in fields(StepInfo) if field.name != 'expert')
_EXPERT = 'expert_'

_LAYOUT = layout(LABELS)


def to_message(info: StepInfo) -> Float64MultiArray:
    """Return the message that the topic `time_step` carries for a time step."""
    values = [float(getattr(info, label)) for label in LABELS]
    if not info.expert:
        return Float64MultiArray(layout=_LAYOUT, data=values)
    labels = [*LABELS, *(f'{_EXPERT}{i}' for i in range(len(info.expert)))]
    return Float64MultiArray(layout=layout(labels), data=[*values, *map(float, info.expert)])


def from_message(message: Float64MultiArray) -> StepInfo:
    """Return the time step in a message.

    Raises:
        InvalidInputError: if a field is missing, not finite, or not what it can be.
    """
    found = numbers_of(message, 'time_step')
    values = required(found, LABELS, 'time_step', _INTEGERS)
    if values['step_type'] not in (FIRST, MID, LAST):
        raise InvalidInputError(f"field 'step_type' of time_step is {values['step_type']}; it must "
                                'be 0, 1 or 2')
    expert: list[float] = []
    while (label := f'{_EXPERT}{len(expert)}') in found:
        if not math.isfinite(found[label]):
            raise InvalidInputError(f"field '{label}' of time_step is {found[label]}; it must be "
                                    'finite')
        expert.append(found[label])
    return StepInfo(**values, expert=tuple(expert))  # type: ignore[arg-type]
