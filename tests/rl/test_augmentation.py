# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from samg_ros.errors import InvalidInputError
from samg_ros.rl.agents.augmentation import shift, shift_offsets


@pytest.mark.parametrize('dtype', [torch.uint8, torch.float32])
def test_shift_equals_padding_with_the_border_and_cropping(dtype):
    pad = 3
    pixels = torch.randint(0, 256, (20, 9, 14, 17), dtype=torch.uint8).to(dtype)
    offsets = shift_offsets(20, pad, torch.Generator().manual_seed(1))
    shifted = shift(pixels, offsets, pad)
    padded = np.pad(pixels.numpy(), ((0, 0), (0, 0), (pad, pad), (pad, pad)), mode='edge')
    for i, (row, column) in enumerate(offsets.tolist()):
        expected = padded[i, :, row : row + 14, column : column + 17]
        np.testing.assert_array_equal(shifted[i].numpy(), expected)
    assert shifted.dtype == dtype


def test_the_middle_offset_shifts_nothing():
    pixels = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(shift(pixels, torch.full((2, 2), 4), 4), pixels)


def test_offsets_cover_every_shift():
    offsets = shift_offsets(2000, 2, torch.Generator().manual_seed(0))
    assert sorted(set(offsets[:, 0].tolist())) == [0, 1, 2, 3, 4]
    assert len({tuple(pair) for pair in offsets.tolist()}) == 25


def test_offsets_of_another_batch_are_refused():
    with pytest.raises(InvalidInputError, match=r'\(N, 2\)'):
        shift(torch.zeros(3, 3, 8, 8), torch.zeros(2, 2, dtype=torch.long), 4)
