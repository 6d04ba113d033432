# SPDX-License-Identifier: Apache-2.0
"""Reading and writing pictures: one reader and one writer for the whole package.

OpenCV alone is not enough. Before version 5 it decodes half a JPEG without an error and fills the
rest with grey; it crashes on file names that are not UTF-8; and it makes room for whatever size a
picture claims to have. So the size is read first, the end of the data is looked for, and files
are opened by Python.
"""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as pillow

from samg_ros.errors import InvalidInputError, PictureError, VideoError, first_line, plain
from samg_ros.files.outputs import write_bytes
from samg_ros.files.reading import check_readable, parsing

FORMATS = ('JPEG', 'PNG', 'WEBP', 'BMP', 'TIFF')
"""That are read, by Pillow's names."""
MAX_PIXELS = 2 * 7680 * 4320
"""Pixels of the largest picture that is decoded by default: twice an 8K camera's."""

PICTURE_SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
"""Endings of the files that are read and written."""

VIDEO_ADVICE = ('convert it: ffmpeg -i INPUT -c:v libx264 -crf 12 OUTPUT.mp4 (AV1 videos, as '
                'LeRobot writes them, need an OpenCV whose FFmpeg has an AV1 decoder)')
"""What to do with a video that OpenCV does not read."""

_HEAD_BYTES = 32
"""Of a video, in which every container has bytes that no text has."""
_TEXT = bytes(each for each in range(256) if each in b'\t\n\r' or each >= 0x20 and each != 0x7f)
"""Bytes of texts, UTF-8 among them."""
_LONGEST_PATH = 4096
"""Characters; Linux takes no longer path."""
_JPEG, _PNG = b'\xff\xd8\xff', b'\x89PNG\r\n\x1a\n'
_MARKER = re.compile(rb'\xff+([^\x00\xff\xd0-\xd7])', re.DOTALL)
"""The next marker of a JPEG: inside pixel data, FF is followed by 00 or a restart marker."""
_END_OF_IMAGE = 0xd9


def read_picture(path: str | Path, flags: int = cv2.IMREAD_COLOR) -> npt.NDArray[Any]:
    """Read a picture file, whatever its name is made of.

    Args:
        path: of a JPEG, PNG, BMP, TIFF or WebP file.
        flags: OpenCV's, cv2.IMREAD_*.

    Returns:
        (H, W, 3) BGR or (H, W), as OpenCV gives it.

    Raises:
        PictureError: if the file cannot be read, is damaged, cut short or too large.
    """
    data = read_picture_bytes(path)
    try:
        return decode_picture(data, flags)
    except PictureError as error:
        raise PictureError(f'{shown(path)}: {error}') from error


def read_picture_bytes(path: str | Path) -> bytes:
    """Return the content of a picture file, which is not decoded.

    Raises:
        PictureError: if it cannot be read, is no regular file (a pipe may never end), or is
            larger than a picture of MAX_PIXELS can be.
    """
    check_readable(path, PictureError, 8 * MAX_PIXELS)
    with parsing(f"'{shown(path)}' cannot be read", PictureError, 'check the file'):
        return Path(path).read_bytes()


def decode_picture(data: bytes | memoryview, flags: int = cv2.IMREAD_COLOR,
                   max_pixels: int = MAX_PIXELS) -> npt.NDArray[Any]:
    """Decode a picture of at most `max_pixels`; as `read_picture`, from the bytes of a file."""
    view = memoryview(data).cast('B')
    size = picture_size(view)
    if size is None:
        raise PictureError(f'the {len(view)} bytes are not a readable image; known are JPEG, PNG, '
                           'BMP, TIFF and WebP')
    check_pixels(*size, max_pixels)
    if _is_cut_short(view):
        raise PictureError('the image is cut short: its end is missing')
    try:
        picture = cv2.imdecode(np.frombuffer(view, np.uint8), flags)
    except (cv2.error, MemoryError) as error:
        raise PictureError(f'the image cannot be decoded: {first_line(error)}') from error
    if picture is None:
        raise PictureError('the image is damaged: it cannot be decoded')
    return np.asarray(picture)


def write_picture(path: str | Path, picture: npt.NDArray[np.uint8]) -> None:
    """Write a picture in the format of its file's ending.

    Args:
        path: of the file.
        picture: (H, W, 3) uint8 BGR or (H, W) uint8.

    Raises:
        PictureError: if its name has another ending than PICTURE_SUFFIXES, or it cannot be encoded.
        OutputError: if it cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        raise PictureError(f'{shown(path)}: the name of a picture ends in one of '
                           f'{" ".join(PICTURE_SUFFIXES)}')
    try:
        encoded = cv2.imencode(path.suffix, picture)[1]
    except cv2.error as error:
        raise PictureError(f'{shown(path)}: cannot be encoded: {first_line(error)}') from error
    write_bytes(path, encoded.tobytes())


def check_pixels(height: int, width: int, max_pixels: int) -> None:
    """Check that a picture of this size may be decoded.

    Raises:
        PictureError: if it has more than `max_pixels` pixels.
    """
    if height * width > max_pixels:
        raise PictureError(f'the image has {height} x {width} pixels, more than max_pixels '
                           f'{max_pixels}')


def shown(path: str | Path) -> str:
    """Return a path as text that any terminal and log can take; other bytes in hexadecimal."""
    return plain(os.fsencode(path).decode('utf-8', 'backslashreplace'), _LONGEST_PATH)


def open_video(path: str | Path) -> cv2.VideoCapture:
    """Open a video file; the caller looks whether OpenCV could.

    Raises:
        VideoError: if it is no regular file, or its frames have more than MAX_PIXELS; if it is a
            text, which FFmpeg may take for a list of other files and addresses to read.
        InvalidInputError: if its name is not UTF-8.
    """
    check_readable(path, VideoError)
    with parsing(f"'{shown(path)}' cannot be read", VideoError, 'check the file'), \
            Path(path).open('rb') as file:
        head = file.read(_HEAD_BYTES)
    if head and not head.translate(None, _TEXT):
        raise VideoError(f'{shown(path)}: is a text, not a video; give the videos that it names')
    capture = cv2.VideoCapture(opencv_path(path))
    try:
        check_pixels(round(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
                     round(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), MAX_PIXELS)
    except PictureError as error:
        raise VideoError(f'{shown(path)}: {error}') from error
    return capture


def opencv_path(path: str | Path) -> str:
    """Return the name under which OpenCV can open a file itself, as it must a video.

    It is absolute: FFmpeg takes `http:a.avi` for an address, and `12:30.mp4` for one it does not
    know.

    Raises:
        InvalidInputError: if the name is not UTF-8, of which OpenCV's Python module crashes.
    """
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(f'{shown(path)}: the name is not UTF-8, and OpenCV cannot open '
                                'such a file; rename it') from error
    return str(Path(path).absolute())


def data_uri(kind: str, data: bytes) -> str:
    """Return a file's content as what a page may hold in place of an address."""
    return f'data:{kind};base64,{base64.b64encode(data).decode()}'


def picture_size(data: bytes | memoryview) -> tuple[int, int] | None:
    """Return (height, width) of an encoded picture, without decoding it.

    Returns:
        None if the data are no JPEG, PNG, BMP, TIFF or WebP, or end before the size.
    """
    pillow.init()
    for open_header, accepts in (pillow.OPEN[each] for each in FORMATS):
        if accepts is None or accepts(bytes(data[:32])) is True:
            try:  # not `Image.open`, whose limit of pixels is not ours
                width, height = open_header(io.BytesIO(data), '').size
            except Exception:  # noqa: BLE001 - damaged headers break Pillow in many ways
                return None
            return height, width
    return None


def holds_more(data: bytes | memoryview) -> bool:
    """Whether a file has more pictures than the first, which is the one that is decoded.

    Pages of a TIFF, or the moments of an animated PNG or WebP.
    """
    view = memoryview(data).cast('B')
    head = bytes(view[:32])
    if head.startswith(_PNG):
        return b'acTL' in _png_chunks(view)
    if head[:4] == b'RIFF' and head[12:16] == b'VP8X':
        return bool(head[20] & 0x02)  # RFC 9649, section 2.7
    if head[:4] in (b'II*\0', b'MM\0*'):
        order: Any = 'little' if view[0] == ord('I') else 'big'
        place = int.from_bytes(view[4:8], order)
        place += 2 + 12 * int.from_bytes(view[place:place + 2], order)
        return any(view[place:place + 4])  # where the next directory is
    return False


def _is_cut_short(view: memoryview) -> bool:
    """Whether the end of a JPEG, PNG or WebP is missing; bytes after the end do not matter."""
    head = bytes(view[:12])
    if head.startswith(_JPEG):
        return _END_OF_IMAGE not in _jpeg_markers(view)
    if head.startswith(_PNG):
        return b'IEND' not in _png_chunks(view)
    return head[:4] == b'RIFF' and 8 + int.from_bytes(head[4:8], 'little') > len(view)


def _png_chunks(view: memoryview) -> Iterator[bytes]:
    """Yield the kind of each chunk that is there."""
    place = len(_PNG)
    while place + 12 <= len(view):
        yield bytes(view[place + 4:place + 8])
        place += 12 + _big(view[place:place + 4])


def _jpeg_markers(view: memoryview) -> Iterator[int]:
    """Yield the markers up to the end of the image or of the data."""
    place = 2
    while (found := _MARKER.search(view, place)) is not None:
        marker, place = found.group(1)[0], found.end()
        yield marker
        if marker == _END_OF_IMAGE:
            return
        if marker != 0x01:  # TEM, the only other one without a length
            place += _big(view[place:place + 2])


def _big(data: bytes | memoryview) -> int:
    return int.from_bytes(data, 'big')
