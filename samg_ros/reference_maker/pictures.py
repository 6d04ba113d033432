# SPDX-License-Identifier: Apache-2.0
"""Pictures in and out: bytes of a file to pixels, pixels and masks to what a browser shows."""

from __future__ import annotations

import base64
import io

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as pillow

from samg_ros.errors import InvalidInputError, PictureError
from samg_ros.files import pictures
from samg_ros.masking.checks import check_size

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

MOST_SIDE = 1280
"""Longer side of what is kept of a picture, in pixels. No model here looks at more than 1024."""
MOST_PIXELS = 64_000_000
"""Of a picture that is opened: more than today's cameras have, and 200 MB once decoded."""
FORMATS = ('JPEG', 'PNG', 'WEBP', 'BMP', 'TIFF')


def decode_picture(data: bytes, name: str) -> Image:
    """Return the picture in the bytes of a file, turned as its EXIF says, at most MOST_SIDE long.

    Args:
        data: the file's content.
        name: what the file is called in errors.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InvalidInputError: if it is no picture, or one that is too small, too long or too large.
    """
    if not data:
        raise InvalidInputError(f'{name}: the file is empty (0 bytes); choose another')
    size = pictures.picture_size(data)
    if size is None:
        raise InvalidInputError(f'{name}: not a picture; known are {", ".join(FORMATS)}')
    height, width = size
    if width * height > MOST_PIXELS:
        raise InvalidInputError(
            f'{name}: {width} x {height} is {width * height / 1e6:.0f} megapixels; at most '
            f'{MOST_PIXELS // 10**6} can be opened: make it smaller')
    check_size(name, height, width)
    try:
        picture = pictures.decode_picture(data, max_pixels=MOST_PIXELS)
    except PictureError as error:
        raise InvalidInputError(f'{name}: {error}; write it again') from error
    return limited(np.asarray(picture[..., ::-1], np.uint8))


def limited(image: Image, side: int = MOST_SIDE) -> Image:
    """Return a picture, (H, W, 3) uint8, made smaller if its longer side exceeds `side`."""
    longest = max(image.shape[:2])
    if longest <= side:
        return np.ascontiguousarray(image)
    size = [max(1, round(length * side / longest)) for length in image.shape[1::-1]]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def jpeg(image: Image, quality: int = 90) -> bytes:
    """Return a (H, W, 3) uint8 RGB picture as JPEG."""
    _, data = cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def mask_png(mask: Mask) -> bytes:
    """Return a (H, W) bool mask as PNG: white on the object, transparent elsewhere."""
    buffer = io.BytesIO()
    pillow.fromarray(mask).save(buffer, 'PNG', transparency=0, compress_level=1)
    return buffer.getvalue()


def heat_png(values: npt.NDArray[np.floating], image: Image) -> bytes:
    """Return a map as colours over the grey picture: blue where it is lowest, red where highest.

    Args:
        values: (H, W) float.
        image: (H, W, 3) uint8 RGB.
    """
    low, high = float(values.min()), float(values.max())
    scaled = ((values - low) / max(high - low, 1e-6) * 255).astype(np.uint8)
    colours = cv2.applyColorMap(scaled, cv2.COLORMAP_TURBO)[..., ::-1]
    grey = image.mean(axis=2, keepdims=True)
    return jpeg(np.asarray(0.65 * colours + 0.35 * grey, np.uint8), 85)


def data_uri(kind: str, data: bytes) -> str:
    """Return bytes as a data URI of a MIME type."""
    return f'data:{kind};base64,{base64.b64encode(data).decode()}'
