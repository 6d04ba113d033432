# SPDX-License-Identifier: Apache-2.0
"""A second look crops around what was found and puts the finer mask back where it was."""

import numpy as np
import pytest
import torch

from samg_ros.masking import Masker, MaskerSettings, Reference
from samg_ros.masking.frames.second_look import (
    MARGIN,
    OUTSIDE,
    SMALLEST,
    crop,
    crop_windows,
    cropped_reference,
    paste,
)


def boxed(top, left, size, height=120, width=160):
    mask = torch.zeros(1, height, width, dtype=torch.bool)
    mask[0, top:top + size, left:left + size] = True
    return mask


def test_the_window_is_around_the_mask_and_inside_the_frame_where_it_can_be():
    x, y, side = crop_windows(boxed(40, 60, 30))[0].tolist()
    assert (x, y, side) == (75, 55, pytest.approx(MARGIN * 30))
    x, y, side = crop_windows(boxed(0, 130, 30))[0].tolist()
    assert x == pytest.approx(160 - side / 2) and y == pytest.approx(side / 2)


def test_a_tiny_mask_is_enlarged_only_so_far_and_an_empty_one_shows_the_whole_frame():
    assert crop_windows(boxed(50, 50, 1))[0, 2] == pytest.approx(SMALLEST * 160)
    assert crop_windows(boxed(0, 0, 0))[0, 2] == 160


@pytest.mark.parametrize('place', [(40, 60, 30), (0, 0, 20), (90, 130, 30)])
def test_what_was_cut_out_and_pasted_is_where_it_was(place):
    mask = boxed(*place)
    windows = crop_windows(mask)
    close = crop(mask[..., None].float(), windows, 96)[..., 0] - 0.5
    again = paste(close, windows, 120, 160)
    assert int((again > 0).sum()) == pytest.approx(int(mask.sum()), rel=0.05)
    assert ((again > 0) ^ mask).sum() <= 0.08 * mask.sum()
    assert again.min() == OUTSIDE or crop_windows(mask)[0, 2] >= 160


def test_a_cropped_reference_keeps_its_object_and_points():
    image = np.zeros((120, 160, 3), np.uint8)
    mask = boxed(40, 60, 30)[0].numpy()
    image[mask] = (200, 40, 40)
    close = cropped_reference(Reference(image, mask, points=[[75, 55]]), 96)
    assert close.image.shape == (96, 96, 3)
    assert close.mask.mean() == pytest.approx(1 / MARGIN ** 2, rel=0.1)
    assert close.image[close.mask].mean(axis=0) == pytest.approx([200, 40, 40], abs=6)
    x, y = close.points[0].round().astype(int)
    assert close.mask[y, x] and close.points[0] == pytest.approx([48, 48], abs=1)


def test_a_small_object_of_a_large_frame_is_cut_out_more_finely():
    rng = np.random.default_rng(0)
    row, column = np.mgrid[:360, :480]

    def scene(x, y):
        image = np.clip(rng.normal(90, 12, (360, 480, 3)), 0, 255).astype(np.uint8)
        mask = ((row - y) ** 2 + (column - x) ** 2 < 18 ** 2) & ((column - x) % 8 < 5)
        image[mask] = (220, 60, 30)
        return image, mask

    image, truth = scene(330, 120)
    ious = []
    for second_look in (False, True):
        settings = MaskerSettings(fit_weights=False, second_look=second_look)
        masker = Masker.load('mini', settings).fit(Reference(*scene(150, 200)))
        mask = masker(image[None])[0]
        ious.append((mask & truth).sum() / (mask | truth).sum())
    assert ious[1] > ious[0]
