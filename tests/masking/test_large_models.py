# SPDX-License-Identifier: Apache-2.0
"""DINOv2 and SAM at small sizes, against their own libraries.

benchmarks/model_parity.py does the same at full size.
"""

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from samg_ros.errors import UnknownModelError, WeightsError
from samg_ros.masking import Masker, MaskerSettings
from samg_ros.masking.models import dinov2, load_model
from samg_ros.masking.models.base import resized_longer_side
from samg_ros.masking.models.loading.random_weights import randomize
from samg_ros.masking.models.sam import SegmentAnything, load_sam

segment_anything = pytest.importorskip('segment_anything')
transformers = pytest.importorskip('transformers')


def small_dino(folder):
    config = transformers.Dinov2Config(hidden_size=48, num_hidden_layers=2, num_attention_heads=3,
                                       image_size=518, patch_size=14)
    transformers.Dinov2Model(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope='module', autouse=True)
def thin_encoder():
    """Let vit_b stand for SAM with two thin layers before its whole decoder."""
    from segment_anything.build_sam import _build_sam
    with pytest.MonkeyPatch.context() as patch:
        thin = partial(_build_sam, 48, 2, 3, [1])  # width, layers, heads, global attention
        patch.setitem(segment_anything.sam_model_registry, 'vit_b', thin)
        yield


@pytest.fixture(scope='module')
def official():
    return randomize(segment_anything.sam_model_registry['vit_b']())


@pytest.fixture(scope='module')
def sam_file(official, tmp_path_factory):
    path = tmp_path_factory.mktemp('sam') / 'sam_vit_b.pth'
    torch.save(official.state_dict(), path)
    return path


@pytest.fixture(scope='module')
def sam(sam_file):
    return load_sam('sam-vit-b', sam_file).eval()


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * float(theirs.abs().max()))


@pytest.mark.parametrize('with_box_and_mask', [False, True])
@torch.no_grad()
def test_sam_agrees_with_segment_anything(sam, official, with_box_and_mask):
    frame = np.random.default_rng(0).integers(0, 256, (768, 1024, 3), dtype=np.uint8)
    points, labels = torch.tensor([[[200., 300.5], [900, 100]]]), torch.tensor([[1, 0]])
    box, mask = (torch.tensor([[60., 70, 800, 600]]), 4 * torch.randn(1, 256, 256)) \
        if with_box_and_mask else (None, None)
    predictor = segment_anything.SamPredictor(official)
    predictor.set_image(frame)
    _, iou, logits = predictor.predict_torch(points, labels, box,
                                             None if mask is None else mask[None], True)
    embedding = sam.embed(torch.from_numpy(frame)[None])
    close(embedding[0], predictor.features)
    our_logits, our_iou = sam.decode(embedding, points, labels, box, mask)
    close(our_logits, logits)
    close(our_iou, iou)


@torch.no_grad()
def test_each_of_many_prompts_about_one_frame_gets_segment_anything_s_answer(sam, official):
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 256, 64, 64, generator=generator)
    points, labels = 1024 * torch.rand(3, 4, 2, generator=generator), torch.tensor([[1, 0, 1, 1]])
    labels = labels.expand(3, -1)
    prompts = official.prompt_encoder((points, labels), None, None)
    logits, iou = official.mask_decoder(image, official.prompt_encoder.get_dense_pe(), *prompts,
                                        multimask_output=True)
    our_logits, our_iou = sam.decode((image.expand(3, -1, -1, -1),), points, labels, None, None)
    close(our_logits, logits)
    close(our_iou, iou)


@pytest.mark.parametrize('size', [(60, 84), (200, 64), (1080, 1920)])
def test_frames_of_any_shape_are_prepared_as_by_segment_anything(sam, official, size, monkeypatch):
    frame = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    monkeypatch.setitem(sam._modules, 'image_encoder', torch.nn.Identity())
    ours, = sam.embed(torch.from_numpy(frame)[None])
    resized = segment_anything.SamPredictor(official).transform.apply_image(frame)
    theirs = official.preprocess(torch.from_numpy(resized).permute(2, 0, 1)[None])
    grey_level = 1 / 57
    assert (ours - theirs).abs().max() < 1.5 * grey_level  # another library rounds otherwise


@pytest.mark.parametrize('architecture', ['vit_l', 'vit_h'])
def test_larger_sizes_have_the_official_layout(architecture):
    with torch.device('meta'):
        ours = SegmentAnything(architecture).state_dict()
        theirs = segment_anything.sam_model_registry[architecture]().state_dict()
    assert {key: value.shape for key, value in ours.items()} \
        == {key: value.shape for key, value in theirs.items()}


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


@pytest.fixture
def narrow(monkeypatch):
    """Take the small networks of these tests for those of the name."""
    monkeypatch.setitem(dinov2.WIDTHS, 'dinov2-b', 48)


def test_a_smaller_dino_is_not_taken_for_a_larger_one(tmp_path):
    with pytest.raises(WeightsError, match='layers are 48 wide, and those of dinov2-b are 768'):
        load_model_encoder(small_dino(tmp_path))


@pytest.mark.usefixtures('narrow')
def test_dinov2_features_are_the_patch_tokens(tmp_path):
    model = load_model_encoder(small_dino(tmp_path))
    frame = torch.randint(0, 256, (1, 84, 112, 3), dtype=torch.uint8)
    with torch.no_grad():
        features = model.features(frame)
        assert features.shape == (1, 48, 32, 32)
        picture = Image.fromarray(frame[0].numpy()).resize((448, 448), Image.Resampling.BILINEAR)
        x = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
        mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
        std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
        tokens = model.backbone(pixel_values=(x / 255 - mean) / std).last_hidden_state
    torch.testing.assert_close(features[0, :, 3, 7], tokens[0, 1 + 3 * 32 + 7], rtol=1e-3,
                               atol=1e-4)


@pytest.mark.parametrize(('height', 'width', 'side', 'off'), [
    (84, 84, 1024, 0.0), (60, 84, 512, 0.01), (480, 640, 1024, 0.01), (1080, 1920, 1024, 0.05)])
def test_pictures_are_resized_as_pillow_does(height, width, side, off):
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    ours = resized_longer_side(torch.from_numpy(frame)[None], side)[0].permute(1, 2, 0).numpy()
    picture = Image.fromarray(frame).resize(ours.shape[1::-1], Image.Resampling.BILINEAR)
    apart = np.abs(ours - np.array(picture))
    assert (apart > 0).mean() <= off and apart.max() <= 2


def load_model_encoder(folder):
    return dinov2.load_dinov2('dinov2-b', folder).eval()


@pytest.mark.usefixtures('narrow')
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
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    with pytest.raises(WeightsError, match='local folder'):
        load_model_encoder('nobody/nothing-at-all')


@pytest.mark.parametrize('name', ['dinov2-b', 'dinov2-b+mini', 'sam-vit-b+dinov2-b'])
def test_half_a_pair_is_refused(name):
    with pytest.raises(UnknownModelError, match='joined by'):
        load_model(name)


def test_weights_for_something_else_are_refused():
    with pytest.raises(UnknownModelError, match='clip'):
        load_model('dinov2-b+sam-vit-b', 'clip=/tmp/x')
