# SPDX-License-Identifier: Apache-2.0
"""Prompts and boxes are where the maps say, for every frame of a batch."""

import torch

from samg_ros.masking.frames.decoder_passes import least_similar_inside, mask_box, pick_prompts


def test_prompts_are_at_the_extremes_of_their_maps():
    similarity = torch.zeros(1, 3, 10, 20)
    similarity[0, 0, 4, 7] = 1
    similarity[0, 0, 9, 0] = -1
    similarity[0, 1, 2, 19] = 1
    similarity[0, 2, 0, 3] = 1
    prompts = pick_prompts(similarity)
    assert prompts.points.tolist() == [[[7, 4], [0, 9], [19, 2], [3, 0]]]
    assert prompts.labels.tolist() == [[1, 0, 1, 1]]


def test_box_is_tight_and_whole_frame_when_empty():
    masks = torch.zeros(2, 10, 20, dtype=torch.bool)
    masks[0, 3:6, 8:15] = True
    assert mask_box(masks).tolist() == [[8, 3, 14, 5], [0, 0, 19, 9]]


def test_least_similar_point_is_inside_its_own_box():
    similarity = torch.rand(2, 10, 20) + 1
    similarity[:, 0, 0] = -5  # outside of the first box, inside of the second
    similarity[0, 4, 9] = 0
    boxes = torch.tensor([[8, 3, 14, 5], [0, 0, 19, 9]])
    assert least_similar_inside(similarity, boxes).tolist() == [[[9, 4]], [[0, 0]]]
