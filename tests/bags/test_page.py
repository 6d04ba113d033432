# SPDX-License-Identifier: Apache-2.0
"""The page of `samg eval bag` for every combination of figures that a bag may lack."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from samg_ros.bags.report import OFFLINE, PAGE_NAME, VIDEO_NAME, present
from samg_ros.bags.result import Bad, BagResult
from samg_ros.evaluation.episodes import MOST_SHOWN_SIDE, View, small_view

NAN = float('nan')


def result(masked, truth, policy, compared):
    values = [0.2, 0.3, 0.4] if masked else [NAN] * 3
    made = BagResult(
        stamps_ns=[0, 10**8, 2 * 10**8], log_times_ns=[0, 10**8, 2 * 10**8], coverage=values,
        temporal_iou=values, predicted_iou=values, latency_ms=values, unmasked=0 if masked else 3,
        truth_iou=values if truth else [NAN] * 3, with_policy=policy)
    if masked:
        frame = np.zeros((20, 30, 3), np.uint8)
        made.worst = [Bad(0.1, 1, View(frame, frame[..., 0] > 0, frame))]
    if policy:
        made.actions = 3
        made.action_error = [0.0, 0.1, NAN] if compared else [NAN] * 3
        made.no_action['no joints'] = 1
    return made


@pytest.mark.parametrize(('masked', 'truth', 'policy', 'compared', 'video', 'losses'), [
    case for case in itertools.product([True, False], repeat=6) if case[2] or not case[3]])
def test_page_is_written_whatever_is_missing(tmp_path, capsys, masked, truth, policy, compared,
                                             video, losses):
    if video:
        (tmp_path / VIDEO_NAME).write_bytes(b'webm')
    bag = SimpleNamespace(path=tmp_path / 'bag', losses=['a chunk'] if losses else [])
    present(result(masked, truth, policy, compared), bag, SimpleNamespace(image='/image'),
            tmp_path, None, {'Command': 'samg'}, OFFLINE)
    page = (tmp_path / PAGE_NAME).read_text()
    assert ('Latency</div>' in page) == masked
    assert ('Actions</div>' in page) == policy
    assert ('<video' in page) == video
    assert 'mean' in capsys.readouterr().out


def test_shown_frames_of_a_large_camera_are_small_and_own_their_memory():
    frame = np.zeros((2160, 3840, 3), np.uint8)
    view = small_view(View(frame, frame[..., 0] == 0, frame))
    assert view.frame.shape == view.masked.shape == (270, MOST_SHOWN_SIDE, 3)
    assert view.mask.shape == (270, MOST_SHOWN_SIDE) and view.mask.all()
    small = np.zeros((60, 80, 3), np.uint8)
    kept = small_view(View(small, small[..., 0] > 0, small))
    assert kept.frame.shape == small.shape and not np.shares_memory(kept.frame, small)
