# SPDX-License-Identifier: Apache-2.0
"""How fast the mask of a moving arm changes: the calibration of the policy's mask guard.

    python benchmarks/mask_motion.py --task arm_reach --episodes 20

The simulated arm is moved by random velocities within its action limits, each held for up to half a
second, in the clean setting `train`; its frames are masked by the shipped model. Printed are the
greatest speed of the mask's centroid and the greatest growth of its area between two frames, as
`samg_ros.policy.mask_guard` measures them, beside those of the true masks. The guard's thresholds
in config/arm.yaml are the greatest values of one set of seeds, doubled; the second set of seeds,
which had no part in that, says how often they would have raised a false alarm.
"""

from __future__ import annotations

import argparse
import math

import numpy as np

from samg_ros.masking import Masker, MaskerSettings, Reference, apply_mask
from samg_ros.policy.mask_guard import MaskGuard, MaskLimits, mask_shape
from samg_ros.sim.env import SimEnv

FILL = (0, 0, 0)
MARGIN = 2.0
LONGEST_S = 0.5
SETTLE_S = 1.0


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--task', default='arm_reach')
    parser.add_argument('--episodes', type=int, default=20)
    parser.add_argument('--action-repeat', type=int, default=2)
    args = parser.parse_args()
    masker = None
    print('| seeds | masks | pairs of frames | speed max | p99.9 | growth max | p99.9 |\n'
          '|---|---|---|---|---|---|---|')
    shapes = {}
    for first in (1000, 2000):
        seen: dict[str, list[list[tuple[float, object]]]] = {'true': [], 'mini': []}
        for seed in range(first, first + args.episodes):
            env = SimEnv(args.task, seed=seed, action_repeat=args.action_repeat)
            if masker is None:
                step = env.reset()
                masker = Masker.load('mini', MaskerSettings(fit_weights=False, passes=1))
                masker.fit(Reference(step.frame, np.array(step.mask)))
            episode = play(env, seed, masker)
            env.close()
            for name in seen:
                seen[name].append(episode[name])
        shapes[first] = seen
        for name, episodes in seen.items():
            speeds, growths = changes(episodes)
            print(f'| {first}+ | {name} | {len(speeds)} | {speeds.max():.2f} | '
                  f'{np.percentile(speeds, 99.9):.2f} | {growths.max():.2f} | '
                  f'{np.percentile(growths, 99.9):.2f} |', flush=True)
    speeds, growths = changes(shapes[1000]['mini'])
    limits = MaskLimits(math.ceil(10 * MARGIN * speeds.max()) / 10,
                        math.ceil(10 * MARGIN * growths.max()) / 10)
    alarms = count = 0
    for episode in shapes[2000]['mini']:
        guard = MaskGuard(limits, SETTLE_S)
        alarms += sum(guard.doubt(at, shape) is not None for at, shape in episode)
        count += len(episode)
    print(f'\nmask_max_speed {limits.max_speed}, mask_max_growth {limits.max_growth}: {alarms} '
          f'false alarms in {count} frames of the second set')


def play(env: SimEnv, seed: int, masker: Masker) -> dict[str, list]:
    """Return stamp and shape of each mask that is not empty."""
    rng = np.random.default_rng(seed)
    low, high = env.action_spec
    found: dict[str, list] = {'true': [], 'mini': []}
    period_s = env.control_period_ns * 1e-9
    step, index, until = env.reset(), 0, 0
    action = rng.uniform(low, high)
    while not step.last:
        masks = {'true': step.mask, 'mini': masker(step.frame[None])[0]}
        for name, mask in masks.items():
            shape = mask_shape(apply_mask(np.maximum(step.frame, 1), mask, FILL), FILL)
            if shape.area:
                found[name].append((index * period_s, shape))
        if index >= until:
            action = rng.uniform(low, high)
            until = index + rng.integers(1, max(2, round(LONGEST_S / period_s)))
        step, index = env.step(action), index + 1
    return found


def changes(episodes: list) -> tuple[np.ndarray, np.ndarray]:
    """Return speeds and growths between consecutive masks, as the guard measures them."""
    speeds, growths = [], []
    for episode in episodes:
        for (since, before), (at, shape) in zip(episode, episode[1:], strict=False):
            speeds.append(math.hypot(shape.x - before.x, shape.y - before.y) / (at - since))
            growths.append(abs(math.log(shape.area / before.area)) / (at - since))
    return np.array(speeds), np.array(growths)


if __name__ == '__main__':
    main()
