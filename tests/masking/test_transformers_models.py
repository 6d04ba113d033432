# SPDX-License-Identifier: Apache-2.0
"""Models of transformers at small sizes: same answers as its own forward, strict loading.

benchmarks/model_parity.py does the same at full size.
"""

import shutil
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode

from samg_ros.errors import WeightsError
from samg_ros.masking import Masker, MaskerSettings
from samg_ros.masking.models import ENCODERS, SEGMENTERS, dinov3
from samg_ros.masking.models.dinov2 import DinoEncoder
from samg_ros.masking.models.hf_sam import HfSam
from samg_ros.masking.models.loading.random_weights import randomize, settle_batch_norms
from samg_ros.masking.models.sam2 import Sam2

transformers = pytest.importorskip('transformers', '4.57')

SIDE = 128
WIDTH = 32
PROMPT = {'hidden_size': WIDTH, 'image_size': SIDE}
DECODER = {'hidden_size': WIDTH, 'mlp_dim': 64, 'num_attention_heads': 2, 'iou_head_hidden_dim': 32}
LEVELS = [[32, 32], [16, 16], [8, 8]]
HALVES = {'prompt_encoder_config': PROMPT, 'mask_decoder_config': DECODER}


def small_sam():
    return transformers.SamModel(transformers.SamConfig(vision_config={
        'hidden_size': WIDTH, 'num_hidden_layers': 2, 'num_attention_heads': 2, 'mlp_dim': 64,
        'image_size': SIDE, 'output_channels': WIDTH, 'window_size': 3, 'global_attn_indexes': [1],
        'num_pos_feats': WIDTH // 2}, **HALVES))


def small_sam2(video=False):
    backbone = transformers.Sam2HieraDetConfig(
        hidden_size=16, blocks_per_stage=[1, 1, 2, 1], embed_dim_per_stage=[16, 32, 64, 128],
        window_size_per_stage=[8, 4, 4, 2], global_attention_blocks=[3], image_size=[SIDE, SIDE])
    config = {'vision_config': transformers.Sam2VisionConfig(
        backbone_config=backbone, backbone_channel_list=[128, 64, 32, 16],
        backbone_feature_sizes=LEVELS, fpn_hidden_size=WIDTH), **HALVES}
    if video:
        return transformers.Sam2VideoModel(transformers.Sam2VideoConfig(**config))
    return transformers.Sam2Model(transformers.Sam2Config(**config))


def small_edgetam():
    pytest.importorskip('timm')
    backbone = transformers.TimmWrapperConfig(architecture='repvit_m1', model_args={
        'in_chans': 3, 'features_only': True, 'out_indices': [0, 1, 2, 3]})
    return transformers.EdgeTamModel(transformers.EdgeTamConfig(
        vision_config=transformers.EdgeTamVisionConfig(
            backbone_config=backbone, backbone_feature_sizes=LEVELS, fpn_hidden_size=WIDTH),
        **HALVES))


def small_dino():
    return transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(
        hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=3,
        num_register_tokens=4))


BUILDERS = {'hf-sam': small_sam, 'sam2': small_sam2, 'edgetam': small_edgetam}
WRAPPERS = {'hf-sam': HfSam, 'sam2': Sam2, 'edgetam': Sam2}


@pytest.fixture(scope='module', params=BUILDERS)
def name(request):
    return request.param


@pytest.fixture(scope='module')
def reference(name):
    model = randomize(BUILDERS[name]())
    noise = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    settle_batch_norms(model, lambda: model.get_image_embeddings(noise))
    return model


@pytest.fixture(scope='module')
def folder(name, reference, tmp_path_factory):
    path = tmp_path_factory.mktemp(name)
    reference.save_pretrained(path)
    return path


@pytest.fixture(scope='module')
def ours(name, folder):
    return SEGMENTERS[name](folder).eval()


@pytest.fixture(scope='module')
def frames():
    return torch.randint(0, 256, (2, SIDE, SIDE, 3), dtype=torch.uint8,
                         generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope='module')
def prompts():
    """Points, labels, boxes and mask logits of two frames."""
    generator = torch.Generator().manual_seed(2)
    points = torch.rand(2, 3, 2, generator=generator) * SIDE
    boxes = torch.tensor([[10.0, 20.5, 90.0, 70.0], [0.0, 0.0, 127.0, 100.0]])
    return points, torch.tensor([[1, 0, 1], [1, 1, 0]]), boxes, \
        4 * torch.randn(2, 32, 32, generator=generator)


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * float(theirs.abs().max()))


def forward(reference, pixels, points, labels, boxes=None, masks=None):
    found = reference(pixels, points[:, None], labels[:, None],
                      None if boxes is None else boxes[:, None],
                      None if masks is None else masks[:, None], multimask_output=True)
    return found.pred_masks[:, 0], found.iou_scores[:, 0]


def own_pixels(name, frames):
    """Let the model's own image processor prepare the frames."""
    if name == 'hf-sam':
        processor = transformers.SamImageProcessor(
            size={'longest_edge': SIDE}, pad_size={'height': SIDE, 'width': SIDE})
    else:
        processor = transformers.Sam2ImageProcessor(size={'height': SIDE, 'width': SIDE})
    return processor(images=list(frames.numpy()), return_tensors='pt')['pixel_values']


@pytest.mark.parametrize('with_box_and_mask', [False, True])
@torch.no_grad()
def test_answers_equal_those_of_transformers(name, ours, reference, frames, prompts,
                                             with_box_and_mask):
    points, labels, *more = prompts
    boxes, masks = more if with_box_and_mask else (None, None)
    pixels = own_pixels(name, frames)
    embedding = ours.embed(frames)
    theirs = reference.get_image_embeddings(pixels)
    close(embedding[0], theirs if name == 'hf-sam' else theirs[-1])
    logits, predicted_iou = ours.decode(embedding, points, labels, boxes, masks)
    assert logits.shape == (2, 3, 32, 32)
    their_logits, their_iou = forward(reference, pixels, points, labels, boxes, masks)
    close(logits, their_logits)
    close(predicted_iou, their_iou)


@torch.no_grad()
def test_an_error_of_half_a_pixel_would_show(ours, frames, prompts):
    points, labels, boxes, masks = prompts
    embedding = ours.embed(frames)
    right, _ = ours.decode(embedding, points, labels, boxes, masks)
    wrong, _ = ours.decode(embedding, points + 0.5, labels, boxes, masks)
    assert (right - wrong).abs().max() > 1e-3 * right.abs().max()


@torch.no_grad()
def test_a_batch_equals_one_by_one(ours, frames, prompts):
    together = ours.decode(ours.embed(frames), *prompts)
    for i in range(2):
        alone = ours.decode(ours.embed(frames[i:i + 1]), *(p[i:i + 1] for p in prompts))
        close(together[0][i:i + 1], alone[0])
        close(together[1][i:i + 1], alone[1])


@pytest.mark.parametrize('size', [(60, 84), (200, 64), (144, 256)])
@torch.no_grad()
def test_frames_of_any_shape_are_prepared_as_by_their_own_processor(name, ours, size):
    generator = torch.Generator().manual_seed(3)
    frame = torch.randint(0, 256, (1, *size, 3), dtype=torch.uint8, generator=generator)
    seen = []
    hook = ours.model.vision_encoder.register_forward_pre_hook(
        lambda _, given: seen.append(given[0]))
    ours.embed(frame)
    hook.remove()
    theirs = own_pixels(name, frame)
    assert seen[0].shape == theirs.shape
    grey_level = 1 / 57
    assert (seen[0] - theirs).abs().max() < 2.5 * grey_level  # another library rounds otherwise
    assert ((seen[0] == 0) == (theirs == 0)).all()  # the padding


class OnDevice(TorchDispatchMode):
    """Fails on whatever leaves the device or comes to it."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for value in (*args, *(kwargs or {}).values(), found):
            for tensor in value if isinstance(value, (list, tuple)) else [value]:
                if isinstance(tensor, torch.Tensor) and tensor.dim() > 0:
                    assert tensor.device.type == 'meta', f'{function} works on the host'
        return found


def test_nothing_goes_through_the_host(name, monkeypatch):
    # The meta device stands for a GPU: it has no values that .item() or nonzero() could ask for.
    monkeypatch.setattr(torch, 'autocast', lambda *_, **__: nullcontext())  # knows no meta device
    model = WRAPPERS[name](BUILDERS[name]()).eval().to('meta')
    frames = torch.zeros(2, 60, 84, 3, dtype=torch.uint8, device='meta')
    points = torch.zeros(2, 3, 2, device='meta')
    with torch.no_grad(), OnDevice():
        embedding = model.embed(frames)
        for more in ((None, None), (torch.zeros(2, 4, device='meta'),
                                    torch.zeros(2, 32, 32, device='meta'))):
            logits, _ = model.decode(embedding, points, points[..., 0].long(), *more)
    assert logits.shape == (2, 3, 32, 32)


def test_dinov3_does_not_go_through_the_host_either():
    model = DinoEncoder(small_dino(), 512, 5).eval().to('meta')
    with torch.no_grad(), OnDevice():
        found = model.features(torch.zeros(2, 60, 84, 3, dtype=torch.uint8, device='meta'))
    assert found.shape == (2, 48, 32, 32)


@pytest.fixture
def narrow(monkeypatch):
    """Take the small network of these tests for that of the name."""
    monkeypatch.setitem(dinov3.WIDTHS, 'dinov3-s', 48)


def test_another_size_of_dinov3_is_refused(tmp_path):
    small_dino().save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match='layers are 48 wide, and those of dinov3-s are 384'):
        ENCODERS['dinov3-s'](tmp_path)


@pytest.mark.usefixtures('narrow')
@torch.no_grad()
def test_dinov3_features_are_the_patch_tokens(tmp_path):
    reference = randomize(small_dino())
    reference.save_pretrained(tmp_path)
    model = ENCODERS['dinov3-s'](tmp_path).eval()
    frame = torch.randint(0, 256, (1, 512, 512, 3), dtype=torch.uint8)
    processor = transformers.DINOv3ViTImageProcessor(size={'height': 512, 'width': 512})
    pixels = processor(images=frame[0].numpy(), return_tensors='pt')['pixel_values']
    tokens = reference(pixels).last_hidden_state  # class, four registers, 32 x 32 patches
    features = model.features(frame)
    assert features.shape == (1, 48, 32, 32)
    close(features[0, :, 3, 7], tokens[0, 5 + 3 * 32 + 7])
    close(features[0, :, 31, 31], tokens[0, -1])


@torch.no_grad()
def test_a_published_video_checkpoint_is_read(tmp_path, frames):
    published = randomize(small_sam2(video=True))
    published.save_pretrained(tmp_path)
    embedding = SEGMENTERS['sam2'](tmp_path).eval().embed(frames)
    close(embedding[0], published.get_image_embeddings(own_pixels('sam2', frames))[-1])


@pytest.mark.usefixtures('narrow')
def test_the_pair_masks_frames_that_are_not_square(tmp_path, walker):
    weights = {'dinov3-s': tmp_path / 'dino', 'sam2': tmp_path / 'sam2'}
    randomize(small_dino()).save_pretrained(weights['dinov3-s'])
    randomize(small_sam2()).save_pretrained(weights['sam2'])
    masker = Masker.load('dinov3-s+sam2', MaskerSettings(fit_steps=5), weights=weights).fit(walker)
    wide = np.ascontiguousarray(walker.image[20:62])
    found = masker.predict(wide[None])
    assert found.masks.shape == (1, 42, 84)
    # Stretched, the whole input is frame: doubling every row changes what the model sees little.
    again = masker.predict(wide.repeat(2, axis=0)[None])
    torch.testing.assert_close(again.similarity[:, :, ::2], found.similarity, atol=0.1, rtol=0)


def changed(folder, target, change):
    shutil.copytree(folder, target)
    state = load_file(target / 'model.safetensors')
    change(state)
    save_file(state, target / 'model.safetensors', metadata={'format': 'pt'})
    return target


def test_keys_that_do_not_fit_are_named(name, folder, tmp_path):
    def change(state):
        del state['mask_decoder.iou_token.weight']
        state['extra.weight'] = torch.zeros(2)
        state['mask_decoder.mask_tokens.weight'] = torch.zeros(2, 2)
    with pytest.raises(WeightsError, match='missing mask_decoder.iou_token.weight; unexpected '
                                           'extra.weight; of another shape mask_decoder.mask_tok'):
        SEGMENTERS[name](changed(folder, tmp_path / 'changed', change))


def test_a_checkpoint_of_another_model_is_refused(name, folder):
    other = 'sam2' if name == 'edgetam' else 'edgetam'
    with pytest.raises(WeightsError, match=f'{other}: .* give one of type'):
        SEGMENTERS[other](folder)


def test_a_pickle_with_code_in_it_is_not_run(name, folder, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / 'ran'), 'w'))
    shutil.copy(folder / 'config.json', tmp_path)
    torch.save({'a': Evil()}, tmp_path / 'pytorch_model.bin')
    with pytest.raises(WeightsError, match='is not run'):
        SEGMENTERS[name](tmp_path)
    assert not (tmp_path / 'ran').exists()


def test_a_folder_that_is_not_there_is_named(name, tmp_path):
    with pytest.raises(WeightsError, match='nowhere.* no folder'):
        SEGMENTERS[name](tmp_path / 'nowhere')
