# SPDX-License-Identifier: Apache-2.0
"""The `time_step` message: what a simulator says about a frame, in a Float64MultiArray.

An `ament_python` package cannot define messages, so the layout labels name the fields. A reader
finds a field by its label, never by its place; fields may be added.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

from std_msgs.msg import Float64MultiArray, MultiArrayDimension, MultiArrayLayout

from samg_ros.errors import InvalidInputError
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


def _layout(labels: Sequence[str]) -> MultiArrayLayout:
    return MultiArrayLayout(dim=[
        MultiArrayDimension(label=label, size=1, stride=len(labels) - i)
        for i, label in enumerate(labels)])


_LAYOUT = _layout(LABELS)


def to_message(info: StepInfo) -> Float64MultiArray:
    """Return the message that the topic `time_step` carries for a time step."""
    values = [float(getattr(info, label)) for label in LABELS]
    if not info.expert:
        return Float64MultiArray(layout=_LAYOUT, data=values)
    labels = [*LABELS, *(f'{_EXPERT}{i}' for i in range(len(info.expert)))]
    return Float64MultiArray(layout=_layout(labels), data=[*values, *map(float, info.expert)])


def from_message(message: Float64MultiArray) -> StepInfo:
    """Return the time step in a message.

    Raises:
        InvalidInputError: if a field is missing, not finite, or not what it can be.
    """
    labels = [dimension.label for dimension in message.layout.dim]
    if len(labels) != len(message.data):
        raise InvalidInputError(f'time_step has {len(labels)} labels for {len(message.data)} '
                                'values; there must be one each')
    found = dict(zip(labels, message.data, strict=True))
    values: dict[str, float] = {}
    for label in LABELS:
        if label not in found:
            raise InvalidInputError(f"time_step has no field '{label}'; it has "
                                    f'{", ".join(labels) or "none"}')
        value = found[label]
        if not math.isfinite(value):
            raise InvalidInputError(f"field '{label}' of time_step is {value}; it must be finite")
        if label in _INTEGERS and (value != int(value) or value < 0):
            raise InvalidInputError(f"field '{label}' of time_step is {value}; it must be a whole "
                                    'number of at least 0')
        values[label] = int(value) if label in _INTEGERS else value
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
