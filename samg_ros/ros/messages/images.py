# SPDX-License-Identifier: Apache-2.0
"""Image messages to arrays and back, with the same pixels on every machine.

A wheel-only machine has no `cv_bridge`, and a robot has one of several versions of it. What cameras
send is therefore converted here, wherever the package runs; `cv_bridge`, where it is installed, is
asked only for the rest. The pixels are those that it would give: OpenCV's conversions by the codes
of its table `getConversionCodes` (ros-perception/vision_opencv, cv_bridge/src/cv_bridge.cpp), 16
bits brought to 8 by 255 / 65535, and for compressed images the colour order of
ros-perception/image_transport_plugins, compressed_image_transport/src/compressed_subscriber.cpp.
"""

from __future__ import annotations

import array
import importlib.util
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from samg_ros.errors import EncodingError, InvalidInputError, PictureError, first_line
from samg_ros.files.pictures import MAX_PIXELS, check_pixels, decode_picture

if TYPE_CHECKING:
    from sensor_msgs.msg import CompressedImage, Image
    from std_msgs.msg import Header

Pixels = npt.NDArray[np.uint8]

_CHANNEL_COUNT = {'rgb8': 3, 'bgr8': 3, 'rgba8': 4, 'bgra8': 4, 'mono8': 1}
_TO_RGB = {
    'bgr8': cv2.COLOR_BGR2RGB, 'rgba8': cv2.COLOR_RGBA2RGB, 'bgra8': cv2.COLOR_BGRA2RGB,
    'mono8': cv2.COLOR_GRAY2RGB, 'mono16': cv2.COLOR_GRAY2RGB,
    # OpenCV names a mosaic by the second row's second and third pixel, ROS by the first row's
    # first and second.
    'bayer_rggb8': cv2.COLOR_BayerBG2RGB, 'bayer_bggr8': cv2.COLOR_BayerRG2RGB,
    'bayer_gbrg8': cv2.COLOR_BayerGR2RGB, 'bayer_grbg8': cv2.COLOR_BayerGB2RGB,
    'yuv422': cv2.COLOR_YUV2RGB_UYVY, 'uyvy': cv2.COLOR_YUV2RGB_UYVY,
    'yuv422_yuy2': cv2.COLOR_YUV2RGB_YUYV, 'yuyv': cv2.COLOR_YUV2RGB_YUYV}
_BYTES_PER_PIXEL = {**_CHANNEL_COUNT, 'mono16': 2, 'yuv422': 2, 'uyvy': 2, 'yuv422_yuy2': 2,
                    'yuyv': 2}

WRITABLE = tuple(_CHANNEL_COUNT)
"""Encodings that are written here."""
ENCODINGS = ('rgb8', *_TO_RGB)
"""Encodings that are read without cv_bridge."""


def image_to_rgb(message: Image, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Return the pixels of an image message as RGB.

    Args:
        message: sensor_msgs/Image in one of ENCODINGS, or in any encoding that `cv_bridge` turns
            into rgb8 where that is installed. An alpha channel is dropped, grey is repeated.
        max_pixels: a larger image is refused.

    Returns:
        (H, W, 3) uint8. For rgb8 without row padding it shares the message's memory.

    Raises:
        EncodingError: if the encoding cannot be converted.
        InvalidInputError: if height, width, step and data do not fit together, or there are more
            than `max_pixels` pixels.
    """
    check_pixels(message.height, message.width, max_pixels)
    if message.encoding not in ENCODINGS:
        return _through_cv_bridge(message, 'rgb8')
    pixels = _rows(message)
    if message.encoding == 'rgb8':
        return pixels
    if message.encoding == 'mono16':
        values = pixels.view('>u2' if message.is_bigendian else '<u2')
        pixels = _eight_bits(values)
    return _converted(pixels, message.encoding)


def compressed_to_rgb(message: CompressedImage, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Return the pixels of a compressed image message as RGB.

    Args:
        message: sensor_msgs/CompressedImage, jpeg or png, as image_transport or a camera driver
            writes it. An alpha channel is dropped, grey is repeated, a mosaic interpolated.
        max_pixels: a larger image is refused before it is decoded.

    Returns:
        (H, W, 3) uint8.

    Raises:
        EncodingError: if the format is another, or the data are not of it, cut short or too large.
    """
    # '<encoding of the source>; jpeg compressed <order of the colours>', or only 'jpeg'.
    source, separator, compression = message.format.lower().rpartition(';')
    if not any(name in compression for name in ('jpeg', 'jpg', 'png')) \
            or 'compresseddepth' in compression:
        raise EncodingError(f"compressed image format '{message.format}' is neither jpeg nor png")
    try:  # as it is stored: neither turned by EXIF nor made three channels
        pixels = decode_picture(memoryview(message.data), cv2.IMREAD_UNCHANGED, max_pixels)
    except PictureError as error:
        raise EncodingError(f"compressed image '{message.format}': {error}") from error
    decoded: Any = pixels if pixels.dtype == np.uint8 else _eight_bits(pixels)
    if decoded.ndim == 2:
        return _converted(decoded, source if source.startswith('bayer_') else 'mono8')
    is_rgb = separator and 'compressed bgr' not in compression
    encoding = ('rgb' if is_rgb else 'bgr') + ('a8' if decoded.shape[2] == 4 else '8')
    return decoded if encoding == 'rgb8' else _converted(decoded, encoding)


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
        encoding: one of WRITABLE that fits the channels; None means rgb8, rgba8 or mono8.

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
                            f'known are {", ".join(WRITABLE)}')
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
    """The pixels without row padding, (H, W, bytes per pixel) uint8."""
    height, width, step = message.height, message.width, message.step
    channels = _BYTES_PER_PIXEL.get(message.encoding, 1)
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


def _converted(pixels: Pixels, encoding: str) -> Pixels:
    """(H, W), or (H, W, C), uint8 in an encoding other than rgb8, as RGB."""
    code = _TO_RGB.get(encoding)
    if code is None:
        raise EncodingError(f"image encoding '{encoding}' is not one of {', '.join(ENCODINGS)}")
    try:
        return np.asarray(cv2.cvtColor(pixels, code), np.uint8)
    except cv2.error as error:
        height, width = pixels.shape[:2]
        raise InvalidInputError(f"an image of {height} x {width} pixels cannot be '{encoding}': "
                                f'{first_line(error)}') from error


def _eight_bits(values: npt.NDArray[Any]) -> Pixels:
    """The values times 255 / 65535, rounded; half a step never occurs, as 257 is odd."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


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
