# SPDX-License-Identifier: Apache-2.0
"""Draw the README's picture: frame, mask, and what the policy sees, plain and before a video.

Run as `python benchmarks/overview_picture.py docs/images/overview.png`.
"""

import sys
from pathlib import Path

import cv2
import numpy as np

from samg_ros.masking import Masker, apply_mask
from samg_ros.sim.env import SimEnv
from samg_ros.sim.reference import render_reference

COLUMNS = (('walker_walk', 'train', 0), ('walker_walk', 'video_hard', 4),
           ('cheetah_run', 'train', 0), ('cheetah_run', 'video_hard', 2),
           ('finger_spin', 'train', 0), ('finger_spin', 'video_hard', 6))
STEPS = 12
SCALE = 2


def column(task: str, setting: str, seed: int) -> np.ndarray:
    """Return (3 * 84, 84, 3) uint8 RGB: raw frame, mask, masked frame."""
    masker = Masker.load('mini').fit(render_reference(task))
    env = SimEnv(task, setting, seed=seed, truth=False)
    low, high = env.action_spec
    rng = np.random.default_rng(seed)
    step = env.reset()
    for _ in range(STEPS):
        step = env.step(rng.uniform(low, high))
    env.close()
    mask = masker(step.frame[None])[0]
    white = np.repeat(mask[..., None], 3, axis=2) * np.uint8(255)
    return np.vstack([step.frame, white, apply_mask(step.frame, mask)])


def main(path: Path) -> None:
    """Write the picture."""
    picture = np.hstack([column(*each) for each in COLUMNS])
    picture = cv2.resize(picture, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_NEAREST)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture[..., ::-1])


if __name__ == '__main__':
    main(Path(sys.argv[1]))
