# SPDX-License-Identifier: Apache-2.0
"""How many clicks a mask takes, and how long a click takes.

A script clicks as a careful person would: first the innermost point of the given mask, then the
innermost point of what is wrong. It prints for each sequence the mean IoU after every click and how
many pictures reach 0.90.

Run as `python benchmarks/reference_clicks.py ../shared/data/real/{box,cup,rc_car,duck_toy}`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from samg_ros.masking.models import load_model
from samg_ros.reference_maker.clicks import ClickSegmenter
from samg_ros.reference_maker.edits import Click

GOOD = 0.90


def innermost(mask: np.ndarray) -> tuple[int, int]:
    """Return (x, y) of the pixel of a (H, W) bool mask that is farthest from its border."""
    padded = np.pad(mask, 1).astype(np.uint8)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return int(x), int(y)


def pictures(sequence: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (H, W, 3) uint8 RGB pictures and (H, W) bool masks of a sequence."""
    for file in sorted((sequence / 'frames').iterdir()):
        mask = cv2.imread(str(sequence / 'masks' / f'{file.stem}.png'), cv2.IMREAD_GRAYSCALE)
        yield cv2.imread(str(file))[..., ::-1].copy(), mask > 0


def click_through(segmenter: ClickSegmenter, image: np.ndarray, truth: np.ndarray,
                  count: int) -> tuple[list[float], list[float]]:
    """Click so many times; return the IoU after each click and the seconds that each took."""
    encoded = segmenter.encode(image)
    mask, clicks, ious, seconds = np.zeros_like(truth), [], [], []
    for _ in range(count):
        x, y = innermost(mask ^ truth)
        clicks.append(Click(x, y, bool(truth[y, x])))
        begin = time.perf_counter()
        mask = segmenter.mask(encoded, clicks)
        seconds.append(time.perf_counter() - begin)
        ious.append(float((mask & truth).sum() / (mask | truth).sum()))
    return ious, seconds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('sequences', nargs='+', type=Path)
    parser.add_argument('--model', default='mini')
    parser.add_argument('--weights')
    parser.add_argument('--clicks', type=int, default=6)
    parser.add_argument('--json', type=Path)
    args = parser.parse_args()
    segmenter = ClickSegmenter(load_model(args.model, args.weights).eval())
    print(f'{"sequence":12} mean IoU after click 1 .. {args.clicks}; pictures that reach '
          f'{GOOD:.2f}; that have it at the end')
    figures, times = {}, []
    for sequence in args.sequences:
        done = [click_through(segmenter, *pair, args.clicks) for pair in pictures(sequence)]
        ious = np.array([one for one, _ in done])
        times += [second for _, seconds in done for second in seconds]
        reached, last = (ious.max(axis=1) >= GOOD).sum(), (ious[:, -1] >= GOOD).sum()
        figures[sequence.name] = ious.tolist()
        print(f'{sequence.name:12} {" ".join(f"{value:.3f}" for value in ious.mean(axis=0))}  '
              f'{reached} of {len(ious)}  {last} of {len(ious)}')
    median, high = np.percentile(times, [50, 95]) * 1000
    print(f'a click: median {median:.0f} ms, 95th percentile {high:.0f} ms')
    if args.json:
        args.json.write_text(json.dumps({'ious': figures, 'click_ms': [median, high]}) + '\n')


if __name__ == '__main__':
    main()
