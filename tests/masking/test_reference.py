# SPDX-License-Identifier: Apache-2.0
"""A reference survives the disk, and says what is wrong with a bad one."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from samg_ros.errors import EmptyMaskError, InvalidInputError, ReferenceLoadError
from samg_ros.masking import Reference


@pytest.fixture
def reference():
    rng = np.random.default_rng(0)
    mask = np.zeros((40, 60), bool)
    mask[10:30, 20:50] = True
    part = mask.copy()
    part[:, 30:] = False
    return Reference(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8), mask, (part,),
                     np.array([[22.0, 12.5], [40.0, 20.0]]), 'a test')


def test_saved_reference_loads_the_same(reference, tmp_path):
    loaded = Reference.load(reference.save(tmp_path / 'r'))
    np.testing.assert_array_equal(loaded.image, reference.image)
    np.testing.assert_array_equal(loaded.mask, reference.mask)
    np.testing.assert_array_equal(loaded.parts[0], reference.parts[0])
    np.testing.assert_array_equal(loaded.points, reference.points)
    assert loaded.source == 'a test'


def test_many_parts_keep_their_order(reference, tmp_path):
    parts = []
    for row in range(12):
        parts.append(np.zeros_like(reference.mask))
        parts[-1][row] = True
    replace(reference, mask=np.any(parts, axis=0), parts=tuple(parts)).save(tmp_path)
    assert [int(part.any(axis=1).argmax()) for part in Reference.load(tmp_path).parts] == [
        *range(12)]


def test_saving_over_a_reference_with_more_parts_leaves_none_behind(reference, tmp_path):
    reference.save(tmp_path / 'r')
    Reference(reference.image, reference.mask).save(tmp_path / 'r', overwrite=True)
    assert Reference.load(tmp_path / 'r').parts == ()


@pytest.mark.parametrize('task, parts', [('walker', 0), ('cartpole', 0), ('cheetah', 0),
                                         ('finger', 2), ('ball_in_cup', 2)])
def test_public_references_load(shared_data, task, parts):
    loaded = Reference.load(shared_data / 'samg_references' / f'{task}_0.png')
    assert loaded.image.shape == (84, 84, 3)
    assert len(loaded.parts) == parts
    assert 0.003 < loaded.mask.mean() < 0.2
    for part in loaded.parts:
        assert (part & loaded.mask).sum() > 0.8 * part.sum()


def test_empty_mask_is_refused(reference):
    with pytest.raises(EmptyMaskError, match='marks no pixel'):
        Reference(reference.image, np.zeros((40, 60), bool))


def test_black_mask_file_is_refused(reference, tmp_path):
    folder = reference.save(tmp_path)
    cv2.imwrite(str(folder / 'mask.png'), np.zeros((40, 60), np.uint8))
    with pytest.raises(EmptyMaskError, match='mask'):
        Reference.load(folder)


@pytest.mark.parametrize('points', [[[60, 0]], [[0, -1]], [[np.nan, 3]], [[1, 2, 3]]])
def test_bad_points_are_refused(reference, points):
    with pytest.raises(InvalidInputError, match='points'):
        Reference(reference.image, reference.mask, points=np.array(points))


def test_mask_of_another_size_is_refused(reference):
    with pytest.raises(InvalidInputError, match='as large as the image'):
        Reference(reference.image, reference.mask[1:])


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(ReferenceLoadError, match='nowhere.*samg reference render'):
        Reference.load(tmp_path / 'nowhere')


def test_missing_mask_is_named(reference, tmp_path):
    (reference.save(tmp_path) / 'mask.png').unlink()
    with pytest.raises(ReferenceLoadError, match='mask.png'):
        Reference.load(tmp_path)


@pytest.mark.parametrize('text', ['points: [[a, b]]', 'points: [1, 2', '- a list'])
def test_broken_yaml_is_named(reference, tmp_path, text):
    (reference.save(tmp_path) / 'reference.yaml').write_text(text)
    with pytest.raises(ReferenceLoadError, match='reference.yaml'):
        Reference.load(tmp_path)


def test_unreadable_image_is_named(reference, tmp_path):
    (reference.save(tmp_path) / 'image.png').write_bytes(b'not a picture')
    with pytest.raises(ReferenceLoadError, match='image.png'):
        Reference.load(tmp_path)
