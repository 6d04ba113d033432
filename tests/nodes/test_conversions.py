# SPDX-License-Identifier: Apache-2.0
import array
import importlib.util

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from samg_ros.errors import EncodingError, InvalidInputError
from samg_ros.nodes.conversions import (
    ENCODINGS,
    array_to_image,
    image_to_mask,
    image_to_mono,
    image_to_rgb,
    mask_to_image,
)

HEADER = Header(stamp=Time(sec=3, nanosec=4), frame_id='wrist_optical')
CHANNELS = {'rgb8': 3, 'bgr8': 3, 'rgba8': 4, 'bgra8': 4, 'mono8': 1}


def pixels_of(encoding: str, height: int = 5, width: int = 7) -> np.ndarray:
    shape = (height, width, CHANNELS[encoding])
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return pixels[:, :, 0] if encoding == 'mono8' else pixels


def expected_rgb(encoding: str, pixels: np.ndarray) -> np.ndarray:
    if encoding == 'mono8':
        return np.stack([pixels] * 3, axis=-1)
    rgb = pixels[:, :, :3]
    return rgb[:, :, ::-1] if encoding.startswith('bgr') else rgb


def padded(message: Image, padding: int) -> Image:
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    rows = np.hstack([rows, np.full((message.height, padding), 99, np.uint8)])
    message.step += padding
    message.data = array.array('B', rows.tobytes())
    return message


@pytest.mark.parametrize('encoding', ENCODINGS)
@pytest.mark.parametrize('padding', [0, 5])
def test_every_encoding_gives_the_same_colours_with_and_without_row_padding(encoding, padding):
    pixels = pixels_of(encoding)
    message = padded(array_to_image(pixels, HEADER, encoding), padding)
    assert np.array_equal(image_to_rgb(message), expected_rgb(encoding, pixels))


def test_last_row_may_lack_its_padding():
    message = padded(array_to_image(pixels_of('rgb8'), HEADER), 5)
    message.data = message.data[:-5]
    assert np.array_equal(image_to_rgb(message), pixels_of('rgb8'))


def test_header_is_carried_as_it_is():
    message = array_to_image(pixels_of('rgb8'), HEADER)
    assert message.header == HEADER
    assert (message.height, message.width, message.step) == (5, 7, 21)


def test_a_strided_array_is_written_in_its_own_order():
    pixels = pixels_of('rgb8')[::-1, ::2]
    assert np.array_equal(image_to_rgb(array_to_image(pixels, HEADER)), pixels)


def test_mask_round_trip():
    mask = np.random.default_rng(1).random((6, 9)) > 0.5
    message = mask_to_image(mask, HEADER)
    assert message.encoding == 'mono8' and set(message.data) == {0, 255}
    assert np.array_equal(image_to_mask(message), mask)


@pytest.mark.skipif(importlib.util.find_spec('cv_bridge') is not None,
                    reason='cv_bridge converts more encodings')
def test_unknown_encoding_is_named():
    message = array_to_image(pixels_of('rgb8'), HEADER)
    message.encoding = 'bayer_rggb8'
    with pytest.raises(EncodingError, match="'bayer_rggb8'.*rgb8.*cv_bridge"):
        image_to_rgb(message)


def test_a_colour_image_is_no_mask():
    with pytest.raises(EncodingError, match="'rgb8' is not a mask"):
        image_to_mono(array_to_image(pixels_of('rgb8'), HEADER))


@pytest.mark.parametrize('change', [
    {'height': 0}, {'width': 0}, {'step': 20}, {'height': 6}, {'width': 8, 'step': 24},
    {'data': array.array('B')}])
def test_a_header_that_does_not_fit_the_data_is_refused(change):
    message = array_to_image(pixels_of('rgb8'), HEADER)
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(InvalidInputError):
        image_to_rgb(message)


@pytest.mark.parametrize('pixels, encoding, error', [
    (np.zeros((4, 4, 3), np.float32), None, InvalidInputError),
    (np.zeros(4, np.uint8), None, InvalidInputError),
    (np.zeros((4, 4, 2), np.uint8), None, EncodingError),
    (np.zeros((4, 4, 3), np.uint8), 'mono8', EncodingError),
    (np.zeros((4, 4, 3), np.uint8), 'yuv422', EncodingError)])
def test_an_array_that_is_no_image_is_refused(pixels, encoding, error):
    with pytest.raises(error):
        array_to_image(pixels, HEADER, encoding)
