# SPDX-License-Identifier: Apache-2.0
"""Which colours are an object's own."""

import pytest
import torch

from samg_ros.masking.geometry import Geometry
from samg_ros.masking.models.base import COLOUR_SIDE, Encoding, FeatureMap, chromaticities
from samg_ros.masking.references.samples import Samples, own_colours

GEOMETRY = Geometry(48, 48, 48, 48, 48, torch.device('cpu'))
OBJECT, AROUND = (200, 120, 40), (90, 130, 200)


def boxed(rows, columns):
    mask = torch.zeros(48, 48, dtype=torch.bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


WHOLE = boxed((10, 26), (10, 26))
WIDE = boxed((9, 27), (9, 27))
HOLE = boxed((16, 20), (16, 20))


def pixels(where):
    """Chromaticities of a picture that has the object's colour there."""
    frame = torch.where(where[..., None], torch.tensor(OBJECT), torch.tensor(AROUND))
    return chromaticities(frame[None].byte())[0]


def of_object(colours):
    return (colours[:, 0] > colours[:, 2]).float().mean().item()


def test_a_mask_that_is_a_pixel_too_wide_brings_no_other_colours():
    assert of_object(pixels(WHOLE)[:, WIDE].T) < 0.8
    assert of_object(own_colours(pixels(WHOLE), WIDE, ~WIDE)) == 1


def test_colours_that_are_inside_as_well_are_its_own():
    assert len(own_colours(pixels(WHOLE & ~HOLE), WHOLE, ~WHOLE)) == WHOLE.sum()
    assert len(own_colours(pixels(WHOLE & ~HOLE), WIDE, ~WIDE)) == WIDE.sum()


@pytest.mark.parametrize('mask', [boxed((10, 11), (4, 40)), boxed((0, 48), (0, 48))])
def test_of_an_object_without_inside_or_outside_every_colour_counts(mask):
    assert len(own_colours(pixels(WHOLE), mask, ~mask)) == mask.sum()


def test_a_large_picture_says_the_same():
    thin = boxed((10, 26), (10, 12)) | boxed((24, 26), (10, 40))
    large = thin.repeat_interleave(7, 0).repeat_interleave(7, 1)
    frame = large[..., None] * torch.tensor(OBJECT, dtype=torch.uint8)
    colours = chromaticities(frame[None])  # in front of black the rim's mixtures are like it
    assert colours.shape[2:] == (COLOUR_SIDE, COLOUR_SIDE)
    found = Samples.read(Encoding({'dino': FeatureMap(torch.rand(1, 4, 48, 48), True)}, (),
                                  colours), 0, ['dino'], large, GEOMETRY)
    assert of_object(found.colours) == 1
