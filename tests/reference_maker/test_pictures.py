# SPDX-License-Identifier: Apache-2.0
import struct
import zlib

import cv2
import numpy as np
import pytest

from samg_ros.errors import InvalidInputError, SamgError, VideoError
from samg_ros.masking import Reference
from samg_ros.reference_maker.advice import advice, cut_off_sides, shared_colours
from samg_ros.reference_maker.pictures import MOST_SIDE, decode_picture, mask_png
from samg_ros.reference_maker.sources import VideoFrames, open_source, spread_frames


def png(image):
    return cv2.imencode('.png', image[..., ::-1])[1].tobytes()


def png_header(width, height):
    """The beginning of a PNG of that size, and nothing of its pixels."""
    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I',
                                                                        zlib.crc32(kind + data))
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0,
                                                           0)) + chunk(b'IDAT', b'')


@pytest.mark.parametrize(('data', 'said'), [
    (b'', 'empty'), (b'hello', 'not a picture'), (png_header(10_000, 10_000), '100 megapixels'),
    (png_header(64, 64), 'cut short'), (png_header(4, 4), 'at least 16'),
    (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 'not a picture')])
def test_what_is_no_picture_is_refused_with_a_reason(data, said):
    with pytest.raises(InvalidInputError, match=said) as caught:
        decode_picture(data, 'holiday.jpg')
    assert str(caught.value).startswith('holiday.jpg: ')


def test_half_a_jpeg_is_refused_by_every_opencv(scene):
    data = cv2.imencode('.jpg', scene[0])[1].tobytes()
    with pytest.raises(InvalidInputError, match='holiday.jpg: the image is cut short'):
        decode_picture(data[:len(data) // 2], 'holiday.jpg')


def test_a_picture_comes_back_as_it_was(scene):
    assert (decode_picture(png(scene[0]), 'x') == scene[0]).all()


def test_a_large_photo_is_made_smaller():
    image = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    image = cv2.resize(image, (4000, 3000))
    found = decode_picture(cv2.imencode('.jpg', image)[1].tobytes(), 'x')
    assert found.shape == (960, MOST_SIDE, 3)


def test_a_mask_as_png_is_opaque_on_the_object_only(scene):
    found = cv2.imdecode(np.frombuffer(mask_png(scene[1]), np.uint8), cv2.IMREAD_UNCHANGED)
    opaque = found[..., -1] if found.ndim == 3 else found
    assert ((opaque > 0) == scene[1]).all()


@pytest.fixture
def video(tmp_path):
    path = tmp_path / 'clip.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 10, (64, 48))
    for value in range(20):
        writer.write(np.full((48, 64, 3), 12 * value, np.uint8))
    writer.release()
    return path


def test_frames_of_a_video_are_found_by_number(video):
    frames = VideoFrames(video)
    assert frames.count == 20
    assert [round(float(frames.frame(i).mean()) / 12) for i in (0, 7, 19)] == [0, 7, 19]
    assert len(spread_frames(frames, 6)) == 6
    for wrong in (-1, 20, True, 'x', None):
        with pytest.raises(InvalidInputError, match='frames 0 to 19'):
            frames.frame(wrong)


def test_frames_of_a_bag_are_found_by_number(tmp_path):
    from tests.bags.conftest import scene as moment, session, write

    write(tmp_path / 'bag', session())
    frames = open_source(tmp_path / 'bag')
    assert frames.count == 12 and '/camera/image_raw' in frames.name
    assert all((frames.frame(i) == moment(i)[0]).all() for i in (0, 5, 11))
    with pytest.raises(SamgError, match='/nothing'):
        open_source(tmp_path / 'bag', '/nothing')


@pytest.mark.parametrize('content', [b'', b'hello\0', 'cut'])
def test_a_video_of_no_frames_is_refused(tmp_path, video, content):
    path = tmp_path / 'empty.mp4'
    path.write_bytes(video.read_bytes()[:300] if content == 'cut' else content)
    with pytest.raises(VideoError, match=r'empty.mp4: no frame'):
        VideoFrames(path)


def test_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SamgError, match='no such file'):
        open_source(tmp_path / 'nothing')


def test_weak_references_are_told(scene):
    image, truth = scene
    assert advice(Reference(image, truth), 48) == []
    small = np.zeros_like(truth)
    small[100:110, 100:110] = True
    assert 'small' in advice(Reference(image, small), 48)[0]
    cut = np.roll(truth, 110, 1)
    cut[:, :100] = False
    assert cut_off_sides(cut) == ['right']
    plain = np.full_like(image, 120)
    assert shared_colours(plain, truth) == pytest.approx(1)
    assert any('colours' in one for one in advice(Reference(plain, truth), 48))
