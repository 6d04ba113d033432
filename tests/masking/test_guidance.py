# SPDX-License-Identifier: Apache-2.0
"""Maps that show the decoder where the object may be."""

import math

import pytest
import torch

from samg_ros.masking.frames.guidance import guide
from samg_ros.masking.geometry import Geometry
from samg_ros.masking.models.base import Encoding, FeatureMap, chromaticities
from samg_ros.masking.references.colours import (
    COLOUR_DECADES,
    COLOUR_WIDTHS,
    colour_similarity,
    usual_density,
)
from samg_ros.masking.references.samples import Samples

GEOMETRY = Geometry(48, 48, 48, 48, 48, torch.device('cpu'))
MASK = torch.zeros(48, 48, dtype=torch.bool)
MASK[10:20, 10:22] = True
MOVE = (7, -3)


def two_parts(values):
    """A picture whose object has two parts; values of part, part and surroundings."""
    first, second, around = (torch.tensor(one)[:, None, None] for one in values)
    picture = around.repeat(1, 48, 48)
    picture[:, 10:20, 10:20], picture[:, 10:20, 20:22] = first, second
    return picture


def encoding():
    """Of the picture, and of one in which the object has moved."""
    features = two_parts(([1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]))
    colours = two_parts(([200.0, 150, 80], [40.0, 40, 160], [120.0, 120, 120]))
    frames = both(colours).permute(0, 2, 3, 1).byte()
    return Encoding({'dino': FeatureMap(both(features), True)}, (), chromaticities(frames))


def both(picture):
    return torch.stack([picture, picture.roll(MOVE, (1, 2))])


@pytest.fixture
def guides():
    found = encoding()
    samples = Samples.stack([Samples.read(found, 0, ['dino'], MASK, GEOMETRY)])
    assert samples.cells['dino'].shape == samples.colours.shape == (1, 64, 3)
    return {kind: guide(kind, torch.rand(2, 48, 48), found, samples, ['dino'], GEOMETRY)
            for kind in ('off', 'region', 'dense', 'colour', 'full')}


def test_every_kind_adds_a_map_to_those_before(guides):
    assert guides['off'] is None
    assert [guides[kind].shape[1] for kind in ('region', 'dense', 'colour')] == [1, 2, 3]
    assert torch.equal(guides['colour'][:, 1:2], guides['dense'][:, 1:2])


def test_full_has_the_object_and_its_surroundings_of_every_encoder_and_colour_twice(guides):
    _, own, beside, unused, unused_beside, narrow, wide = guides['full'].unbind(dim=1)
    moved = torch.stack([MASK, MASK.roll(MOVE, (0, 1))])
    assert torch.equal(own > 0.5, moved) and torch.equal(beside > 0.5, ~moved)
    assert not unused.any() and not unused_beside.any()
    assert torch.equal(narrow, guides['colour'][:, 2]) and torch.equal(wide > 0.5, moved)


def test_an_object_that_fills_its_reference_has_no_surroundings():
    found = encoding()
    everywhere = torch.ones_like(MASK)
    samples = Samples.read(found, 0, ['dino'], everywhere, GEOMETRY)
    assert not samples.beside['dino'].any()


def test_a_slightly_wrong_white_balance_hides_a_colour_from_the_narrow_width_alone():
    colour = torch.tensor([0.5, 0.3, 0.2])
    pixels = (colour * torch.tensor([1.05, 1, 0.95]))[:, None, None].repeat(1, 48, 48)
    wanted = colour.repeat(1, 64, 1)
    narrow, wide = (colour_similarity(pixels[None], wanted, usual_density(wanted, width), GEOMETRY,
                                      width).max() for width in COLOUR_WIDTHS)
    assert narrow < 0.1 and wide > 0.5


@pytest.mark.parametrize('index', [1, 2])
def test_matching_finds_every_part_of_an_object_wherever_it_is(guides, index):
    found = guides['colour'][:, index] > 0.5
    assert torch.equal(found[0], MASK) and torch.equal(found[1], MASK.roll(MOVE, (0, 1)))


def test_a_colour_is_as_similar_as_it_is_usual_on_the_object():
    usual, rare, other = [0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.3, 0.3, 0.3]
    pixels = torch.tensor(other)[:, None, None].repeat(1, 48, 48)
    pixels[:, :, :16], pixels[:, :, 16:32] = torch.tensor(usual)[:, None, None], \
        torch.tensor(rare)[:, None, None]
    wanted = torch.tensor([[usual] * 63 + [rare]])
    found = colour_similarity(pixels[None], wanted, usual_density(wanted), GEOMETRY)[0, 0, 0]
    expected = 1 + math.log10(1 / 63) / COLOUR_DECADES
    torch.testing.assert_close(found[[0, 16, 40]], torch.tensor([1.0, expected, 0.0]))


def test_chromaticity_stays_in_shade():
    frames = torch.tensor([[250, 150, 100], [200, 120, 80]], dtype=torch.uint8)
    light, shade = chromaticities(frames[:, None, None])
    assert (light - shade).abs().max() < 3 * COLOUR_WIDTHS[0]
