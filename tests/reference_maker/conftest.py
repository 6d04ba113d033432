# SPDX-License-Identifier: Apache-2.0
"""A scene that every model can cut out, and the page as a process of its own."""

import re
import shutil
import subprocess
import sys
from contextlib import contextmanager

import cv2
import numpy as np
import pytest

from samg_ros.masking.models import load_model
from samg_ros.reference_maker.clicks import ClickSegmenter
from samg_ros.reference_maker.session import Session

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
def started(*arguments):
    """`samg reference make` as a process; yields (link, process)."""
    process = subprocess.Popen(
        [sys.executable, '-m', 'samg_ros', 'reference', 'make', '--no-browser',
         *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        link = process.stdout.readline().strip()
        assert re.match('http://', link), process.communicate(timeout=30)
        yield link, process
    finally:
        process.terminate()
        process.communicate(timeout=30)


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
