# SPDX-License-Identifier: Apache-2.0
"""The public class: what it promises, and what it says to bad input."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from samg_ros.errors import (
    ConfigError,
    InvalidInputError,
    NotFittedError,
    UnknownModelError,
    WeightsError,
)
from samg_ros.masking import Masker, MaskerSettings, apply_mask


@pytest.fixture(scope='module')
def frames(walker):
    rng = np.random.default_rng(1)
    moved = [np.roll(walker.image, tuple(rng.integers(-12, 13, 2)), (0, 1)) for _ in range(5)]
    return np.stack(moved)


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


def test_a_batch_equals_one_by_one(masker, frames):
    singly = np.concatenate([masker(frame[None]) for frame in frames])
    assert (masker(frames) == singly).mean() > 0.9999  # up to rounding at logits of zero


@pytest.mark.parametrize('shape', [(64, 64), (480, 640), (120, 50)])
def test_any_frame_size_gives_masks_of_that_size(masker, shape):
    frame = np.random.default_rng(0).integers(0, 256, (1, *shape, 3), dtype=np.uint8)
    assert masker(frame).shape == (1, *shape)


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
    dict(similarity_prompt=False), dict(fit_weights=False)])
def test_every_switch_runs_and_matters(masker, walker, frames, settings):
    other = Masker.load('mini', MaskerSettings(fit_steps=50, **settings)).fit(walker)
    assert other(frames).shape == (5, 84, 84)
    assert not torch.equal(other.predict(frames).predicted_iou,
                           masker.predict(frames).predicted_iou)


@pytest.mark.parametrize('settings', [dict(passes=4), dict(features=('clip',)),
                                      dict(features=()), dict(min_predicted_iou=2)])
def test_bad_settings_are_refused(settings):
    with pytest.raises(InvalidInputError):
        MaskerSettings(**settings)


def test_masks_thought_bad_are_empty(walker, frames):
    settings = MaskerSettings(fit_weights=False, min_predicted_iou=1.0)
    assert not Masker.load('mini', settings).fit(walker)(frames).any()


def test_a_described_masker_masks_the_same(masker, walker, frames):
    import json
    description = json.loads(json.dumps(masker.describe()))
    twin = Masker.from_description(description).fit(walker)
    np.testing.assert_array_equal(twin(frames), masker(frames))


def plain_first_pass(masker, image):
    from samg_ros.masking.cascade import first_pass, pick_prompts
    from samg_ros.masking.similarity import similarity_maps
    with torch.no_grad():
        geometry = masker._geometry(*image.shape[:2])
        encoding = masker._model.encode(torch.from_numpy(image)[None])
        maps = similarity_maps(encoding, masker._features, geometry)
        logits, _ = first_pass(masker._model, encoding, geometry, pick_prompts(maps), maps[:, 0])
    return geometry, logits[0]


def test_it_equals_a_plain_transcription_of_the_method(walker, frames):
    """DESIGN 4 once more, all three passes, one frame at a time, without matrices or batches."""
    masker = Masker.load('mini', MaskerSettings(passes=3)).fit(walker)
    model, weights = masker._model, masker.weights
    for frame, mask in zip(frames, masker(frames), strict=True):
        with torch.no_grad():
            encoding = model.encode(torch.from_numpy(frame)[None])
            total = 0
            for name, wanted in masker._features.items():
                cells = F.normalize(encoding.maps[name].maps[0], dim=0)
                maps = torch.stack([(feature[:, None, None] * cells).sum(0)
                                    for feature in wanted])
                total = total + to_frame(maps)
            similarity = total / 2
            points = [argument(similarity[0].argmax()), argument(similarity[0].argmin())]
            points += [argument(one.argmax()) for one in similarity[1:]]
            labels = [1, 0] + [1] * (len(similarity) - 1)

            def ask(box, logits, points=points, labels=labels, encoding=encoding):
                scaled = torch.tensor([points], dtype=torch.float32) * 96 / 84
                boxes = None if box is None else torch.tensor([box]) * 96 / 84
                found, iou = model.decode(encoding, scaled, torch.tensor([labels]), boxes, logits)
                return found[0], iou[0]

            guide = F.interpolate(similarity[None, :1], (96, 96), mode='bilinear',
                                  align_corners=False)[0]
            first, _ = ask(None, guide * model.similarity_gain)
            logits = sum(w * one for w, one in zip(weights, first, strict=True))
            for step in range(2):
                ys, xs = torch.nonzero(to_frame(logits[None])[0] > 0, as_tuple=True)
                box = [0, 0, 83, 83] if len(ys) == 0 else \
                    [int(xs.min()), int(ys.min()), int(xs.max()), int(ys.max())]
                if step == 0:
                    x0, y0, x1, y1 = box
                    window = similarity[0, y0:y1 + 1, x0:x1 + 1]
                    y, x = divmod(int(window.argmin()), window.shape[1])
                    points.append([x + x0, y + y0])
                else:
                    points.append(points[1])
                labels.append(0)
                found, iou = ask(box, logits[None])
                logits = found[int(iou.argmax())]
            plain = (to_frame(logits[None])[0] > 0).numpy()
        assert (plain == mask).mean() > 0.999


def to_frame(maps):
    maps = F.interpolate(maps[None], (96, 96), mode='bilinear', align_corners=False)
    return F.interpolate(maps, (84, 84), mode='bilinear', align_corners=False)[0]


def argument(index):
    return [int(index) % 84, int(index) // 84]


def test_apply_mask_fills_outside_only():
    frame = np.full((2, 2, 3), 9, np.uint8)
    mask = np.array([[True, False], [False, True]])
    masked = apply_mask(frame, mask, (1, 2, 3))
    assert masked[0, 0].tolist() == [9, 9, 9] and masked[0, 1].tolist() == [1, 2, 3]
    tensor = apply_mask(torch.from_numpy(frame), torch.from_numpy(mask), (1, 2, 3))
    np.testing.assert_array_equal(tensor.numpy(), masked)


def test_apply_mask_names_what_does_not_fit():
    with pytest.raises(InvalidInputError, match='apply_mask'):
        apply_mask(np.zeros((2, 2, 3), np.uint8), np.zeros((3, 2), bool))
