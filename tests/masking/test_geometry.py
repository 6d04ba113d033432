# SPDX-License-Identifier: Apache-2.0
"""The resizing matrices equal the chain of resizes they stand for."""

import pytest
import torch
from torch.nn import functional as F

from samg_ros.masking.geometry import Geometry

CPU = torch.device('cpu')


def resize(maps, size):
    return F.interpolate(maps, size, mode='bilinear', align_corners=False)


@pytest.mark.parametrize('height, width', [(84, 84), (480, 640), (200, 64)])
def test_padded_maps_take_the_public_codes_way_to_the_frame(height, width):
    geometry = Geometry(height, width, 1024, 256, 64, CPU)
    maps = torch.randn(2, 3, 64, 64)
    rows, columns = geometry.input_size
    plain = resize(resize(maps, (256, 256)), (1024, 1024))[..., :rows, :columns]
    plain = resize(plain, (height, width))
    torch.testing.assert_close(geometry.padded_to_frame(maps), plain, rtol=1e-4, atol=1e-5)


def test_stretched_maps_cover_the_whole_frame():
    geometry = Geometry(48, 96, 1024, 256, 32, CPU)
    maps = torch.randn(1, 1, 32, 32)
    plain = resize(resize(resize(maps, (256, 256)), (1024, 1024)), (48, 96))
    torch.testing.assert_close(geometry.stretched_to_frame(maps), plain, rtol=1e-4, atol=1e-5)


def test_mask_prompt_is_zero_in_the_padding():
    geometry = Geometry(48, 96, 1024, 256, 64, CPU)
    mask = geometry.frame_to_mask(torch.ones(1, 48, 96))
    assert mask.shape == (1, 256, 256)
    torch.testing.assert_close(mask[0, :128], torch.ones(128, 256))
    assert (mask[0, 128:] == 0).all()


def test_prompt_scale_follows_the_longer_side():
    geometry = Geometry(480, 640, 1024, 256, 64, CPU)
    assert geometry.input_size == (768, 1024)
    torch.testing.assert_close(geometry.prompt_scale, torch.tensor([1.6, 1.6, 1.6, 1.6]))
