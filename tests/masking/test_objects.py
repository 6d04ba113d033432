# SPDX-License-Identifier: Apache-2.0
"""Several objects, several references, points that come and go."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from samg_ros.errors import InvalidInputError, NotFittedError
from samg_ros.masking import Masker, MaskerSettings, Reference

SETTINGS = MaskerSettings(fit_steps=20, engine='torch')


@pytest.fixture(scope='module')
def other(walker):
    """The walker's lower half, without points: another object, with fewer prompts."""
    mask = walker.mask.copy()
    mask[:50] = False
    return Reference(walker.image, mask)


def alone(reference, frames, settings=SETTINGS, model='mini'):
    return Masker.load(model, settings).fit(reference).predict(frames)


def test_several_objects_are_masked_as_each_alone(walker, other, frames):
    twin = other.with_points(np.zeros((0, 2)))
    together = Masker.load('mini', SETTINGS).fit({'a': walker, 'legs': other, 'twin': twin})
    found = together.predict(frames[:4])
    assert list(together.objects) == ['a', 'legs', 'twin']
    assert [len(one.points[0]) for one in found.prompts] == [5, 2, 2]
    for index, reference in enumerate((walker, other, twin)):
        single = alone(reference, frames[:4])
        torch.testing.assert_close(found.logits[:, index], single.logits[:, 0], rtol=1e-4,
                                   atol=1e-4)
        torch.testing.assert_close(found.similarity[:, index], single.similarity[:, 0])
        assert torch.equal(found.prompts[index].points, single.prompts[0].points)
    assert torch.equal(found.masks, found.object_masks.any(dim=1))


def test_labels_name_the_object_with_the_highest_logit(walker, other, frames):
    found = Masker.load('mini', SETTINGS).fit({'a': walker, 'legs': other}).predict(frames[:2])
    labels = found.labels
    assert labels.dtype == torch.uint8 and labels.shape == (2, 84, 84)
    assert torch.equal(labels > 0, found.masks)
    both = found.object_masks.all(dim=1)
    assert both.any()
    assert torch.equal(labels[both] == 2, (found.logits[:, 1] > found.logits[:, 0])[both])
    alone = found.object_masks[:, 0] & ~found.object_masks[:, 1]
    assert (labels[alone] == 1).all()


def test_no_frames_give_a_prediction_of_every_object(walker, other):
    found = Masker.load('mini', SETTINGS).fit({'a': walker, 'legs': other}).predict(
        np.zeros((0, 84, 84, 3), np.uint8))
    assert found.object_masks.shape == (0, 2, 84, 84) and found.predicted_iou.shape == (0, 2)
    assert found.labels.shape == (0, 84, 84) and len(found.prompts) == 2


@pytest.mark.parametrize('how', ['max', 'mean'])
def test_references_are_combined_pixel_by_pixel(walker, other, frames, how):
    settings = MaskerSettings(fit_steps=20, combine_references=how, similarity_prompt='off',
                              engine='torch', fit_weights=True, second_look=False)
    masker = Masker.load('mini', settings).fit([walker, other])
    found = masker.predict(frames[:2])
    maps = torch.stack([alone(one, frames[:2], settings).similarity for one in (walker, other)])
    wanted = maps.amax(dim=0) if how == 'max' else maps.mean(dim=0)
    torch.testing.assert_close(found.similarity, wanted)
    assert found.object_masks.shape[1] == 1
    assert found.prompts[0].points.shape[1] == 5  # the second reference has no points
    each = [Masker.load('mini', settings).fit(one).weights for one in (walker, other)]
    torch.testing.assert_close(masker.weights, torch.stack(each).mean(dim=0))


def test_the_same_reference_twice_changes_nothing(walker, frames):
    twice = alone([walker, walker], frames[:2])
    torch.testing.assert_close(twice.logits, alone(walker, frames[:2]).logits)


def test_points_added_and_cleared_are_those_of_the_reference(walker, frames):
    settings = MaskerSettings(fit_weights=False, engine='torch')
    masker = Masker.load('mini', settings).fit(walker.with_points([]))
    bare = masker.predict(frames[:2])
    masker.add_points(walker.points[:1])
    masker.add_points(walker.points[1:])
    clicked, wanted = masker.predict(frames[:2]), alone(walker, frames[:2], settings)
    np.testing.assert_array_equal(masker.reference.points, walker.points)
    assert torch.equal(clicked.logits, wanted.logits)
    assert not torch.equal(clicked.logits, bare.logits)
    masker.clear_points()
    assert torch.equal(masker.predict(frames[:2]).logits, bare.logits)


def test_points_keep_the_fitted_weights_and_ask_no_encoder(walker, frames, monkeypatch):
    settings = replace(SETTINGS, second_look=False)  # which sees the clicks in a crop
    masker = Masker.load('mini', settings).fit({'a': walker, 'b': [walker, walker]})
    before = masker.weights.clone()
    monkeypatch.setattr(type(masker._model), 'encode', None)
    masker.add_points([[40, 30]], 'b', reference=1)
    assert torch.equal(masker.weights, before)
    assert [len(one.points) for one in masker.objects['b']] == [3, 4]


def test_points_for_nobody_are_refused(walker):
    masker = Masker.load('mini', MaskerSettings(fit_weights=False, engine='torch'))
    with pytest.raises(NotFittedError, match='fit'):
        masker.add_points([[1, 2]])
    masker.fit({'a': walker, 'b': walker})
    with pytest.raises(InvalidInputError, match="name None: expected one of .'a', 'b'"):
        masker.clear_points()
    with pytest.raises(InvalidInputError, match='reference 1: expected the index'):
        masker.add_points([[1, 2]], 'a', reference=1)
    with pytest.raises(InvalidInputError, match='points'):
        masker.add_points([[1, 200]], 'a')
    assert len(masker.objects['a'][0].points) == 3
