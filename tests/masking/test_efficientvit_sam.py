# SPDX-License-Identifier: Apache-2.0
"""EfficientViT-SAM against what its authors' code answered (author_answers.py says how)."""

import numpy as np
import pytest
import torch
from author_answers import FOLDER, compare_with_authors, official_layout, official_state

from samg_ros.errors import WeightsError
from samg_ros.masking.models.efficientvit_sam import (
    ARCHITECTURES,
    INPUT_SIZE,
    EfficientViTEncoder,
    EfficientViTSam,
    load_efficientvit_sam,
    official_name,
)

pytest.importorskip('segment_anything')
LiteMLA = pytest.importorskip('timm.models.efficientvit_mit').LiteMLA


@pytest.mark.parametrize('name', ARCHITECTURES)
def test_the_parameters_are_those_of_the_authors(name):
    with torch.device('meta'):
        state = EfficientViTSam(name).state_dict()
    assert {official_name(key): tuple(value.shape) for key, value in state.items()} \
        == official_layout(name)


def test_a_frame_in_a_batch_gets_what_the_authors_give_it_alone(tmp_path):
    torch.save(official_state(official_layout('efficientvit-sam-l1')), tmp_path / 'weights.pt')
    model = load_efficientvit_sam('efficientvit-sam-l1', tmp_path / 'weights.pt').eval()
    compare_with_authors(model, np.load(FOLDER / 'efficientvit-sam-l1.npz'), INPUT_SIZE)


def test_attention_to_faint_maps_is_that_to_strong_ones():
    # Its averages are weighted by products of the map, which an eps like timm's would outweigh.
    encoder = EfficientViTEncoder((1, 1, 1, 1, 1), 1).eval()
    attention = next(module for module in encoder.modules() if isinstance(module, LiteMLA))
    maps = torch.randn(1, 512, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(attention(maps / 1024) * 1024, attention(maps))


def test_missing_and_unexpected_keys_go_by_their_official_names(tmp_path):
    layout = official_layout('efficientvit-sam-l0')
    state = {key: torch.zeros(shape) for key, shape in layout.items()}
    del state['image_encoder.neck.output_ops.0.op_list.0.conv.bias']
    state['image_encoder.backbone.stages.5.op_list.0.main.bias'] = torch.zeros(3)
    torch.save(state, tmp_path / 'weights.pt')
    with pytest.raises(WeightsError, match=(
            'missing image_encoder.neck.output_ops.0.op_list.0.conv.bias; '
            'unexpected image_encoder.backbone.stages.5.op_list.0.main.bias')):
        load_efficientvit_sam('efficientvit-sam-l0', tmp_path / 'weights.pt')


def test_without_a_file_it_says_what_to_give():
    with pytest.raises(WeightsError, match='efficientvit-sam-l1=/path'):
        load_efficientvit_sam('efficientvit-sam-l1', None)
