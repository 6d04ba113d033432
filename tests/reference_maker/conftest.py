# SPDX-License-Identifier: Apache-2.0
"""A scene that every model can cut out, and the page served."""

import shutil
import socket
import threading
from contextlib import contextmanager

import cv2
import numpy as np
import pytest
import uvicorn

from samg_ros.masking import MaskerSettings
from samg_ros.masking.models import load_model
from samg_ros.reference_maker.access import LOOPBACK_NAMES, Guard
from samg_ros.reference_maker.clicks import ClickSegmenter
from samg_ros.reference_maker.server import Server
from samg_ros.reference_maker.session import Session

TOKEN = 'secret-token'
BROWSERS = ('chromium', 'chromium-browser', 'google-chrome')


@pytest.fixture(scope='session')
def model():
    return load_model('mini').eval()


@pytest.fixture(scope='session')
def segmenter(model):
    return ClickSegmenter(model)


@pytest.fixture
def session(segmenter):
    return Session(segmenter)


@pytest.fixture(scope='session')
def scene():
    """(image, truth): a red ball with a yellow stripe on a bluish, noisy table, 240 x 320."""
    rng = np.random.default_rng(3)
    image = np.full((240, 320, 3), (70, 90, 130), np.uint8)
    truth = np.zeros((240, 320), np.uint8)
    cv2.circle(truth, (180, 120), 60, 1, -1)
    cv2.circle(image, (180, 120), 60, (200, 40, 30), -1)
    cv2.rectangle(image, (150, 112), (210, 126), (230, 200, 40), -1)
    image = np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
    return image, truth.astype(bool)


@pytest.fixture
def photo(scene, tmp_path):
    path = tmp_path / 'photo.png'
    cv2.imwrite(str(path), scene[0][..., ::-1])
    return path


@contextmanager
def serving(server, names=LOOPBACK_NAMES):
    """Serve a page from this process, as `samg reference make` does; yields its port."""
    with socket.socket() as place:
        place.bind(('127.0.0.1', 0))
        place.listen()  # asked before the server is up, it keeps callers waiting
        port = place.getsockname()[1]
        web = uvicorn.Server(uvicorn.Config(Guard(server.app(), TOKEN, names, port), ws='none',
                                            log_level='warning', lifespan='off'))
        thread = threading.Thread(target=web.run, kwargs={'sockets': [place]})
        thread.start()
        try:
            yield port
        finally:
            web.should_exit = True
            thread.join()


@pytest.fixture
def server(session, model, tmp_path):
    return Server(session, model, MaskerSettings(), 'cpu', tmp_path / 'ref')


@pytest.fixture(scope='session')
def chromium():
    """A real Chromium that Playwright drives; skips with the reason where there is none."""
    playwright = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f'no browser: none of {", ".join(BROWSERS)} is installed '
                    '(apt-get install chromium)')
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=['--no-sandbox'])
        yield browser
        browser.close()
