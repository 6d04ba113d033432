# SPDX-License-Identifier: Apache-2.0
"""DINOv2 and SAM: real architectures at random weights, against their own libraries."""

import numpy as np
import pytest
import torch

from samg_ros.errors import UnknownModelError, WeightsError
from samg_ros.masking import Masker, MaskerSettings
from samg_ros.masking.models import load_model
from samg_ros.masking.models.sam import SegmentAnything, load_sam

segment_anything = pytest.importorskip('segment_anything')
transformers = pytest.importorskip('transformers')


def small_dino(folder):
    config = transformers.Dinov2Config(hidden_size=48, num_hidden_layers=2, num_attention_heads=3,
                                       image_size=518, patch_size=14)
    transformers.Dinov2Model(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope='module')
def sam_file(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('sam') / 'sam_vit_b.pth'
    torch.save(segment_anything.sam_model_registry['vit_b']().state_dict(), path)
    return path


@pytest.fixture(scope='module')
def sam(sam_file):
    return load_sam('sam-vit-b', sam_file).eval()


@pytest.mark.slow
def test_sam_agrees_with_segment_anything(sam):
    frame = np.random.default_rng(0).integers(0, 256, (60, 84, 3), dtype=np.uint8)
    predictor = segment_anything.SamPredictor(segment_anything.modeling.Sam(
        sam.image_encoder, sam.prompt_encoder, sam.mask_decoder))
    points, labels = np.array([[20, 30], [70, 10]]), np.array([1, 0])
    box, low = np.array([5, 6, 60, 50]), np.random.default_rng(1).normal(size=(1, 256, 256))
    with torch.no_grad():
        predictor.set_image(frame)
        _, iou, logits = predictor.predict(points, labels, box, low.astype(np.float32), True)
        (embedding,) = sam.embed(torch.from_numpy(frame)[None])
    # The picture is resized by another library: whole grey values may differ by one.
    error = (embedding - predictor.features).norm() / predictor.features.norm()
    assert error < 2e-2
    scale = torch.tensor([1024 / 84, 731 / 60])  # the shorter side is rounded to whole pixels
    with torch.no_grad():
        ours, our_iou = sam.decode(
            (predictor.features,), torch.from_numpy(points)[None] * scale,
            torch.from_numpy(labels)[None], torch.from_numpy(box)[None] * scale.repeat(2),
            torch.from_numpy(low).float())
    np.testing.assert_allclose(ours[0].numpy(), logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(our_iou[0].numpy(), iou, rtol=1e-4, atol=1e-5)


def test_sam_decodes_a_batch_as_one_by_one(sam):
    torch.manual_seed(1)
    embedding = (torch.randn(2, 256, 64, 64),)
    points, labels = torch.rand(2, 3, 2) * 1024, torch.tensor([[1, 0, 1], [1, 0, 0]])
    boxes, masks = torch.tensor([[10., 10, 900, 500]] * 2), torch.randn(2, 256, 256)
    with torch.no_grad():
        together, _ = sam.decode(embedding, points, labels, boxes, masks)
        for i in range(2):
            alone, _ = sam.decode((embedding[0][i:i + 1],), points[i:i + 1], labels[i:i + 1],
                                  boxes[i:i + 1], masks[i:i + 1])
            torch.testing.assert_close(together[i:i + 1], alone, rtol=1e-4, atol=1e-4)


def test_dinov2_features_are_the_patch_tokens(tmp_path):
    model = load_model_encoder(small_dino(tmp_path))
    frame = torch.randint(0, 256, (1, 84, 120, 3), dtype=torch.uint8)
    with torch.no_grad():
        features = model.features(frame)
        assert features.shape == (1, 48, 32, 32)
        x = torch.nn.functional.interpolate(frame.permute(0, 3, 1, 2).float(), (448, 448),
                                            mode='bilinear', antialias=True).round()
        mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
        std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
        tokens = model.backbone(pixel_values=(x / 255 - mean) / std).last_hidden_state
    torch.testing.assert_close(features[0, :, 3, 7], tokens[0, 1 + 3 * 32 + 7], rtol=1e-3,
                               atol=1e-4)


def load_model_encoder(folder):
    from samg_ros.masking.models.dinov2 import load_dinov2
    return load_dinov2('dinov2-b', folder).eval()


@pytest.mark.slow
def test_the_pair_masks_frames_through_the_same_masker(tmp_path, sam_file, walker):
    weights = {'dinov2-b': small_dino(tmp_path), 'sam-vit-b': sam_file}
    masker = Masker.load('dinov2-b+sam-vit-b', MaskerSettings(fit_steps=5), weights=weights)
    masker.fit(walker)
    prediction = masker.predict(walker.image[None])
    assert prediction.masks.shape == (1, 84, 84)
    assert prediction.prompts[0].points.shape == (1, 5, 2)  # object, beside it, three clicks
    text = f'dinov2-b={weights["dinov2-b"]},sam-vit-b={sam_file}'
    assert type(load_model('dinov2-b+sam-vit-b', text)) is type(masker._model)


def test_a_cut_sam_file_is_refused(tmp_path, sam_file):
    cut = tmp_path / 'cut.pth'
    cut.write_bytes(sam_file.read_bytes()[:100_000])
    with pytest.raises(WeightsError, match='cut.pth'):
        load_sam('sam-vit-b', cut)


def test_a_pickle_with_code_in_it_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / 'ran'), 'w'))
    torch.save({'a': Evil()}, tmp_path / 'evil.pth')
    with pytest.raises(WeightsError, match='tensors alone'):
        load_sam('sam-vit-b', tmp_path / 'evil.pth')
    assert not (tmp_path / 'ran').exists()


def test_weights_of_another_size_name_the_keys(tmp_path):
    state = SegmentAnything('vit_b').state_dict()
    del state['mask_decoder.iou_token.weight']
    state['mask_decoder.mask_tokens.weight'] = torch.zeros(2, 2)
    torch.save(state, tmp_path / 'w.pth')
    with pytest.raises(WeightsError, match='missing mask_decoder.iou_token.weight; of another '
                                           'shape mask_decoder.mask_tokens.weight'):
        load_sam('sam-vit-b', tmp_path / 'w.pth')


def test_sam_without_a_file_says_what_to_give():
    with pytest.raises(WeightsError, match='sam-vit-b=/path'):
        load_sam('sam-vit-b', None)


def test_a_hub_id_that_cannot_be_had_names_the_local_way(monkeypatch):
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    with pytest.raises(WeightsError, match='local folder'):
        load_model_encoder('nobody/nothing-at-all')


@pytest.mark.parametrize('name', ['dinov2-b', 'dinov2-b+mini', 'sam-vit-b+dinov2-b'])
def test_half_a_pair_is_refused(name):
    with pytest.raises(UnknownModelError, match='joined by'):
        load_model(name)


def test_weights_for_something_else_are_refused():
    with pytest.raises(UnknownModelError, match='clip'):
        load_model('dinov2-b+sam-vit-b', 'clip=/tmp/x')
