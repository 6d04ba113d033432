# SPDX-License-Identifier: Apache-2.0
"""An object in other colours is still found; one that is not there is not."""

import numpy as np
import pytest
import torch

from samg_ros.evaluation.metrics import mask_iou
from samg_ros.masking import Masker, MaskerSettings
from samg_ros.masking.frames import pipeline
from samg_ros.masking.frames.recognition import (
    ALIKE,
    DIFFERENT,
    RECOGNISED,
    SHARED,
    SURE,
    TRUSTED,
    VISIBLE,
    Recognition,
    believe,
    recognise,
)
from samg_ros.masking.identity import differences


@pytest.fixture(scope='module')
def masker(walker):
    return Masker.load('mini-sim', MaskerSettings(
        fit_steps=50, colour_rules=True, engine='torch')).fit(walker)


def maps(colour):
    """Region and dense similarity of a square of 100 pixels, and a colour map."""
    shape = torch.full((1, 48, 48), 0.2)
    shape[:, 10:20, 10:20] = 0.9
    return torch.stack([shape, shape, colour[None].expand(1, -1, -1)], dim=1)


AREA = torch.tensor([100 / 48 ** 2])
ALONE = torch.zeros(1)
THERE = maps(torch.ones(48, 48))[:, :2].amax(dim=1)[0].gt(0.5).float()


def test_colours_that_are_there_are_told_and_nothing_is_doubted():
    known = recognise(maps(THERE), AREA, torch.tensor([SHARED]))
    assert torch.equal(known.guides, maps(THERE)) and known.sure.tolist() == [-np.inf]
    assert not known.certain.any()


@pytest.mark.parametrize('shared, trust', [(0, TRUSTED), (SHARED / 2, TRUSTED / 2), (SHARED, 0),
                                           (1, 0)])
def test_what_has_the_colours_that_nothing_else_had_looks_like_the_object(shared, trust):
    known = recognise(maps(THERE), AREA, torch.tensor([float(shared)]))
    guides = known.guides
    raised = 0.9 + trust * (1 - 0.9)
    torch.testing.assert_close(guides[:, :2, 10:20, 10:20], torch.full((1, 2, 10, 10), raised))
    assert (guides[:, :2][..., THERE == 0] == 0.2).all()  # nothing is lowered
    assert torch.equal(guides[:, 2], maps(THERE)[:, 2])
    assert torch.equal(known.certain[0], (THERE > 0) & (trust > 0))


def test_shape_stands_in_for_colours_that_are_not():
    known = recognise(maps(torch.zeros(48, 48)), AREA, ALONE)
    assert torch.equal(known.guides[:, :2], maps(THERE)[:, :2])
    assert torch.equal(known.guides[0, 2], THERE) and not known.certain.any()
    similarity_beside = 0.2
    assert known.sure.item() == pytest.approx(similarity_beside + SURE * (1 - AREA.item()))


def test_so_much_of_the_object_has_to_be_recognised():
    for share, known in ((RECOGNISED + 0.01, True), (RECOGNISED - 0.01, False)):
        colour = torch.zeros(48, 48)
        colour[10:20, 10:20] = (torch.arange(100).view(10, 10) < 100 * share).float()
        assert (recognise(maps(colour), AREA, ALONE).sure.item() < 0) == known


@pytest.mark.parametrize('pixels, known', [(VISIBLE * 100 + 2, True), (VISIBLE * 100 - 2, False)])
def test_what_is_seen_of_a_covered_object_is_recognised(pixels, known):
    seen = (THERE.flatten().cumsum(0).view(48, 48) <= pixels) * THERE
    found = maps(seen)
    found[:, :2] *= torch.where(seen > 0, 1, 0.5)
    assert (recognise(found, AREA, ALONE).sure.item() < 0) == known


def test_without_colours_nothing_is_doubted():
    for guides in (maps(THERE)[:, :2], None):
        known = recognise(guides, AREA, ALONE)
        assert known.guides is guides and known.sure.item() == -np.inf and not known.certain.any()


def test_the_more_the_size_differs_the_surer_the_decoder_has_to_be():
    sizes = torch.tensor([1 / ALIKE, 1.0, ALIKE, 0.4, 2.5, 0.0])
    least = 0.6 + DIFFERENT * torch.tensor([0, 0, 0, ALIKE - 0.4, ALIKE - 0.4, ALIKE])
    for off, kept in ((1e-4, True), (-1e-4, False)):
        assert (believe(least + off, torch.full((6,), 0.6), sizes) == kept).all()
    assert believe(torch.zeros(6), torch.full((6,), -torch.inf), sizes).all()  # not in doubt


def test_every_frame_is_judged_alone():
    known = recognise(torch.cat([maps(THERE), maps(torch.zeros(48, 48))]), AREA.repeat(2),
                      ALONE.repeat(2))
    assert known.sure[0] < 0 < known.sure[1]
    assert known.certain[0].any() and not known.certain[1].any()
    assert torch.equal(known.guides[:1], recognise(maps(THERE), AREA, ALONE).guides)


def test_a_robot_in_other_colours_is_found(masker, walker, recoloured):
    assert mask_iou(masker(recoloured[None])[0], walker.mask) > 0.85


def undoubted(guides, area, shared):
    return Recognition(guides, torch.zeros(len(area), 1, 1, dtype=torch.bool), area * 0)


def test_a_robot_that_is_not_there_is_not_found(masker, walker, monkeypatch):
    without = np.roll(walker.image, 42, axis=1)  # the right half has its floor and sky
    without[walker.mask | np.roll(walker.mask, 42, axis=1)] = (150, 120, 80)
    assert not masker(without[None]).any()
    monkeypatch.setattr(pipeline, 'recognise', undoubted)
    assert masker(without[None]).any()


def test_the_rules_are_off_unless_asked_for_and_on_in_descriptions_of_0_1(masker):
    assert not MaskerSettings().colour_rules
    description = masker.describe()
    del description['settings']['colour_rules'], description['settings']['second_look']
    old = Masker.from_description(description)
    assert old.settings.colour_rules and not old.settings.second_look
    assert differences(old.describe(), masker.describe()) == []
