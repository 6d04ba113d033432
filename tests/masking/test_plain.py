# SPDX-License-Identifier: Apache-2.0
"""The masker equals the method written down plainly: prompts, masks, fitted weights.

The same comparison with the paper's models at full size is `benchmarks/plain_comparison.py`.
"""

import copy

import numpy as np
import pytest
from plain_samg import PlainSamg

from samg_ros.masking import Masker, MaskerSettings


def overlap(a, b):
    return (a & b).sum() / (a | b).sum()


def compare(masker, plain, frames):
    prediction = masker.predict(np.stack(frames))
    for index, frame in enumerate(frames):
        found, mask = plain.mask(frame), prediction.masks[index]
        points = prediction.prompts[0].points[index].numpy()
        assert np.abs(np.array(found.points) - points).max() <= 1
        assert overlap(found.mask, mask) >= 0.99
        assert overlap(~found.mask, ~mask) >= 0.99  # else any two that are nearly full would agree


@pytest.mark.parametrize('prompt', ['off', 'full'])
def test_mini_masks_as_the_method_says(prompt, walker, frames, recoloured):
    settings = MaskerSettings(passes=3, similarity_prompt=prompt, fit_weights=True,
                              second_look=False)
    masker = Masker.load('mini', settings).fit(walker)
    compare(masker, PlainSamg(masker._model, walker, masker.weights[0], guided=prompt),
            [*frames, recoloured])


def test_a_pair_masks_as_the_method_says_in_float64(pair_masker, random_pair, walker, frames):
    plain = PlainSamg(copy.deepcopy(random_pair).double(), walker, pair_masker.weights[0])
    compare(pair_masker, plain, frames[:3])


@pytest.mark.parametrize('prompt, passes', [
    ('region', 3), ('dense', 3), ('colour', 3), ('full', 1), ('full', 3)])
def test_a_guided_pair_masks_as_the_method_says(prompt, passes, random_pair, walker, frames):
    model = copy.deepcopy(random_pair).double()
    settings = MaskerSettings(similarity_prompt=prompt, passes=passes)
    masker = Masker(random_pair, settings).fit(walker)
    compare(masker, PlainSamg(model, walker, masker.weights[0], passes, guided=prompt), frames[:3])


def test_a_wide_frame_is_masked_as_the_method_says(pair_masker, random_pair, walker, frames):
    plain = PlainSamg(copy.deepcopy(random_pair).double(), walker, pair_masker.weights[0])
    compare(pair_masker, plain, frames[:1, 10:74])


@pytest.mark.parametrize('model, guided', [
    ('mini', 'full'), ('pair', 'off'), ('pair', 'colour')])
def test_fitted_weights_are_those_of_plain_steps(model, guided, pair, walker):
    settings = MaskerSettings(fit_steps=10 if model == 'pair' else 100, similarity_prompt=guided,
                              fit_weights=True)
    masker = Masker(pair, settings) if model == 'pair' else Masker.load(model, settings)
    masker.fit(walker)
    plain = PlainSamg(masker._model, walker, guided=guided)
    assert masker.weights[0].tolist() == pytest.approx(plain.fit(settings.fit_steps), abs=1e-3)
    assert abs(masker.weights - 1 / 3).max() > 5e-3
