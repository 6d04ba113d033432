# SPDX-License-Identifier: Apache-2.0
"""Reference features are what DESIGN 4 says."""

import pytest
import torch

from samg_ros.errors import EmptyMaskError
from samg_ros.masking.frames.similarity import (
    cell_mask,
    point_feature,
    region_feature,
    similarity_maps,
)
from samg_ros.masking.geometry import Geometry
from samg_ros.masking.models.base import Encoding, FeatureMap

CPU = torch.device('cpu')


def test_region_feature_is_the_mean_of_mean_and_maximum():
    features = torch.randn(5, 4, 4)
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[1, 2] = mask[3, 0] = True
    a, b = features[:, 1, 2], features[:, 3, 0]
    expected = (torch.stack([a, b]).mean(0) + torch.maximum(a, b)) / 2
    torch.testing.assert_close(region_feature(features, mask), expected / expected.norm())


def test_region_feature_of_no_cell_is_an_error():
    with pytest.raises(EmptyMaskError):
        region_feature(torch.randn(5, 4, 4), torch.zeros(4, 4, dtype=torch.bool))


def test_point_feature_is_bilinear_without_a_half_cell_shift():
    features = torch.randn(5, 4, 4)
    expected = 0.75 * (0.5 * features[:, 1, 2] + 0.5 * features[:, 1, 3]) \
        + 0.25 * (0.5 * features[:, 2, 2] + 0.5 * features[:, 2, 3])
    torch.testing.assert_close(point_feature(features, 2.5, 1.25), expected / expected.norm())


def test_point_in_the_last_cell_reads_that_cell():
    features = torch.randn(5, 4, 4)
    torch.testing.assert_close(point_feature(features, 3.9, 3.9),
                               features[:, 3, 3] / features[:, 3, 3].norm())


def test_a_region_thinner_than_a_cell_keeps_its_cells():
    geometry = Geometry(84, 84, 96, 96, 24, CPU)
    mask = torch.zeros(84, 84, dtype=torch.bool)
    mask[:, 40] = True
    cells = cell_mask(mask, FeatureMap(torch.zeros(1, 1, 24, 24), padded=True), geometry)
    assert cells.any(dim=1).all()
    assert cells.sum() <= 2 * 24


def test_a_frames_own_cell_is_its_most_similar_pixel():
    geometry = Geometry(96, 96, 96, 96, 48, CPU)
    maps = torch.randn(1, 256, 48, 48)  # of so many values no two cells are alike by chance
    feature = torch.nn.functional.normalize(maps[0, :, 30, 11], dim=0)
    found = similarity_maps(Encoding({'dino': FeatureMap(maps, True)}, (), maps),
                            {'dino': feature[None, None]}, geometry)[0, 0]
    y, x = divmod(int(found.argmax()), 96)
    assert (y // 2, x // 2) == (30, 11)
    assert found.max() <= 1 + 1e-5
