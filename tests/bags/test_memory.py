# SPDX-License-Identifier: Apache-2.0
"""The memory that a bag takes does not depend on its length, nor a page on the camera's size."""

import cv2
import numpy as np
import pytest

from samg_ros.bags.bag import open_bag
from samg_ros.bags.evaluate import WORST, evaluate_bag
from samg_ros.bags.recording import Recording
from samg_ros.bags.report import OFFLINE, PAGE_NAME, present
from samg_ros.bags.topics import find_topics
from samg_ros.evaluation.episodes import MOST_SHOWN_SIDE
from samg_ros.masking import Masker, MaskerSettings, Reference

from .conftest import PERIOD_NS, STORE, TYPES, header

HEIGHT, WIDTH, COUNT, SETTLED = 2160, 3840, 48, 6
FRAME_BYTES = HEIGHT * WIDTH * 3
PICTURE_BYTES = MOST_SHOWN_SIDE**2 * 3
"""Of a picture on the page at most, before it is compressed."""


def resident_bytes():
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * 4096


def scene(index):
    squares = np.random.default_rng(0).integers(0, 80, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    frame = squares.repeat(8, axis=0).repeat(8, axis=1)  # hard to compress
    centre = WIDTH // 4 + index * 20, HEIGHT // 2
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(mask, centre, HEIGHT // 4, 1, -1)
    frame[mask > 0] = (230, 140, 20)
    return frame, mask > 0


@pytest.fixture(scope='module')
def bag(tmp_path_factory):
    """Frames of 4K as JPEG, without their truth."""
    path = tmp_path_factory.mktemp('large') / 'large.mcap'
    recording = Recording(path)
    for index in range(COUNT):
        data = cv2.imencode('.jpg', scene(index)[0][..., ::-1])[1].reshape(-1)
        kind = 'sensor_msgs/msg/CompressedImage'
        message = TYPES[kind](header=header(index * PERIOD_NS), format='jpeg', data=data)
        recording.add('/camera/image_raw/compressed', kind, index * PERIOD_NS,
                      bytes(STORE.serialize_cdr(message, kind)))
    recording.close()
    return open_bag(path)


@pytest.mark.slow
def test_frames_of_4k_are_not_kept_and_the_page_is_small(bag, tmp_path):
    frame, mask = scene(0)
    small = cv2.resize(frame, (480, 270), interpolation=cv2.INTER_AREA)
    shown = cv2.resize(mask.view(np.uint8), (480, 270), interpolation=cv2.INTER_NEAREST) > 0
    masker = Masker.load('mini', MaskerSettings(fit_weights=False, second_look=False)).fit(
        Reference(small, shown))
    sizes = []
    topics = find_topics(bag)
    result = evaluate_bag(bag, topics, masker, sink=lambda made: sizes.append(resident_bytes()))
    assert len(sizes) == COUNT
    grown = max(sizes[SETTLED:]) - sizes[SETTLED]
    print(f'grown by {grown / 1e6:.0f} MB over {COUNT - SETTLED} frames of {FRAME_BYTES / 1e6:.0f} '
          'MB')
    # A frame and what is made of it while it is masked, and what is kept for the page.
    assert grown < 2 * FRAME_BYTES + 5 * WORST * 3 * PICTURE_BYTES
    present(result, bag, topics, tmp_path, None, {}, OFFLINE)
    assert (tmp_path / PAGE_NAME).stat().st_size < 2 * WORST * PICTURE_BYTES
