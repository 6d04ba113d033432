# SPDX-License-Identifier: Apache-2.0
"""The `masked/quality` message: what the masker thinks of the mask of a frame."""

from __future__ import annotations

from typing import NamedTuple

from std_msgs.msg import Float64MultiArray, Header

from samg_ros.ros.messages import labelled
from samg_ros.ros.messages.time_step import Stamp

TOPIC = 'masked/quality'
PREDICTED_IOU = 'predicted_iou'
_LABELS = (*labelled.STAMP, PREDICTED_IOU)
_LAYOUT = labelled.layout(_LABELS)


class MaskQuality(NamedTuple):
    """How good the masker expects the mask of one frame to be."""

    stamp: Stamp
    predicted_iou: float
    """With the true mask, as the masker's network predicts it; the lowest of all objects."""


def to_message(header: Header, predicted_iou: float) -> Float64MultiArray:
    """Return the message for the frame with a header."""
    stamp = header.stamp
    return Float64MultiArray(layout=_LAYOUT, data=[float(stamp.sec), float(stamp.nanosec),
                                                   float(predicted_iou)])


def from_message(message: Float64MultiArray) -> MaskQuality:
    """Return what a message says.

    Raises:
        InvalidInputError: if a field is missing or not finite, or the stamp is none.
    """
    values = labelled.required(labelled.numbers_of(message, TOPIC), _LABELS, TOPIC)
    return MaskQuality((int(values['stamp_sec']), int(values['stamp_nanosec'])),
                       values[PREDICTED_IOU])
