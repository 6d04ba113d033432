# SPDX-License-Identifier: Apache-2.0
"""Masks as other tools save them: read where it is clear what is the object, else refused."""

import cv2
import numpy as np
import pytest

from samg_ros.errors import SamgError
from samg_ros.masking import Reference

INSIDE = np.zeros((40, 40), bool)
INSIDE[10:20, 10:25] = True
WHERE = INSIDE[..., None]


def folder_with(tmp_path, mask):
    cv2.imwrite(str(tmp_path / 'image.png'), np.full((40, 40, 3), 90, np.uint8))
    cv2.imwrite(str(tmp_path / 'mask.png'), mask)
    return tmp_path


@pytest.mark.parametrize('mask', [
    INSIDE * np.uint8(255), INSIDE * np.uint8(1), INSIDE * np.uint8(38),
    INSIDE * np.uint16(65535), INSIDE * np.uint16(1),
    np.where(WHERE, np.uint8([0, 0, 128]), np.uint8(0)),
    np.concatenate([np.where(WHERE, np.uint8([255, 255, 255]), np.uint8(0)),
                    np.full((40, 40, 1), 255, np.uint8)], axis=2)],
    ids=['white', 'one', 'grey', 'sixteen bits', 'sixteen bits of one', 'coloured', 'opaque'])
def test_a_mask_of_two_values_is_read(tmp_path, mask):
    assert (Reference.load(folder_with(tmp_path, mask)).mask == INSIDE).all()


@pytest.mark.parametrize(('mask', 'said'), [
    (np.where(INSIDE, 3, 2).astype(np.uint8), r'\[2, 3\]'),
    (np.arange(1600).reshape(40, 40).astype(np.uint16), '1600 values from 0 to 1599'),
    (np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8), 'colours'),
])
def test_an_unclear_mask_is_refused_with_its_values(tmp_path, mask, said):
    with pytest.raises(SamgError, match=said):
        Reference.load(folder_with(tmp_path, mask))


@pytest.mark.parametrize('mask', [~INSIDE * np.uint8(255), ~INSIDE * np.uint8(1)])
def test_a_mask_with_white_and_black_exchanged_is_refused(tmp_path, mask):
    with pytest.raises(SamgError, match='marks the whole edge .* make the object white'):
        Reference.load(folder_with(tmp_path, mask))
