# SPDX-License-Identifier: Apache-2.0
"""Masking with a memory of the frame before: half the looks, and no error that stays."""

import numpy as np
import pytest

from samg_ros.errors import InvalidInputError
from samg_ros.masking import Masker, MaskerSettings, Reference
from samg_ros.masking.tracker import LONGEST_GAP_S, Tracker

SHAPE = (120, 160)
PERIOD_S = 0.1


def striped_frame(shape, middle):
    """Return a frame (H, W, 3) uint8 with a disc of stripes, and the disc (H, W) bool."""
    row, column = np.mgrid[:shape[0], :shape[1]]
    frame = np.clip(np.random.default_rng(0).normal(90, 12, (*shape, 3)), 0, 255).astype(np.uint8)
    disc = (row - middle[0]) ** 2 + (column - middle[1]) ** 2 < 14 ** 2
    frame[disc] = (220, 60, 30)
    frame[disc & ((column - middle[1]) % 8 < 3)] = (240, 200, 40)
    return frame, disc


def iou(mask, truth):
    return (mask & truth).sum() / (mask | truth).sum()


@pytest.fixture(scope='module')
def masker():
    frame, mask = striped_frame(SHAPE, (30, 40))
    found = Masker.load('mini', MaskerSettings(temporal='prior', engine='torch'))
    found.fit(Reference(frame, mask))
    return found


@pytest.fixture
def looks(masker, monkeypatch):
    """Sizes of the pictures that the model has looked at."""
    seen, prepare = [], masker._frame_model.prepare

    def count(frames):
        seen.append(tuple(frames.shape[1:3]))
        return prepare(frames)

    monkeypatch.setattr(masker._frame_model, 'prepare', count)
    return seen


def test_an_object_that_moves_is_followed_with_one_look_a_frame(masker, looks):
    tracker = Tracker(masker)
    for index in range(6):
        frame, truth = striped_frame(SHAPE, (30 + 3 * index, 40 + 5 * index))
        looks.clear()
        prediction = tracker.predict(frame, index * PERIOD_S)
        assert iou(prediction.masks[0].numpy(), truth) > 0.85
        assert len(looks) == (1 if index else 2)
        x, y = prediction.prompts[0].points[0, 0].tolist()
        assert truth[y, x]
        assert prediction.similarity.shape == prediction.logits.shape == (1, 1, *SHAPE)


def test_an_object_that_has_jumped_is_looked_for_in_the_whole_frame(masker, looks):
    tracker = Tracker(masker)
    tracker.predict(striped_frame(SHAPE, (20, 30))[0], 0.0)
    frame, truth = striped_frame(SHAPE, (80, 120))
    looks.clear()
    assert iou(tracker.predict(frame, PERIOD_S).masks[0].numpy(), truth) > 0.85
    assert SHAPE in looks


def test_a_frame_that_comes_again_is_masked_as_at_first(masker):
    once, twice = Tracker(masker), Tracker(masker)
    for index in range(4):
        frame, _ = striped_frame(SHAPE, (30 + 3 * index, 40 + 5 * index))
        found = once.predict(frame, index * PERIOD_S)
        for _ in range(2):
            again = twice.predict(frame, index * PERIOD_S)
            assert (again.logits == found.logits).all()
            assert (again.object_masks == found.object_masks).all()


@pytest.mark.parametrize('gap_s', [2 * LONGEST_GAP_S, -1.0])
def test_nothing_is_known_after_a_gap_or_a_jump_of_the_stamp(masker, looks, gap_s):
    tracker = Tracker(masker)
    frame, _ = striped_frame(SHAPE, (30, 40))
    tracker.predict(frame, 5.0)
    looks.clear()
    tracker.predict(frame, 5.0 + gap_s)
    assert SHAPE in looks


def test_off_is_the_masker_to_the_bit():
    frame, mask = striped_frame(SHAPE, (30, 40))
    masker = Masker.load('mini', MaskerSettings(engine='torch')).fit(Reference(frame, mask))
    tracker = Tracker(masker)
    for index in range(3):
        moved, _ = striped_frame(SHAPE, (30 + 4 * index, 40))
        found, alone = tracker.predict(moved, index * PERIOD_S), masker.predict(moved[None])
        assert (found.logits == alone.logits).all()
        assert (found.object_masks == alone.object_masks).all()


def test_a_prior_without_a_second_look_is_refused():
    with pytest.raises(InvalidInputError, match='needs second_look'):
        Masker.load('mini', MaskerSettings(temporal='prior', second_look=False))
    with pytest.raises(InvalidInputError, match='temporal'):
        MaskerSettings(temporal='always')
