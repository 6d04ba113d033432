# SPDX-License-Identifier: Apache-2.0
"""The public class: what it promises, and what it says to bad input."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from samg_ros.errors import (
    ConfigError,
    InvalidInputError,
    NotFittedError,
    UnknownModelError,
    WeightsError,
)
from samg_ros.masking import Masker, MaskerSettings, apply_mask
from samg_ros.masking.models import describe_weights
from samg_ros.masking.models.mini.network import WEIGHTS


def test_it_finds_its_own_reference(masker, walker):
    mask = masker(walker.image[None])[0]
    overlap = (mask & walker.mask).sum() / (mask | walker.mask).sum()
    assert overlap > 0.7


def test_masks_are_of_the_frames_kind(masker, frames):
    masks = masker(frames)
    assert masks.shape == frames.shape[:3] and masks.dtype == np.bool_
    tensors = masker(torch.from_numpy(frames))
    assert isinstance(tensors, torch.Tensor) and tensors.dtype == torch.bool
    np.testing.assert_array_equal(masks, tensors.numpy())


def test_no_frames_give_no_masks(masker):
    assert masker(np.zeros((0, 84, 84, 3), np.uint8)).shape == (0, 84, 84)


@pytest.mark.parametrize('frames', [
    np.zeros((84, 84, 3), np.uint8), np.zeros((1, 84, 84, 4), np.uint8),
    np.zeros((1, 84, 84, 3), np.float32), np.zeros((1, 8, 8, 3), np.uint8), [[1, 2]], None])
def test_bad_frames_are_named(masker, frames):
    with pytest.raises(InvalidInputError, match='frames'):
        masker(frames)


def test_an_unfitted_masker_says_so(walker):
    with pytest.raises(NotFittedError, match='fit'):
        Masker.load('mini')(walker.image[None])


def test_unknown_model_lists_the_known():
    with pytest.raises(UnknownModelError, match='mini'):
        Masker.load('maxi')


def test_missing_device_is_named():
    with pytest.raises(ConfigError, match="device 'cuda:99'"):
        Masker.load('mini', device='cuda:99')


def test_foreign_weights_name_the_keys(tmp_path):
    from safetensors.torch import save_file
    save_file({'stranger': torch.zeros(1)}, tmp_path / 'w.safetensors')
    with pytest.raises(WeightsError, match='missing .*unexpected stranger'):
        Masker.load('mini', weights=tmp_path / 'w.safetensors')


def test_cut_weights_are_refused(tmp_path):
    (tmp_path / 'w.safetensors').write_bytes(b'\x10\x00\x00\x00\x00\x00\x00\x00{"a"')
    with pytest.raises(WeightsError, match='not a readable safetensors'):
        Masker.load('mini', weights=tmp_path / 'w.safetensors')


@pytest.mark.parametrize('settings', [
    dict(passes=2), dict(passes=3), dict(features=('dino',)), dict(features=('sam',)),
    dict(similarity_prompt='off'), dict(second_look=False), dict(fit_weights=True),
    dict(grid_size=24)])
def test_every_switch_runs_and_matters(masker, walker, frames, settings):
    other = Masker.load('mini', MaskerSettings(fit_steps=50, **settings)).fit(walker)
    assert other(frames).shape == (20, 84, 84)
    assert not torch.equal(other.predict(frames).predicted_iou,
                           masker.predict(frames).predicted_iou)


@pytest.mark.parametrize('settings', [dict(passes=4), dict(features=('clip',)),
                                      dict(features=()), dict(min_predicted_iou=2)])
def test_bad_settings_are_refused(settings):
    with pytest.raises(InvalidInputError):
        MaskerSettings(**settings)


def test_guidance_that_a_model_was_not_trained_for_is_refused():
    with pytest.raises(InvalidInputError, match="'colour': not for this model; expected off"):
        Masker.load('mini', MaskerSettings(similarity_prompt='colour'))


def test_a_model_has_settings_of_its_own(pair):
    assert not Masker.load('mini').settings.fit_weights and Masker.load('mini').settings.second_look
    assert Masker(pair).settings.fit_weights and not Masker(pair).settings.second_look
    assert Masker.load('mini', MaskerSettings(fit_weights=True)).settings.fit_weights


def test_masks_thought_bad_are_empty(walker, frames):
    settings = MaskerSettings(fit_weights=False, min_predicted_iou=1.0)
    assert not Masker.load('mini', settings).fit(walker)(frames).any()


def test_a_described_masker_masks_the_same(masker, walker, frames):
    import json
    description = json.loads(json.dumps(masker.describe()))
    twin = Masker.from_description(description).fit(walker)
    np.testing.assert_array_equal(twin(frames), masker(frames))


def test_a_described_masker_finds_its_weights_from_any_folder(tmp_path, monkeypatch):
    shutil.copy(WEIGHTS, tmp_path / 'own.safetensors')
    monkeypatch.chdir(tmp_path)
    for given in ('own.safetensors', {'mini': Path('own.safetensors')}):
        description = Masker.load('mini', weights=given).describe()
        monkeypatch.chdir(tmp_path.parent)
        assert Masker.from_description(description).describe() == description
        monkeypatch.chdir(tmp_path)
    assert str(tmp_path / 'own.safetensors') in description['weights']
    pair = describe_weights({'dinov2-b': 'facebook/dinov2-base', 'sam-vit-b': 'own.safetensors'})
    assert pair == f'dinov2-b=facebook/dinov2-base,sam-vit-b={tmp_path / "own.safetensors"}'


def test_weights_for_another_model_are_refused():
    with pytest.raises(UnknownModelError, match='weights for mimi: not part of the model'):
        Masker.load('mini', weights={'mimi': 'own.safetensors'})


def test_half_precision_does_not_move_points():
    model = Masker.load('mini')._model
    points = torch.tensor([[[40.0, 40.0], [41.0, 40.0]]])
    exact = model.prompt.positions(points)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(model.prompt.positions(points), exact)


def test_apply_mask_fills_outside_only():
    frame = np.full((2, 2, 3), 9, np.uint8)
    mask = np.array([[True, False], [False, True]])
    masked = apply_mask(frame, mask, (1, 2, 3))
    assert masked[0, 0].tolist() == [9, 9, 9] and masked[0, 1].tolist() == [1, 2, 3]
    tensor = apply_mask(torch.from_numpy(frame), torch.from_numpy(mask), (1, 2, 3))
    np.testing.assert_array_equal(tensor.numpy(), masked)


@pytest.mark.parametrize('shape', [(5, 7, 3), (4, 5, 7, 3), (2, 3, 5, 7, 3), (0, 5, 7, 3)])
@pytest.mark.parametrize('fill', [(0, 0, 0), (1, 0, 255)])
def test_apply_mask_takes_any_number_of_frames(shape, fill):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, shape, dtype=np.uint8)
    masks = rng.random(shape[:-1]) > 0.5
    for given, inside in ((frames, masks), (frames[..., ::-1, :], masks[..., ::-1])):
        masked = apply_mask(given, inside, fill)
        expected = np.where(inside[..., None], given, np.array(fill, np.uint8))
        np.testing.assert_array_equal(masked, expected)
        assert not np.shares_memory(masked, frames)


def test_apply_mask_names_what_does_not_fit():
    with pytest.raises(InvalidInputError, match='frames'):
        apply_mask(np.zeros((2, 2, 3), np.uint8), np.zeros((3, 2), bool))
