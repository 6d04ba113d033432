# SPDX-License-Identifier: Apache-2.0
"""MobileSAM against what its authors' code answered (author_answers.py says how)."""

import numpy as np
import pytest
import torch
from author_answers import FOLDER, compare_with_authors, official_layout, official_state

from samg_ros.errors import WeightsError
from samg_ros.masking.models.mobile_sam import (
    INPUT_SIZE,
    UNUSED,
    MobileSam,
    load_mobile_sam,
    official_name,
)

pytest.importorskip('timm')
pytest.importorskip('segment_anything')


def test_the_parameters_are_those_of_the_authors_without_the_classifier():
    with torch.device('meta'):
        state = MobileSam().state_dict()
    wanted = {key: shape for key, shape in official_layout('mobile-sam').items()
              if not key.startswith(UNUSED)}
    assert len(wanted) == len(official_layout('mobile-sam')) - 4
    assert {official_name(key): tuple(value.shape) for key, value in state.items()} == wanted


def test_a_frame_in_a_batch_gets_what_the_authors_give_it_alone(tmp_path):
    torch.save(official_state(official_layout('mobile-sam')), tmp_path / 'mobile_sam.pt')
    model = load_mobile_sam('mobile-sam', tmp_path / 'mobile_sam.pt').eval()
    compare_with_authors(model, np.load(FOLDER / 'mobile-sam.npz'), INPUT_SIZE)


def test_missing_and_unexpected_keys_go_by_their_official_names(tmp_path):
    state = {key: torch.zeros(shape)
             for key, shape in official_layout('mobile-sam').items()}
    del state['image_encoder.patch_embed.seq.2.c.weight']
    state['image_encoder.layers.3.downsample.conv1.c.weight'] = torch.zeros(3)
    torch.save(state, tmp_path / 'mobile_sam.pt')
    with pytest.raises(WeightsError, match=(
            'missing image_encoder.patch_embed.seq.2.c.weight; '
            'unexpected image_encoder.layers.3.downsample.conv1.c.weight')):
        load_mobile_sam('mobile-sam', tmp_path / 'mobile_sam.pt')


def test_without_a_file_it_says_what_to_give():
    with pytest.raises(WeightsError, match='mobile-sam=/path'):
        load_mobile_sam('mobile-sam', None)
