# SPDX-License-Identifier: Apache-2.0
"""Image messages to arrays and back, with the same pixels on every machine.

A wheel-only machine has no `cv_bridge`, and a robot has one of several versions of it. The
eight-bit encodings that cameras and this package use are therefore converted here, by numpy alone,
wherever the package runs; `cv_bridge`, where it is installed, is asked only for the rest.
"""

from __future__ import annotations

import array
import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from samg_ros.errors import EncodingError, InvalidInputError

if TYPE_CHECKING:
    from sensor_msgs.msg import CompressedImage, Image
    from std_msgs.msg import Header

Pixels = npt.NDArray[np.uint8]

_CHANNELS = {'rgb8': (0, 1, 2), 'bgr8': (2, 1, 0), 'rgba8': (0, 1, 2), 'bgra8': (2, 1, 0),
             'mono8': (0, 0, 0)}
"""Which channels of an encoding are red, green and blue."""
_CHANNEL_COUNT = {'rgb8': 3, 'bgr8': 3, 'rgba8': 4, 'bgra8': 4, 'mono8': 1}

ENCODINGS = tuple(_CHANNEL_COUNT)
"""Encodings that need no cv_bridge."""


def image_to_rgb(message: Image) -> Pixels:
    """Return the pixels of an image message as RGB.

    Args:
        message: sensor_msgs/Image in one of ENCODINGS, or in any encoding that `cv_bridge` turns
            into rgb8 where that is installed. An alpha channel is dropped, grey is repeated.

    Returns:
        (H, W, 3) uint8. For rgb8 without row padding it shares the message's memory.

    Raises:
        EncodingError: if the encoding cannot be converted.
        InvalidInputError: if height, width, step and data do not fit together.
    """
    channels = _CHANNELS.get(message.encoding)
    if channels is None:
        return _through_cv_bridge(message, 'rgb8')
    pixels = _rows(message)
    return pixels if message.encoding == 'rgb8' else pixels[:, :, channels]


def image_to_mono(message: Image) -> Pixels:
    """Return the pixels of a one-channel image message.

    Args:
        message: sensor_msgs/Image with encoding mono8 (8UC1 means the same here).

    Returns:
        (H, W) uint8. Without row padding it shares the message's memory.

    Raises:
        EncodingError: if the encoding is another.
        InvalidInputError: if height, width, step and data do not fit together.
    """
    if message.encoding not in ('mono8', '8UC1'):
        raise EncodingError(f"image encoding '{message.encoding}' is not a mask; publish mono8")
    return _rows(message)[:, :, 0]


def array_to_image(pixels: Pixels, header: Header, encoding: str | None = None) -> Image:
    """Return an image message with these pixels and exactly this header.

    Args:
        pixels: (H, W, 3), (H, W, 4) or (H, W) uint8.
        header: used as it is, so that stamp and frame_id are those of the source.
        encoding: one of ENCODINGS that fits the channels; None means rgb8, rgba8 or mono8.

    Raises:
        EncodingError: if the encoding is unknown or does not fit the channels.
        InvalidInputError: if the array is not an eight-bit image.
    """
    from sensor_msgs.msg import Image

    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise InvalidInputError(f'an image must be (H, W) or (H, W, C) uint8, got shape '
                                f'{pixels.shape} {pixels.dtype}')
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if encoding is None:
        encoding = {1: 'mono8', 3: 'rgb8', 4: 'rgba8'}.get(channels, f'{channels} channels')
    if _CHANNEL_COUNT.get(encoding) != channels:
        raise EncodingError(f"image encoding '{encoding}' does not fit {channels} channel(s); "
                            f'known are {", ".join(ENCODINGS)}')
    message = Image()
    message.header = header
    message.height, message.width = pixels.shape[:2]
    message.encoding = encoding
    message.step = pixels.shape[1] * channels
    data = array.array('B')
    data.frombytes(np.ascontiguousarray(pixels).data.cast('B'))  # a list would take milliseconds
    message.data = data
    return message


def mask_to_image(mask: npt.NDArray[np.bool_], header: Header) -> Image:
    """Return a mask as a mono8 message: 255 on the object, 0 elsewhere.

    Args:
        mask: (H, W) bool.
        header: used as it is.
    """
    return array_to_image(mask.view(np.uint8) * np.uint8(255), header, 'mono8')


def array_to_compressed(pixels: Pixels, header: Header, quality: int) -> CompressedImage:
    """Return a JPEG message with these pixels, as image_transport's compressed topics carry it.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        header: used as it is.
        quality: of the JPEG, 1 to 100.
    """
    import cv2
    from sensor_msgs.msg import CompressedImage

    _, encoded = cv2.imencode('.jpg', pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    message = CompressedImage(header=header, format='rgb8; jpeg compressed bgr8')
    data = array.array('B')
    data.frombytes(encoded.data.cast('B'))
    message.data = data
    return message


def image_to_mask(message: Image) -> npt.NDArray[np.bool_]:
    """Return the mask in a mono8 message: true where it is not 0; see `image_to_mono`."""
    return image_to_mono(message) != 0


def _rows(message: Image) -> Pixels:
    """The pixels without row padding, (H, W, channels) uint8."""
    height, width, step = message.height, message.width, message.step
    channels = _CHANNEL_COUNT.get(message.encoding, 1)
    row = width * channels
    if height < 1 or width < 1:
        raise InvalidInputError(f'the image is empty: {height} x {width} pixels')
    if step < row or len(message.data) < step * (height - 1) + row:
        raise InvalidInputError(
            f'the image does not fit its header: {height} x {width} {message.encoding} with rows '
            f'of {step} bytes needs at least {max(step, row) * (height - 1) + row} bytes, '
            f'the message has {len(message.data)}')
    data = np.frombuffer(message.data, dtype=np.uint8)
    if step == row:
        return data[:height * row].reshape(height, width, channels)
    rows = np.lib.stride_tricks.as_strided(data, (height, row), (step, 1), writeable=False)
    return rows.reshape(height, width, channels)


def _through_cv_bridge(message: Image, encoding: str) -> Pixels:
    if importlib.util.find_spec('cv_bridge') is None:
        raise EncodingError(
            f"image encoding '{message.encoding}' is not one of {', '.join(ENCODINGS)}; "
            'publish one of those, or install cv_bridge')
    from cv_bridge import CvBridge, CvBridgeError

    try:
        pixels: Any = CvBridge().imgmsg_to_cv2(message, desired_encoding=encoding)
    except (CvBridgeError, ValueError, TypeError) as error:
        raise EncodingError(f"image encoding '{message.encoding}' cannot be turned into "
                            f'{encoding} by cv_bridge: {error}') from error
    return np.asarray(pixels, dtype=np.uint8)
