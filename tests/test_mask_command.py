# SPDX-License-Identifier: Apache-2.0
"""`samg mask` on real files; the masks themselves are tests/masking's affair."""

import json

import cv2
import numpy as np
import pytest
from safetensors.torch import save_file

from samg_ros import cli, mask_command
from samg_ros.errors import InvalidInputError
from samg_ros.masking import Reference
from samg_ros.masking.models.mini.network import Mini


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """Untrained weights: every file is written, whatever is in it."""
    path = tmp_path_factory.mktemp('weights') / 'untrained.safetensors'
    save_file({key: value.contiguous() for key, value in Mini().state_dict().items()}, path)
    return path


@pytest.fixture(scope='module')
def reference(tmp_path_factory):
    image = np.full((84, 84, 3), 40, np.uint8)
    image[30:50, 30:50] = 220
    return Reference(image, image[..., 0] > 100).save(tmp_path_factory.mktemp('reference'))


def picture(path, height=84, width=84):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8))
    return path


def video(path, frames=10, height=64, width=96):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), 12, (width, height))
    for index in range(frames):
        writer.write(np.full((height, width, 3), 20 * index, np.uint8))
    writer.release()
    return path


@pytest.fixture(scope='module')
def masked(weights, reference, tmp_path_factory):
    """Mask an image, a folder and a video in one go; return the folder of inputs and results."""
    folder = tmp_path_factory.mktemp('masked')
    picture(folder / 'shots' / 'b.jpg', 60, 100)
    picture(folder / 'shots' / 'c.png')
    inputs = [picture(folder / 'a.png'), folder / 'shots', video(folder / 'd.mp4')]
    assert cli.main(['mask', *map(str, inputs), '--reference', str(reference), '--weights',
                     str(weights), '--out', str(folder / 'out'), '--batch', '4', '--write',
                     *mask_command.KINDS, '--json', str(folder / 'table.json')]) == 0
    return folder


def test_image_gives_mask_and_masked_image_that_agree(masked):
    image = cv2.imread(str(masked / 'a.png'))
    inside = cv2.imread(str(masked / 'out' / 'a_mask.png'), cv2.IMREAD_GRAYSCALE) > 127
    cut_out = cv2.imread(str(masked / 'out' / 'a_masked.png'))
    assert (cut_out[inside] == image[inside]).all()
    assert (cut_out[~inside] == 0).all()


def test_overlay_leaves_the_background_as_it_is(masked):
    image = cv2.imread(str(masked / 'a.png'))
    inside = cv2.imread(str(masked / 'out' / 'a_mask.png'), cv2.IMREAD_GRAYSCALE) > 127
    overlay = cv2.imread(str(masked / 'out' / 'a_overlay.png'))
    assert (overlay[~inside] == image[~inside]).all()
    assert (overlay[inside] != image[inside]).any(axis=-1).mean() > 0.9 or not inside.any()


def test_folder_keeps_its_name_and_its_images_their_sizes(masked):
    assert cv2.imread(str(masked / 'out' / 'shots' / 'b_mask.png')).shape == (60, 100, 3)
    assert cv2.imread(str(masked / 'out' / 'shots' / 'c_mask.png')).shape == (84, 84, 3)


def test_video_keeps_frames_size_and_rate(masked):
    written = cv2.VideoCapture(str(masked / 'out' / 'd_masked.mp4'))
    assert written.get(cv2.CAP_PROP_FRAME_COUNT) == 10
    assert written.get(cv2.CAP_PROP_FPS) == pytest.approx(12)
    assert written.get(cv2.CAP_PROP_FRAME_WIDTH) == 96


def test_table_has_a_row_for_every_input(masked):
    rows = json.loads((masked / 'table.json').read_text())['inputs']
    assert [row['frames'] for row in rows] == [1, 1, 1, 10]
    assert all(0 <= row['kept_share'] <= 1 for row in rows)


@pytest.mark.parametrize(('name', 'content', 'said'), [
    ('missing.png', None, 'no such file or folder'),
    ('notes.txt', b'hello', 'neither an image nor a video'),
    ('broken.png', b'hello', 'not a readable image'),
    ('broken.mp4', b'hello\0', 'not a video that OpenCV can read'),
    ('text.mp4', b'hello', 'is a text, not a video'),
])
def test_unusable_input_is_one_line_that_names_it(tmp_path, capsys, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert cli.main(['mask', str(tmp_path / name), '--reference', 'any', '--out', 'masks']) == 2
    error, = capsys.readouterr().err.splitlines()
    assert error.startswith('samg: error: ')
    assert name in error
    assert said in error


def test_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(InvalidInputError, match='no image or video'):
        mask_command.find_jobs([tmp_path], tmp_path / 'out')


def test_two_inputs_for_one_result_are_refused_before_any_work(tmp_path):
    inputs = [picture(tmp_path / 'one' / 'e.png'), picture(tmp_path / 'two' / 'e.png')]
    with pytest.raises(InvalidInputError, match='would both be written'):
        mask_command.find_jobs(inputs, tmp_path / 'out')


def test_an_input_is_not_replaced_by_a_result_of_another(tmp_path):
    inputs = [picture(tmp_path / name) for name in ('e.png', 'e_mask.png')]
    with pytest.raises(InvalidInputError, match='e_mask.png would be replaced by a result of'):
        mask_command.find_jobs(inputs, tmp_path)
    assert len(mask_command.find_jobs(inputs, tmp_path / 'out')) == 2


def test_batch_below_one_is_refused(capsys):
    assert cli.main(['mask', 'f.png', '--reference', 'any', '--out', 'masks', '--batch', '0']) == 2
    assert "--batch: '0': expected a whole number of at least 1" in capsys.readouterr().err


def mask(weights, reference, *arguments):
    return cli.main(['mask', *map(str, arguments), '--reference', str(reference), '--weights',
                     str(weights)])


def frames_of(path):
    capture, frames = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        frames.append(read[1])
    return frames


def test_a_damaged_frame_is_missing_but_not_those_after_it(weights, reference, tmp_path, capsys):
    writer = cv2.VideoWriter(str(tmp_path / 'v.mp4'), cv2.VideoWriter.fourcc(*'mp4v'), 12, (96, 64))
    rng = np.random.default_rng(0)
    for _ in range(40):
        writer.write(rng.integers(0, 255, (64, 96, 3), np.uint8))
    writer.release()
    data = bytearray((tmp_path / 'v.mp4').read_bytes())
    data[len(data) // 2:len(data) // 2 + 6000] = bytes(6000)
    (tmp_path / 'v.mp4').write_bytes(data)
    assert mask(weights, reference, tmp_path / 'v.mp4', '--out', tmp_path / 'out') == 1
    said = capsys.readouterr().out
    assert 'of the 40 frames that it announces cannot be read' in said
    assert 20 < len(frames_of(tmp_path / 'out' / 'v_mask.mp4')) < 40


def test_a_video_with_odd_sides_keeps_its_size(weights, reference, tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / 'v.avi'), cv2.CAP_OPENCV_MJPEG,
                             cv2.VideoWriter.fourcc(*'MJPG'), 12, (97, 65))
    for index in range(5):
        writer.write(np.full((65, 97, 3), 40 * index, np.uint8))
    writer.release()
    assert mask(weights, reference, tmp_path / 'v.avi', '--out', tmp_path / 'out') == 0
    frames = frames_of(tmp_path / 'out' / 'v_masked.avi')
    assert len(frames) == 5 and frames[0].shape == (65, 97, 3)


def test_what_was_not_written_is_missing(weights, reference, tmp_path, monkeypatch, capsys):
    class FullDisk:
        def __init__(self, path, *_):
            open(path, 'wb').close()

        def isOpened(self):
            return True

        def write(self, frame):
            pass

        release = isOpened

    source = video(tmp_path / 'v.mp4')
    monkeypatch.setattr(cv2, 'VideoWriter', FullDisk)
    FullDisk.fourcc = staticmethod(lambda *letters: 0)
    assert mask(weights, reference, source, '--out', tmp_path / 'out') == 1
    assert '0 of 10 frames can be read back' in capsys.readouterr().out


def test_one_bad_picture_of_a_folder_does_not_stop_the_others(weights, reference, tmp_path, capsys):
    picture(tmp_path / 'in' / 'a.png')
    (tmp_path / 'in' / 'b.jpg').write_bytes(picture(tmp_path / 'c.jpg').read_bytes()[:1500])
    (tmp_path / 'in' / 'd.png').write_bytes(b'hello')
    assert mask(weights, reference, tmp_path / 'in', '--out', tmp_path / 'out') == 1
    said = capsys.readouterr().out
    assert 'b.jpg: the image is cut short' in said and 'd.png: not a readable image' in said
    assert (tmp_path / 'out' / 'in' / 'a_mask.png').exists()


def test_a_kind_that_is_named_twice_is_written_once(weights, reference, tmp_path):
    source = video(tmp_path / 'v.mp4', 3)
    assert mask(weights, reference, source, '--out', tmp_path / 'out', '--write', 'mask',
                'mask') == 0
    assert len(frames_of(tmp_path / 'out' / 'v_mask.mp4')) == 3


def test_a_video_that_announces_frames_without_end_is_not_read_for_ever(weights, reference,
                                                                       tmp_path, capsys):
    path = tmp_path / 'v.avi'
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*'MJPG'), 12,
                             (96, 64))
    for index in range(5):
        writer.write(np.full((64, 96, 3), 40 * index, np.uint8))
    writer.release()
    data = bytearray(path.read_bytes())
    for header, place in ((b'avih', 24), (b'strh', 40)):  # dwTotalFrames and dwLength
        at = data.find(header) + place
        data[at:at + 4] = (2**31 - 1).to_bytes(4, 'little')
    path.write_bytes(data)
    assert mask(weights, reference, path, '--out', tmp_path / 'out') == 1
    assert 'frames that it announces cannot be read' in capsys.readouterr().out
    assert len(frames_of(tmp_path / 'out' / 'v_mask.mp4')) == 5


def test_what_was_interrupted_leaves_the_old_video_and_no_half_one(weights, reference, tmp_path,
                                                                   monkeypatch):
    source, out = video(tmp_path / 'v.mp4'), tmp_path / 'out'
    assert mask(weights, reference, source, '--out', out) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    calls = []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return pictures(*arguments)

    pictures = mask_command._pictures
    monkeypatch.setattr(mask_command, '_pictures', interrupted)
    assert mask(weights, reference, source, '--out', out, '--batch', '2') == 130
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_files_of_other_kinds_in_a_folder_are_counted(weights, reference, tmp_path, capsys):
    picture(tmp_path / 'in' / 'a.png')
    (tmp_path / 'in' / 'b.gif').write_bytes(b'GIF89a')
    assert mask(weights, reference, tmp_path / 'in', '--out', tmp_path / 'out') == 0
    assert '1 files of other kinds are left out' in capsys.readouterr().err


def test_results_whose_names_would_be_too_long_are_missing_and_the_others_there(
        weights, reference, tmp_path, capsys):
    long = picture(tmp_path / 'in' / 'b.png').rename(tmp_path / 'in' / f'{"a" * 251}.png')
    picture(tmp_path / 'in' / 'b.png')
    assert mask(weights, reference, tmp_path / 'in', '--out', tmp_path / 'out') == 1
    assert 'File name too long' in capsys.readouterr().out
    assert (tmp_path / 'out' / 'in' / 'b_mask.png').exists()
    assert mask(weights, reference, long, '--out', tmp_path / 'other') == 2
    assert not (tmp_path / 'other').exists()


@pytest.mark.parametrize('name', ['\u6f22' * 76 + '.png', '\u5b57' * 76 + '.mp4'],
                         ids=['picture', 'video'])
def test_names_of_many_signs_of_several_bytes_are_written(weights, reference, tmp_path, name):
    source = (video if name.endswith('mp4') else picture)(tmp_path / f'a{name[-4:]}')
    source = source.rename(tmp_path / name)
    assert mask(weights, reference, source, '--out', tmp_path / 'out', '--write', 'mask') == 0
    assert (tmp_path / 'out' / f'{source.stem}_mask{source.suffix}').exists()
