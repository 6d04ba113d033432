# SPDX-License-Identifier: Apache-2.0
"""Pictures that are damaged, cut short, too large or oddly named are errors, not frames."""

import os
import socket
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as pillow

from samg_ros.errors import OutputError, PictureError, VideoError
from samg_ros.files.pictures import (
    decode_picture,
    holds_more,
    open_video,
    opencv_path,
    picture_size,
    read_picture,
    shown,
    write_picture,
)

PICTURE = np.random.default_rng(0).integers(0, 255, (60, 82, 3), np.uint8)
ENDINGS = ('.jpg', '.png', '.bmp', '.tiff', '.webp')


def encoded(ending='.jpg', *parameters):
    return cv2.imencode(ending, PICTURE, list(parameters))[1].tobytes()


@pytest.mark.parametrize('ending', ENDINGS)
def test_size_is_known_without_decoding(ending):
    assert picture_size(encoded(ending)) == PICTURE.shape[:2]
    assert decode_picture(encoded(ending)).shape == PICTURE.shape


@pytest.mark.parametrize('parameters', [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
                                        (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)])
def test_a_jpeg_without_its_end_is_refused_and_bytes_after_the_end_are_not(parameters):
    whole = encoded('.jpg', *parameters)
    for length in (len(whole) // 2, len(whole) * 9 // 10, len(whole) - 1):
        with pytest.raises(PictureError, match='cut short'):
            decode_picture(whole[:length])
        with pytest.raises(PictureError, match='cut short'):
            decode_picture(whole[:length] + bytes(64))
    assert decode_picture(whole + bytes(64)).shape == PICTURE.shape


def test_the_end_of_a_preview_inside_a_jpeg_is_not_its_end():
    preview = encoded()
    block = b'\xff\xe1' + struct.pack('>H', len(preview[:2000]) + 4) + preview[:1998] + b'\xff\xd9'
    whole = preview[:2] + block + preview[2:]
    assert decode_picture(whole).shape == PICTURE.shape
    with pytest.raises(PictureError, match='cut short'):
        decode_picture(whole[:len(whole) * 2 // 3])


@pytest.mark.parametrize('ending', ['.png', '.webp'])
def test_half_a_file_is_refused(ending):
    whole = encoded(ending)
    with pytest.raises(PictureError):
        decode_picture(whole[:len(whole) // 2])


def huge_png(side):
    """A PNG of a few bytes that announces side x side pixels."""
    def chunk(name, data):
        return struct.pack('>I', len(data)) + name + data + struct.pack(
            '>I', zlib.crc32(name + data))
    header = struct.pack('>IIBBBBB', side, side, 8, 2, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(b'')) \
        + chunk(b'IEND', b'')


def test_a_picture_above_the_limit_is_not_decoded():
    with pytest.raises(PictureError, match='20000 x 20000 pixels, more than max_pixels'):
        decode_picture(huge_png(20000))
    with pytest.raises(PictureError, match='max_pixels 1000'):
        decode_picture(encoded(), max_pixels=1000)


def test_random_bytes_and_damaged_files_raise_only_picture_errors():
    rng = np.random.default_rng(1)
    for ending in ENDINGS:
        whole = encoded(ending)
        for _ in range(60):
            data = bytearray(whole[:rng.integers(1, len(whole) + 1)])
            for place in rng.integers(0, min(len(data), 200), 3):
                data[place] = rng.integers(0, 256)
            try:
                decode_picture(bytes(data))
            except PictureError as error:
                assert '\n' not in str(error)


def test_names_that_are_not_utf8_are_read_written_and_shown(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b'/caf\xe9.png'))
    write_picture(path, PICTURE)
    assert (read_picture(path) == PICTURE).all()
    assert shown(path).endswith('caf\\xe9.png')
    shown(path).encode()
    with pytest.raises(Exception, match='not UTF-8'):
        opencv_path(path)


def test_names_that_control_a_terminal_are_shown_escaped():
    assert shown('a\nb\x1b[31m\x9b\u202e.png') == 'a\\nb\\x1b[31m\\x9b\\u202e.png'


def test_a_video_whose_name_is_an_address_is_read_from_its_file(tmp_path, monkeypatch):
    with socket.create_server(('127.0.0.1', 0)) as server:
        server.setblocking(False)
        name = f'http:127.0.0.1:{server.getsockname()[1]}.avi'
        writer = cv2.VideoWriter(str(tmp_path / 'a.avi'), cv2.VideoWriter.fourcc(*'MJPG'), 10,
                                 PICTURE.shape[1::-1])
        writer.write(PICTURE)
        writer.release()
        (tmp_path / 'a.avi').rename(tmp_path / name)
        monkeypatch.chdir(tmp_path)
        capture = open_video(name)
        assert capture.read()[0] and capture.getBackendName() == 'FFMPEG'
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize('text', ["ffconcat version 1.0\nfile 'b.avi'\n", 'v=0\r\nm=video',
                                  '#EXTM3U\n#EXTINF:10,\nfile:///b.avi\n'])
def test_a_text_that_names_other_videos_is_none(tmp_path, text):
    (tmp_path / 'a.avi').write_text(text)
    with pytest.raises(VideoError, match='is a text, not a video'):
        open_video(tmp_path / 'a.avi')


def test_errors_name_the_file(tmp_path):
    broken = tmp_path / 'broken.jpg'
    broken.write_bytes(encoded()[:900])
    for path in (broken, tmp_path / 'missing.png', tmp_path):
        with pytest.raises(PictureError, match=path.name):
            read_picture(path)
    (tmp_path / 'file').touch()
    with pytest.raises(OutputError, match='file'):
        write_picture(tmp_path / 'file' / 'a.png', PICTURE)


@pytest.mark.parametrize(('read', 'error'), [(read_picture, PictureError),
                                             (open_video, VideoError)])
def test_a_pipe_is_no_picture_and_no_video(tmp_path, read, error):
    pipe = tmp_path / 'pipe.mp4'
    os.mkfifo(pipe)
    with pytest.raises(error, match='is not a regular file'):
        read(pipe)


def test_a_file_of_several_pictures_is_told_from_one(tmp_path):
    pictures = [np.full((20, 20, 3), value, np.uint8) for value in (0, 90)]
    for name, kept in (('a.tif', pictures), ('b.tif', pictures[:1])):
        assert cv2.imwritemulti(str(tmp_path / name), kept)
        assert holds_more((tmp_path / name).read_bytes()) == (len(kept) > 1)
    frames = [pillow.fromarray(each) for each in pictures]
    for name in ('a.png', 'a.webp'):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        frames[0].save(tmp_path / f'one_{name}')
        assert holds_more((tmp_path / name).read_bytes())
        assert not holds_more((tmp_path / f'one_{name}').read_bytes())
    assert not holds_more(cv2.imencode('.jpg', pictures[0])[1].tobytes())
