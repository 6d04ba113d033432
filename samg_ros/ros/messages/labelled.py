# SPDX-License-Identifier: Apache-2.0
"""Named numbers in a Float64MultiArray.

An `ament_python` package cannot define messages, so the layout labels name the fields. A reader
finds a field by its label, never by its place; fields may be added.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from std_msgs.msg import Float64MultiArray, MultiArrayDimension, MultiArrayLayout

from samg_ros.errors import InvalidInputError

STAMP = ('stamp_sec', 'stamp_nanosec')
"""Labels of the header stamp of the frame that the numbers belong to."""


def layout(labels: Sequence[str]) -> MultiArrayLayout:
    """Return the layout of a message with one number for each label."""
    return MultiArrayLayout(dim=[
        MultiArrayDimension(label=label, size=1, stride=len(labels) - i)
        for i, label in enumerate(labels)])


def numbers_of(message: Float64MultiArray, topic: str) -> dict[str, float]:
    """Return label -> value of a message.

    Args:
        message: as received.
        topic: named in errors.

    Raises:
        InvalidInputError: if there is not one label for each value.
    """
    labels = [dimension.label for dimension in message.layout.dim]
    if len(labels) != len(message.data):
        raise InvalidInputError(f'{topic} has {len(labels)} labels for {len(message.data)} '
                                'values; there must be one each')
    return dict(zip(labels, message.data, strict=True))


def required(found: dict[str, float], labels: Sequence[str], topic: str,
             whole: Collection[str] = STAMP) -> dict[str, float]:
    """Return the values of some labels.

    Args:
        found: from `numbers_of`.
        labels: which are needed.
        topic: named in errors.
        whole: those that must be whole numbers of at least 0, and are returned as int.

    Raises:
        InvalidInputError: if one is missing, not finite, or not whole where it must be.
    """
    values: dict[str, float] = {}
    for label in labels:
        if label not in found:
            raise InvalidInputError(f"{topic} has no field '{label}'; it has "
                                    f'{", ".join(found) or "none"}')
        value = found[label]
        if not math.isfinite(value):
            raise InvalidInputError(f"field '{label}' of {topic} is {value}; it must be finite")
        if label in whole and (value != int(value) or value < 0):
            raise InvalidInputError(f"field '{label}' of {topic} is {value}; it must be a whole "
                                    'number of at least 0')
        values[label] = int(value) if label in whole else value
    return values
