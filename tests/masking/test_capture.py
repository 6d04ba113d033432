# SPDX-License-Identifier: Apache-2.0
"""Clicks on live pictures: as further prompts, and as the beginning of a reference."""

import numpy as np
import pytest

from samg_ros.errors import InvalidInputError
from samg_ros.evaluation.metrics import mask_iou
from samg_ros.masking import Masker, MaskerSettings


@pytest.fixture
def quick(walker):
    return Masker.load('mini', MaskerSettings(fit_weights=False, engine='torch')).fit(walker)


def test_what_was_clicked_on_is_cut_out(masker, walker):
    captured = masker.capture(walker.image, walker.points, 'a test')
    assert mask_iou(captured.mask, walker.mask) > 0.8
    assert np.array_equal(captured.points, walker.points) and captured.source == 'a test'


def test_a_captured_reference_finds_the_object_in_other_frames(masker, walker, frames):
    captured = Masker.load('mini').fit(masker.capture(walker.image, walker.points))
    ious = [mask_iou(mine, given)
            for mine, given in zip(captured(frames[:5]), masker(frames[:5]), strict=True)]
    assert np.mean(ious) > 0.7


def test_a_pair_of_networks_captures_too(pair_masker, walker):
    captured = pair_masker.capture(walker.image, walker.points)  # random weights: any mask will do
    assert captured.mask.shape == walker.mask.shape


@pytest.mark.parametrize('points', [[], [[84, 3]], [[-1, 3]], [[np.nan, 3]], [[1, 2, 3]], 'here'])
def test_clicks_that_are_none_are_refused(masker, walker, points):
    with pytest.raises(InvalidInputError, match='points'):
        masker.capture(walker.image, points)


def test_a_click_on_another_picture_is_a_prompt_where_it_looks_alike(quick, walker):
    moved = np.roll(walker.image, 10, axis=1)
    quick.clear_points()
    quick.add_points([[50, 24]], frame=moved)  # where the first published click has moved to
    elsewhere = quick.predict(walker.image[None])
    quick.clear_points()
    quick.add_points([[40, 24]])
    here = quick.predict(walker.image[None])
    assert elsewhere.prompts[0].points.shape == (1, 3, 2)
    distance = (elsewhere.prompts[0].points - here.prompts[0].points)[0, 2].abs().max()
    assert distance <= 3


def test_cleared_points_leave_the_masker_as_if_never_clicked(quick, walker):
    quick.clear_points()
    before = quick.predict(walker.image[None])
    quick.add_points([[3, 3], [70, 9]], frame=walker.image)
    assert quick.predict(walker.image[None]).prompts[0].points.shape[1] == 4
    quick.clear_points()
    after = quick.predict(walker.image[None])
    assert np.array_equal(before.logits, after.logits)


def test_settings_that_no_fit_depends_on_change_while_running(quick, walker, frames):
    quick.adjust(passes=3, min_predicted_iou=0.0)
    loaded = Masker.load('mini', MaskerSettings(fit_weights=False, passes=3)).fit(walker)
    assert np.array_equal(quick(frames[:2]), loaded(frames[:2]))
    quick.adjust(min_predicted_iou=1.0)
    assert not quick(frames[:2]).any()
    assert quick.describe()['settings']['min_predicted_iou'] == 1.0


@pytest.mark.parametrize('change', [{'grid_size': 16}, {'passes': 4}, {'speed': 1}])
def test_other_settings_do_not(quick, change):
    with pytest.raises(InvalidInputError, match=next(iter(change))):
        quick.adjust(**change)
