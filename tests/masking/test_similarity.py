# SPDX-License-Identifier: Apache-2.0
"""Reference features are what DESIGN 4 says."""

import pytest
import torch

from samg_ros.errors import EmptyMaskError
from samg_ros.masking.geometry import Geometry
from samg_ros.masking.models.base import Encoding, FeatureMap
from samg_ros.masking.similarity import (
    cell_mask,
    dense_similarity,
    mask_prompt,
    object_cells,
    point_feature,
    region_feature,
    similarity_maps,
)

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


def test_dense_matching_finds_every_part_of_an_object():
    geometry = Geometry(48, 48, 48, 48, 48, CPU)
    colours = torch.eye(3)
    reference = colours[2][:, None, None].repeat(1, 48, 48)
    reference[:, 10:20, 10:20], reference[:, 10:20, 20:22] = colours[0][:, None, None], \
        colours[1][:, None, None]
    mask = torch.zeros(48, 48, dtype=torch.bool)
    mask[10:20, 10:22] = True
    cells = object_cells(reference, mask)
    assert cells.shape == (64, 3)
    moved = FeatureMap(reference.roll((7, -3), (1, 2))[None], padded=True)
    found = dense_similarity(moved, cells[None], geometry)[0, 0]
    assert torch.equal(found > 0.5, mask.roll((7, -3), (0, 1)))


def test_the_mask_prompt_of_dense_matching_is_the_mean_of_both_maps():
    region, dense = torch.randn(2, 1, 8, 8)
    assert mask_prompt('off', region, dense) is None
    assert mask_prompt('region', region, None) is region
    torch.testing.assert_close(mask_prompt('dense', region, dense), (region + dense) / 2)


def test_a_frames_own_cell_is_its_most_similar_pixel():
    geometry = Geometry(96, 96, 96, 96, 48, CPU)
    maps = torch.randn(1, 256, 48, 48)  # of so many values no two cells are alike by chance
    feature = torch.nn.functional.normalize(maps[0, :, 30, 11], dim=0)
    found = similarity_maps(Encoding({'dino': FeatureMap(maps, True)}, ()),
                            {'dino': feature[None, None]}, geometry)[0, 0]
    y, x = divmod(int(found.argmax()), 96)
    assert (y // 2, x // 2) == (30, 11)
    assert found.max() <= 1 + 1e-5
