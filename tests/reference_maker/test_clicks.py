# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from samg_ros.errors import InvalidInputError
from samg_ros.masking.models.loading.untrained import untrained_model
from samg_ros.reference_maker.clicks import ClickSegmenter, cut_along_edges
from samg_ros.reference_maker.edits import Box, Clear, Click, Layer, Stroke, parse_edit

H, W = 240, 320


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.fixture(scope='module')
def encoded(segmenter, scene):
    return segmenter.encode(scene[0])


def test_one_box_cuts_out_what_is_in_it(segmenter, encoded, scene):
    mask = segmenter.mask(encoded, [Box(110, 50, 250, 190)])
    assert iou(mask, scene[1]) > 0.9


def test_a_mask_keeps_every_click(segmenter, encoded):
    clicks = [Click(180, 90), Click(20, 20, False), Click(180, 118), Click(180, 150),
              Click(280, 200, False)]
    mask = segmenter.mask(encoded, clicks)
    assert [bool(mask[int(c.y), int(c.x)]) for c in clicks] == [c.positive for c in clicks]


def test_the_same_edits_give_the_same_mask_whatever_came_between(segmenter, encoded, scene):
    clicks = [Click(180, 90), Click(40, 40, False), Click(160, 140)]
    first = segmenter.mask(encoded, clicks)
    segmenter.mask(encoded, [Click(30, 200)])
    assert (segmenter.mask(segmenter.encode(scene[0]), clicks) == first).all()


def test_any_other_model_cuts_out_too(scene):
    pytest.importorskip('transformers')
    pytest.importorskip('timm')
    pytest.importorskip('segment_anything')
    segmenter = ClickSegmenter(untrained_model('dinov2-s+mobile-sam'))
    picture = segmenter.encode(scene[0])
    mask = segmenter.mask(picture, [Box(110, 50, 250, 190), Click(180, 90), Click(120, 60, False)])
    assert mask[90, 180] and not mask[60, 120] and iou(mask, scene[1]) > 0.5


def test_a_click_changes_only_the_region_that_it_is_in(segmenter, encoded):
    clicks = [Click(180, 90), Click(40, 40, False)]
    before = segmenter.mask(encoded, clicks)
    added = segmenter.mask(encoded, [*clicks, Click(20, 200)])
    assert added[200, 20] and (added >= before).all()
    removed = segmenter.mask(encoded, [*clicks, Click(180, 120, False)])
    assert not removed[120, 180] and (removed <= before).all()


def test_a_picture_seen_long_ago_gives_the_same_mask(segmenter, encoded, scene):
    clicks = [Click(x, 90, x % 2 == 0) for x in range(150, 230, 7)]
    for count in range(1, len(clicks) + 1):
        step_by_step = segmenter.mask(encoded, clicks[:count])
    assert (segmenter.mask(segmenter.encode(scene[0]), clicks) == step_by_step).all()


def test_nothing_outside_the_box_is_in_the_mask(segmenter, encoded):
    mask = segmenter.mask(encoded, [Click(180, 100), Box(150, 60, 200, 130)])
    mask[60:132, 150:203] = False  # a cell of the cut is more than a pixel
    assert not mask.any()


def test_strokes_change_the_pixels_under_them_and_no_others(segmenter, encoded):
    before = segmenter.mask(encoded, [Click(180, 90)])
    edits = [Click(180, 90), Stroke(((10.0, 10.0), (40.0, 10.0)), 4), Stroke(((180.0, 90.0),), 5,
                                                                            add=False)]
    after = segmenter.mask(encoded, edits)
    changed = np.argwhere(before != after)
    assert after[10, 10:40].all() and not after[90, 180]
    near_brush = (np.abs(changed - (10, 25)) <= (5, 20)).all(axis=1)
    assert (near_brush | (np.abs(changed - (90, 180)) <= 6).all(axis=1)).all()


def test_a_loaded_mask_is_gone_on_with(segmenter, encoded, scene):
    half = scene[1] & (np.arange(W) < 180)
    assert (segmenter.mask(encoded, [], half) == half).all()
    assert iou(segmenter.mask(encoded, [Click(215, 90), Click(215, 150)], half), scene[1]) > 0.9


def test_no_edit_makes_no_mask(segmenter, encoded):
    assert not segmenter.mask(encoded, []).any()


@pytest.mark.parametrize('size', [(16, 16), (16, 256), (300, 40)])
def test_any_size_that_the_masker_takes(segmenter, size):
    image = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    mask = segmenter.mask(segmenter.encode(image), [Click(size[1] - 1, size[0] - 1),
                                                    Click(0, 0, False), Box(0, 0, 9, 9)])
    assert mask.shape == size


def test_a_cut_at_the_corner_stays_in_the_picture():
    image = np.zeros((50, 50, 3), np.uint8)
    image[:20, :20] = 255
    mask = np.zeros((50, 50), bool)
    mask[:18, :22] = True
    found = cut_along_edges(image, mask, [Click(0, 0), Click(49, 49, False)], None)
    assert found[:19, :19].all() and not found[21:, 21:].any()


def test_undo_and_redo_walk_through_the_edits():
    layer = Layer()
    for x in range(3):
        layer.do(Click(x, 0))
    layer.undo()
    layer.undo()
    assert layer.current == (None, [Click(0, 0)])
    layer.redo()
    assert layer.current == (None, [Click(0, 0), Click(1, 0)])
    layer.do(Click(9, 9))
    layer.redo()
    assert layer.current[1][-1] == Click(9, 9)


def test_undo_brings_back_what_was_cleared():
    base = np.ones((4, 4), bool)
    layer = Layer(base, [Click(1, 1)])
    layer.do(Clear())
    assert layer.current == (None, [])
    layer.undo()
    assert layer.current == (base, [Click(1, 1)])


@pytest.mark.parametrize(('value', 'said'), [
    ({}, 'expected click, box, stroke or clear'),
    ({'kind': 'click', 'x': 1, 'y': 2}, 'positive'),
    ({'kind': 'click', 'x': -1, 'y': 2, 'positive': True}, 'outside the 320 x 240'),
    ({'kind': 'click', 'x': 320, 'y': 2, 'positive': True}, 'outside'),
    ({'kind': 'click', 'x': float('nan'), 'y': 2, 'positive': True}, 'number of pixels'),
    ({'kind': 'click', 'x': True, 'y': 2, 'positive': True}, 'number of pixels'),
    ({'kind': 'click', 'x': '1', 'y': 2, 'positive': True}, 'number of pixels'),
    ({'kind': 'box', 'x0': 1, 'y0': 1, 'x1': 2, 'y1': 90}, 'smaller than two pixels'),
    ({'kind': 'stroke', 'points': [], 'radius': 1, 'add': True}, 'points'),
    ({'kind': 'stroke', 'points': [[1]], 'radius': 1, 'add': True}, 'points'),
    ({'kind': 'stroke', 'points': [[1, 1]] * 5000, 'radius': 1, 'add': True}, 'points'),
    ({'kind': 'stroke', 'points': [[1, 1]], 'radius': 1e5, 'add': True}, 'radius'),
    ({'kind': 'stroke', 'points': [[1, 1e300]], 'radius': 1, 'add': True}, 'number of pixels'),
])
def test_what_is_no_edit_is_refused(value, said):
    with pytest.raises(InvalidInputError, match=said):
        parse_edit(value, H, W)
