# SPDX-License-Identifier: Apache-2.0
import array
import importlib.util

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from samg_ros.errors import EncodingError, InvalidInputError
from samg_ros.ros.messages.images import (
    WRITABLE,
    array_to_compressed,
    array_to_image,
    compressed_to_rgb,
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


@pytest.mark.parametrize('encoding', WRITABLE)
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
    message.encoding = '32FC1'
    with pytest.raises(EncodingError, match="'32FC1'.*rgb8.*cv_bridge"):
        image_to_rgb(message)


def raw(encoding, data, width, **fields):
    """A message of (H, bytes per row) uint8 data."""
    return Image(header=HEADER, encoding=encoding, height=len(data), width=width,
                 step=data.shape[1], data=array.array('B', data.tobytes()), **fields)


@pytest.mark.parametrize('bayer', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_a_mosaic_of_one_colour_gives_that_colour(bayer):
    colour = {'r': 200, 'g': 120, 'b': 30}
    tile = np.array([colour[letter] for letter in bayer], np.uint8).reshape(2, 2)
    rgb = image_to_rgb(raw(f'bayer_{bayer}8', np.tile(tile, (8, 10)), 20))
    assert rgb.shape == (16, 20, 3)
    assert np.array_equal(np.unique(rgb.reshape(-1, 3), axis=0), [[200, 120, 30]])


@pytest.mark.parametrize('encoding, order', [
    ('yuv422', (1, 0, 3, 2)), ('uyvy', (1, 0, 3, 2)), ('yuv422_yuy2', (0, 1, 2, 3)),
    ('yuyv', (0, 1, 2, 3))])
def test_yuv_is_turned_as_bt601_says(encoding, order):
    two_pixels = np.array([150, 90, 60, 170], np.uint8)  # Y0 U Y1 V
    rgb = image_to_rgb(raw(encoding, np.tile(two_pixels[list(order)], (6, 4)), 8))
    for column, y in ((0, 150), (1, 60)):
        u, v, luma = 90 - 128, 170 - 128, 1.164 * (y - 16)
        expected = np.clip([luma + 1.596 * v, luma - 0.813 * v - 0.391 * u, luma + 2.018 * u],
                           0, 255)
        assert np.abs(rgb[:, column::2].astype(float) - expected).max() <= 1


@pytest.mark.parametrize('order', ['<u2', '>u2'])
@pytest.mark.parametrize('padding', [0, 6])
def test_sixteen_bits_become_eight_by_scaling(order, padding):
    values = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16).repeat(3, 0)
    message = padded(raw('mono16', values.astype(order).view(np.uint8), 6,
                         is_bigendian=order == '>u2'), padding)
    assert np.array_equal(image_to_rgb(message)[1, :, 0], [0, 0, 1, 1, 128, 255])


def test_a_yuv_image_of_odd_width_is_refused():
    with pytest.raises(InvalidInputError, match='4 x 5.*yuv422'):
        image_to_rgb(raw('yuv422', np.zeros((4, 10), np.uint8), 5))


def compressed(pixels, extension, form):
    return CompressedImage(header=HEADER, format=form,
                           data=array.array('B', cv2.imencode(extension, pixels)[1].tobytes()))


@pytest.mark.parametrize('form, swapped', [
    ('png', False), ('rgb8; png compressed bgr8', False), ('bgr8; png compressed bgr8', False),
    ('rgb8; png compressed rgb8', True)])
def test_a_compressed_image_gives_its_colours(form, swapped):
    rgb = pixels_of('rgb8', 16, 20)
    given = compressed(rgb if swapped else rgb[..., ::-1], '.png', form)
    assert np.array_equal(compressed_to_rgb(given), rgb)


def test_a_jpeg_is_close_to_what_it_was_made_of():
    rgb = np.full((16, 16, 3), (200, 40, 90), np.uint8)
    message = array_to_compressed(rgb, HEADER, 95)
    assert np.abs(compressed_to_rgb(message).astype(int) - rgb).max() < 6


@pytest.mark.parametrize('pixels, form', [
    (np.full((16, 16), 90, np.uint8), 'mono8; jpeg compressed '),
    (np.full((16, 16), 90 * 257, np.uint16), 'mono16; png compressed '),
    (np.full((16, 16, 4), 90, np.uint8), 'png'),
    (np.full((16, 16), 90, np.uint8), 'bayer_rggb8; png compressed ')])
def test_grey_deep_transparent_and_mosaic_pictures_are_decoded(pixels, form):
    extension = '.jpg' if 'jpeg' in form else '.png'
    assert np.array_equal(compressed_to_rgb(compressed(pixels, extension, form)),
                          np.full((16, 16, 3), 90))


@pytest.mark.parametrize('form, data', [
    ('jpeg', b''), ('jpeg', b'no picture'), ('tiff', b'II*'), ('16UC1; compressedDepth png', b'x'),
    ('', b'')])
def test_what_is_no_compressed_picture_is_refused(form, data):
    with pytest.raises(EncodingError):
        compressed_to_rgb(CompressedImage(format=form, data=array.array('B', data)))


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
