# SPDX-License-Identifier: Apache-2.0
"""The report page holds everything it shows."""

import base64
import re
import tempfile
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from samg_ros.errors import OutputError
from samg_ros.evaluation.episodes import EpisodeResults, View
from samg_ros.evaluation.report import write_report
from samg_ros.rl.presets import preset


def make_views(count, colour):
    views = []
    for i in range(count):
        frame = np.full((84, 84, 3), colour, np.uint8)
        mask = np.zeros((84, 84), bool)
        mask[30:50, 10 + i : 40 + i] = True
        views.append(View(frame, mask, np.where(mask[..., None], frame, 0).astype(np.uint8)))
    return tuple(views)


def make_result(setting, returns, colour, iou):
    return EpisodeResults(
        setting, tuple(returns), tuple((iou,) * 20 for _ in returns),
        make_views(6, colour), make_views(10, colour), 40.0,
    )


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    return write_report(
        tmp_path_factory.mktemp('run'),
        config=preset('quick', 'walker_walk', seed=7).to_dict(),
        counters={'steps': 12000, 'updates': 11500, 'episodes': 96, 'seconds': 431.0},
        results={
            'train': make_result('train', [600.0, 640.0], (200, 40, 40), 0.91),
            'video_hard': make_result('video_hard', [480.0, 520.0], (40, 40, 200), 0.83),
        },
        random=EpisodeResults('train', (30.0, 50.0)),
        curve=[{'frames': 1000.0 * i, 'step': 1.0, 'episode_return': 20.0 * i} for i in range(30)],
        facts={'Command': 'samg run sim_train --task "<walker>"', 'Set-up': '42 s'},
    )


class Resources(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ('src', 'srcset', 'href', 'poster'):
                self.found.append((tag, value))


def test_nothing_is_loaded_from_anywhere(page):
    text = page.read_text()
    resources = Resources()
    resources.feed(text)
    kinds = {tag for tag, _ in resources.found}
    assert kinds == {'img', 'source', 'video'}
    assert all(value.startswith('data:') for _, value in resources.found)
    assert 'url(' not in text
    assert '<script' not in text
    assert '<link' not in text


def test_figures_are_on_the_page(page):
    text = re.sub(r'data:[^"]*', '', page.read_text())
    for figure in (
        'walker_walk', '620', '500', '81% of train kept', '15.5 times', '0.91', '0.83',
        '620.0 ± 20.0', '40.0 ± 10.0', '7:11 min', '27.8 camera frames/s', 'Set-up', '42 s',
        '&lt;walker&gt;', '12,000',
    ):
        assert figure in text, figure


def test_video_plays_and_shows_camera_mask_and_masked_frame(page):
    videos = re.findall(r'<video src="data:video/webm;base64,([^"]+)"', page.read_text())
    assert len(videos) == 2
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'video.webm'
        path.write_bytes(base64.b64decode(videos[1]))
        capture = cv2.VideoCapture(str(path))
        frames = []
        while True:
            good, frame = capture.read()
            if not good:
                break
            frames.append(frame[..., ::-1].astype(int))
        capture.release()
    assert len(frames) == 10
    height, width = frames[0].shape[:2]
    assert (height, width) == (168, 504)
    camera, masked = frames[0][10, 10], frames[0][10, width - 10]
    np.testing.assert_allclose(camera, (40, 40, 200), atol=25)
    np.testing.assert_allclose(masked, (0, 0, 0), atol=25)


def test_strips_are_the_frames_themselves(page):
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page.read_text())
    assert len(pictures) == 2 * 3 * 6
    first = cv2.imdecode(np.frombuffer(base64.b64decode(pictures[0]), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(first[..., ::-1], make_views(1, (200, 40, 40))[0].frame)


def test_a_page_without_masks_and_random_policy_leaves_their_figures_out(tmp_path):
    path = write_report(
        tmp_path,
        config=preset('quick', 'walker_walk').to_dict(),
        counters={'steps': 5, 'updates': 0, 'episodes': 0, 'seconds': 0.0},
        results={'train': EpisodeResults('train', (0.0,))},
    )
    text = path.read_text()
    assert 'Mask IoU by setting' not in text
    assert 'times the random' not in text


def test_a_page_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(OutputError, match=r'report\.html'):
        write_report(
            tmp_path / 'file',
            config=preset('quick', 'walker_walk').to_dict(),
            counters={'steps': 5, 'updates': 0, 'episodes': 0, 'seconds': 0.0},
            results={'train': EpisodeResults('train', (0.0,))},
        )
