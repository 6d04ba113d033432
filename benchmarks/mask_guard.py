# SPDX-License-Identifier: Apache-2.0
"""The thresholds of the policy's mask guard, and how many wrong masks it finds with them.

    python benchmarks/mask_guard.py --videos ../shared/data/dmcgb/video_hard

The simulated arm is moved by random velocities within its action limits, each held for up to half a
second; its frames are masked by the shipped model.

Thresholds for config/arm.yaml come from one set of seeds. `mask_max_speed` and `mask_max_growth`
are twice the greatest changes between two frames in the clean setting `train`. `mask_min_iou` is
what 99 % of the good masks (IoU of 0.75 or more with the true one) are above, in `train` and in
front of procedural videos, as cameras with faults of training show them; not more than 0.5, below
which a mask is wrong.

The detection rate, of the thresholds that stand in config/arm.yaml, comes from another set of
seeds, from videos that had no part in that, and from faults that had none: in the middle of an
episode it gets dark, the picture becomes noisy or blurred, something covers half of it, it becomes
a negative, or the object is gone. A mask is wrong if its IoU with the true one is below 0.5, or if
anything is marked of an object that is gone. It is found if it is empty or doubtful.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from samg_ros.evaluation.metrics import mask_iou
from samg_ros.files.share import share_file
from samg_ros.masking import Masker, MaskerSettings, Reference, apply_mask
from samg_ros.policy.mask_guard import GROWTH, IOU, SPEED, MaskGuard, MaskLimits, mask_shape
from samg_ros.pretraining.faults import camera_picture
from samg_ros.ros.given_parameters import given_parameters
from samg_ros.sim.env import SimEnv

FILL = (0, 0, 0)
MARGIN = 2.0
LONGEST_S = 0.5
SETTLE_S = 1.0
GOOD, WRONG = 0.75, 0.5
"""IoU with the true mask from which a mask counts as good, and below which as wrong."""
KEPT = 0.01
"""Share of the good masks that may be below `mask_min_iou`."""
BEFORE, DURING = 8, 12
"""Frames before a fault and during it."""
WHOLE = 125
"""Frames of a whole episode."""
IN_TIME_S = 0.5
"""Of the watchdog, config/arm.yaml: so long may an arm be sent on."""


Frame = tuple[float, np.ndarray, np.ndarray]
"""Seconds, (H, W, 3) uint8 RGB, and the true mask, (H, W) bool."""
Change = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From a frame and its true mask to those with a fault."""


class Seen:
    """What the masker made of one frame."""

    def __init__(self, masker: Masker, at_s: float, frame: np.ndarray, truth: np.ndarray) -> None:
        found = masker.predict(frame[None])
        mask = found.masks[0].cpu().numpy()
        self.at_s, self.empty = at_s, not mask.any()
        self.predicted_iou = float(found.predicted_iou.min())
        self.iou = mask_iou(mask, truth) if truth.any() else float(self.empty)
        self.good = bool(truth.any()) and self.iou >= GOOD
        white = np.full((*mask.shape, 3), 255, np.uint8)
        self.shape = mask_shape(apply_mask(white, mask, FILL), FILL)


def main() -> None:
    """Print the thresholds and the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--task', default='arm_reach')
    parser.add_argument('--episodes', type=int, default=10, help='of each kind (10)')
    parser.add_argument('--size', type=int, default=84, help='side of a frame in pixels (84)')
    parser.add_argument('--videos', default=None, help='folder to test with (procedural ones)')
    args = parser.parse_args()
    masker = fitted(args)
    for name, limits in (('for config/arm.yaml', calibrated(args, masker)),
                         ('in config/arm.yaml', shipped())):
        print(f'{name}: mask_max_speed {limits.max_speed}, mask_max_growth {limits.max_growth}, '
              f'mask_min_iou {limits.min_iou}', flush=True)
    print('\n| fault | masks | good | false alarms | wrong | found | empty | by IoU | by speed | '
          'by growth | episodes with wrong masks, found within 0.5 s of the first |\n|'
          + '---|' * 11)
    for fault in FAULTS:
        print(row(args, masker, limits, fault), flush=True)


def fitted(args: argparse.Namespace) -> Masker:
    """Return the shipped masker, fitted to a rendered reference."""
    env = SimEnv(args.task, height=args.size, width=args.size)
    step = env.reset()
    env.close()
    return Masker.load('mini', MaskerSettings()).fit(Reference(step.frame, np.array(step.mask)))


def calibrated(args: argparse.Namespace, masker: Masker) -> MaskLimits:
    """Return the thresholds, from the first set of seeds."""
    speeds, growths, predicted = [0.0], [0.0], []
    for seed in range(1000, 1000 + args.episodes):
        clean = [Seen(masker, *each) for each in play(args, seed, 'train', count=WHOLE)]
        for before, now in zip(clean, clean[1:], strict=False):
            if not before.empty and not now.empty:
                seconds = now.at_s - before.at_s
                speeds.append(math.hypot(now.shape.x - before.shape.x,
                                         now.shape.y - before.shape.y) / seconds)
                growths.append(abs(math.log(now.shape.area / before.shape.area)) / seconds)
        rng = np.random.default_rng(seed)
        for setting in ('train', 'video_hard'):
            seen = [Seen(masker, at_s, camera_picture(rng, frame), truth)
                    for at_s, frame, truth in play(args, seed, setting)]
            predicted += [each.predicted_iou for each in seen if each.good]
    print(f'thresholds from {len(speeds) - 1} pairs of masks and {len(predicted)} good masks')
    return MaskLimits(math.ceil(10 * MARGIN * max(speeds)) / 10,
                      math.ceil(10 * MARGIN * max(growths)) / 10,
                      min_iou=min(WRONG, math.floor(100 * float(np.quantile(predicted, KEPT)))
                                  / 100))


def shipped() -> MaskLimits:
    """Return the thresholds in config/arm.yaml."""
    given = given_parameters(share_file('config/arm.yaml'), 'policy')
    return MaskLimits(given['mask_max_speed'], given['mask_max_growth'],
                      given['mask_slow_down'], given['mask_min_iou'])


def row(args: argparse.Namespace, masker: Masker, limits: MaskLimits, fault: str) -> str:
    """Return a line of the table: the second set of seeds, with a fault."""
    count: Counter[str] = Counter()
    for seed in range(2000, 2000 + args.episodes):
        guard, first_s, alarms = MaskGuard(limits, SETTLE_S), math.inf, []
        change = FAULTS[fault](np.random.default_rng(seed), args.size)
        for index, (at_s, frame, truth) in enumerate(play(args, seed, 'video_hard', args.videos)):
            if index >= BEFORE:
                frame, truth = change(frame, truth)
            seen = Seen(masker, at_s, frame, truth)
            doubt = None if seen.empty else guard.doubt(at_s, seen.shape, seen.predicted_iou)
            alarm = 'empty' if seen.empty else doubt.cause if doubt else ''
            if index < BEFORE:
                continue
            count['masks'] += 1
            count['good'] += seen.good
            count['false'] += seen.good and bool(alarm)
            if seen.iou < WRONG:
                count['wrong'] += 1
                count['found'] += bool(alarm)
                count[alarm] += 1
                first_s = min(first_s, at_s)
                alarms.append(at_s - first_s if alarm else math.inf)
        count['wrong episodes'] += bool(alarms)
        count['in time'] += bool(alarms) and min(alarms) <= IN_TIME_S
    return '| ' + ' | '.join([fault, *(str(count[name]) for name in (
        'masks', 'good', 'false', 'wrong', 'found', 'empty', IOU, SPEED, GROWTH)),
        f'{count["in time"]} of {count["wrong episodes"]}']) + ' |'


def play(args: argparse.Namespace, seed: int, setting: str, videos: str | None = None,
         count: int = BEFORE + DURING) -> Iterator[Frame]:
    """Yield the frames of an arm that moves about."""
    env = SimEnv(args.task, setting=setting, seed=seed, action_repeat=2, height=args.size,
                 width=args.size, videos=videos)
    rng = np.random.default_rng(seed)
    low, high = env.action_spec
    period_s = env.control_period_ns * 1e-9 * 2
    step, until = env.reset(), 0
    for index in range(count):
        yield index * period_s, step.frame, np.array(step.mask)
        if index >= until:
            action = rng.uniform(low, high)
            until = index + rng.integers(1, max(2, round(LONGEST_S / period_s)))
        step = env.step(action)
    env.close()


def none(rng: np.random.Generator, size: int) -> Change:
    """Nothing happens."""
    return lambda frame, truth: (frame, truth)


def dark(rng: np.random.Generator, size: int) -> Change:
    """The light goes down to a share of what it was."""
    share = rng.uniform(0.05, 0.3)
    return lambda frame, truth: ((frame * share).astype(np.uint8), truth)


def noisy(rng: np.random.Generator, size: int) -> Change:
    """The picture becomes noisy, as in a bad cable."""
    sigma = rng.uniform(40, 80)
    return lambda frame, truth: (np.clip(frame + rng.normal(0, sigma, frame.shape), 0, 255
                                         ).astype(np.uint8), truth)


def blurred(rng: np.random.Generator, size: int) -> Change:
    """The lens goes out of focus."""
    sigma = size * rng.uniform(0.02, 0.06)
    return lambda frame, truth: (cv2.GaussianBlur(frame, (0, 0), sigma), truth)


def covered(rng: np.random.Generator, size: int) -> Change:
    """A plain board covers half of the picture."""
    first, colour = rng.integers(0, size // 2 + 1), rng.integers(0, 256, 3)

    def change(frame: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        frame, truth = frame.copy(), truth.copy()
        frame[:, first:first + size // 2], truth[:, first:first + size // 2] = colour, False
        return frame, truth
    return change


def recoloured(rng: np.random.Generator, size: int) -> Change:
    """The picture becomes a negative, its colours in another order."""
    order = rng.permutation(3) if rng.random() < 0.5 else np.array([2, 1, 0])
    return lambda frame, truth: (np.ascontiguousarray(255 - frame[..., order]), truth)


def gone(rng: np.random.Generator, size: int) -> Change:
    """Somebody stands before the object: where it was, there is a plain colour."""
    colour, wide = rng.integers(0, 256, 3), np.ones((size // 16, size // 16), np.uint8)

    def change(frame: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        frame = frame.copy()
        frame[cv2.dilate(truth.astype(np.uint8), wide) > 0] = colour
        return frame, np.zeros_like(truth)
    return change


FAULTS: dict[str, Callable[[np.random.Generator, int], Change]] = {
    'none': none, 'dark': dark, 'noise': noisy, 'blur': blurred, 'half covered': covered,
    'negative': recoloured, 'gone': gone}


if __name__ == '__main__':
    main()
