# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from samg_ros.errors import InvalidInputError
from samg_ros.evaluation.episodes import wilson_interval
from samg_ros.evaluation.metrics import boundary_f, mask_iou


def plain_boundary_f(mask: np.ndarray, truth: np.ndarray) -> float:
    """Say pixel by pixel what `boundary_f` says of whole arrays."""
    def neighbours(y: int, x: int) -> list[tuple[int, int]]:
        around = [(y, x), (y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        return [(b, a) for b, a in around if 0 <= b < mask.shape[0] and 0 <= a < mask.shape[1]]

    def outline(shape: np.ndarray) -> set[tuple[int, int]]:
        return {(int(y), int(x)) for y, x in np.argwhere(shape)
                if not all(shape[place] for place in neighbours(y, x))}

    def share(of: set[tuple[int, int]], near: set[tuple[int, int]]) -> float:
        return sum(any(place in near for place in neighbours(*pixel)) for pixel in of) / len(of)

    found, true = outline(mask), outline(truth)
    if not found or not true:
        return float(not found and not true)
    precision, recall = share(found, true), share(true, found)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def blobs(seed: int, count: int = 12, size: int = 14) -> np.ndarray:
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, size, size), dtype=bool)
    for mask in masks[1:]:
        y, x = rng.integers(0, size - 4, 2)
        height, width = rng.integers(1, 9, 2)
        mask[y:y + height, x:x + width] = True
        mask[rng.integers(size), rng.integers(size)] ^= True
    return masks


def test_boundary_f_is_its_pixel_by_pixel_definition() -> None:
    masks, truths = blobs(0), blobs(1)
    expected = [plain_boundary_f(*pair) for pair in zip(masks, truths, strict=True)]
    assert np.allclose(boundary_f(masks, truths), expected)
    assert len(set(expected)) > 5


def test_iou_is_overlap_over_union() -> None:
    masks, truths = blobs(2), blobs(3)
    expected = [(mask & truth).sum() / max((mask | truth).sum(), 1)
                for mask, truth in zip(masks[1:], truths[1:], strict=True)]
    assert np.allclose(mask_iou(masks, truths)[1:], expected)


def test_nothing_found_where_nothing_is_is_perfect() -> None:
    nothing, something = np.zeros((8, 8), dtype=bool), np.zeros((8, 8), dtype=bool)
    something[2:5, 2:5] = True
    assert mask_iou(nothing, nothing) == boundary_f(nothing, nothing) == 1
    assert mask_iou(nothing, something) == boundary_f(nothing, something) == 0
    assert mask_iou(something, something) == boundary_f(something, something) == 1


def test_a_shift_of_one_pixel_costs_iou_but_no_boundary() -> None:
    truth = np.zeros((20, 20), dtype=bool)
    truth[4:12, 4:12] = True
    one, three = np.roll(truth, 1, axis=1), np.roll(truth, 3, axis=1)
    assert mask_iou(one, truth) == pytest.approx(7 / 9)
    assert boundary_f(one, truth) == 1
    assert boundary_f(three, truth) < 0.8


def test_masks_of_different_shape_or_kind_are_refused() -> None:
    mask = np.zeros((4, 4), dtype=bool)
    with pytest.raises(InvalidInputError, match=r'\(4, 4\) bool and truths \(4, 5\)'):
        mask_iou(mask, np.zeros((4, 5), dtype=bool))
    with pytest.raises(InvalidInputError, match='uint8'):
        boundary_f(mask, mask.astype(np.uint8))


@pytest.mark.parametrize('successes, count, low, high', [
    (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611),
    (1, 29, 0.0061, 0.1718)])
def test_the_interval_of_a_success_rate_is_wilsons(successes, count, low, high):
    """Against published values: Newcombe 1998, Statistics in Medicine 17, method 3."""
    assert wilson_interval(successes, count) == pytest.approx((low, high), abs=5e-5)
