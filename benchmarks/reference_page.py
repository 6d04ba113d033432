# SPDX-License-Identifier: Apache-2.0
"""The page of `samg reference make` in a real Chromium: how long a click takes, and its pictures.

`python benchmarks/reference_page.py time PHOTO` prints milliseconds and memory,
`python benchmarks/reference_page.py pictures ../shared/data/real/rc_car/frames docs/images` writes
the pictures of the documentation.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

BROWSERS = ('chromium', 'chromium-browser', 'google-chrome')
LARGE = (4000, 3000)
CLICKS_BY_PLACE = ((0.50, 0.62), (0.44, 0.50), (0.70, 0.62), (0.46, 0.84), (0.72, 0.78))
"""On the toy car of the pictures in the documentation, as shares of width and height."""


@contextmanager
def served(*arguments: object) -> Iterator[tuple[str, int]]:
    """Yield the link and the process id of `samg reference make`."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, '-m', 'samg_ros', 'reference', 'make', '--no-browser',
             *map(str, arguments), '--out', f'{folder}/my_reference'],
            stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process.pid
        finally:
            process.terminate()
            process.wait()


def settle(tab: Page) -> None:
    """Wait until the page has shown all answers."""
    tab.wait_for_timeout(80)
    tab.wait_for_selector('body[data-busy="0"]')


def place(tab: Page, x: float, y: float, width: int, height: int) -> tuple[float, float]:
    """Return where on the screen a share of the fitted picture is."""
    box = tab.locator('#canvas').bounding_box()
    assert box is not None
    scale = min(box['width'] / width, box['height'] / height) * 0.98
    return (box['x'] + box['width'] / 2 + (x - 0.5) * width * scale,
            box['y'] + box['height'] / 2 + (y - 0.5) * height * scale)


def resident_mb(pid: int) -> float:
    """Return the memory that a process holds."""
    found = re.search(r'VmRSS:\s+(\d+)', Path(f'/proc/{pid}/status').read_text())
    assert found is not None
    return int(found[1]) / 1024


def take_times(browser: Browser, photo: Path, clicks: int) -> None:
    """Print how long clicks take on a photo, as it is and at 4000 x 3000.

    From the press of the button until the page has drawn the new mask, as the page counts it.
    """
    with tempfile.TemporaryDirectory() as folder:
        image = cv2.imread(str(photo))
        large = Path(folder) / 'large.jpg'
        cv2.imwrite(str(large), cv2.resize(image, LARGE))
        for path, width, height in ((photo, image.shape[1], image.shape[0]), (large, *LARGE)):
            with served(path) as (link, pid):
                tab = browser.new_page(viewport={'width': 1280, 'height': 800})
                tab.goto(link)
                tab.wait_for_selector('#pictures img')
                settle(tab)
                rng = np.random.default_rng(0)
                times, memory = [], 0.0
                for index in range(clicks):
                    x, y = rng.uniform(0.2, 0.8, 2)
                    tab.mouse.click(*place(tab, x, y, width, height),
                                    button='left' if index % 2 == 0 else 'right')
                    tab.wait_for_selector(f'body[data-answered="{index + 1}"]')
                    times.append(int(tab.get_attribute('body', 'data-answered-ms') or 0))
                    memory = memory or (resident_mb(pid) if index == clicks // 5 else 0.0)
                median, high = np.percentile(times, [50, 95])
                print(f'{width} x {height}: {clicks} clicks, median {median:.0f} ms, 95th '
                      f'percentile {high:.0f} ms; memory {memory:.0f} MB after a fifth, '
                      f'{resident_mb(pid):.0f} MB at the end')
                tab.close()


def take_pictures(browser: Browser, frames: Path, out: Path) -> None:
    """Write the pictures of the documentation: the page on a desk, in the dark, on a phone."""
    pictures = sorted(frames.iterdir())
    with served(pictures[1]) as (link, _):
        tab = browser.new_page(viewport={'width': 1200, 'height': 760})
        tab.goto(link)
        tab.wait_for_selector('#pictures img')
        settle(tab)
        height, width = cv2.imread(str(pictures[1])).shape[:2]
        for x, y in CLICKS_BY_PLACE:
            tab.mouse.click(*place(tab, x, y, width, height))
            settle(tab)
        shoot(tab, out / 'reference_page.jpg')
        tab.set_input_files('#try-file', pictures[2:])
        settle(tab)
        tab.wait_for_timeout(800)
        tab.locator('#trial').screenshot(path=str(out / 'reference_trial.jpg'), type='jpeg',
                                         quality=80)
        for name, options in (
                ('reference_dark.jpg', {'viewport': {'width': 1200, 'height': 760},
                                        'color_scheme': 'dark'}),
                ('reference_phone.jpg', {'viewport': {'width': 390, 'height': 780},
                                         'device_scale_factor': 2, 'is_mobile': True,
                                         'has_touch': True})):
            context = browser.new_context(**options)
            tab = context.new_page()
            tab.goto(link)
            tab.wait_for_selector('#pictures img')
            settle(tab)
            shoot(tab, out / name)
            context.close()


def shoot(tab: Page, path: Path) -> None:
    """Write what a tab shows."""
    tab.mouse.move(0, 0)
    tab.wait_for_timeout(200)
    tab.screenshot(path=str(path), type='jpeg', quality=80)
    print(path)


def main() -> None:
    """Run the one or the other."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest='kind', required=True)
    timing = kinds.add_parser('time')
    timing.add_argument('photo', type=Path)
    timing.add_argument('--clicks', type=int, default=40)
    pictures = kinds.add_parser('pictures')
    pictures.add_argument('frames', type=Path)
    pictures.add_argument('out', type=Path)
    args = parser.parse_args()
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        sys.exit(f'none of {", ".join(BROWSERS)} is installed; apt-get install chromium')
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=['--no-sandbox'])
        if args.kind == 'time':
            take_times(browser, args.photo, args.clicks)
        else:
            take_pictures(browser, args.frames, args.out)


if __name__ == '__main__':
    main()
