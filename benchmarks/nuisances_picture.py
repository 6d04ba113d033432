# SPDX-License-Identifier: Apache-2.0
"""Draws docs/images/nuisances.jpg: each nuisance at full strength on two tasks."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np

from samg_ros.sim.env import SimEnv
from samg_ros.sim.visual.nuisances import Nuisances

SIDE = 168
STEPS = 5
ROWS = (('walker_walk', 'train'), ('adroit_door', 'video_hard'))
CAPTION = 18


def row(task: str, setting: str, kinds: list[str]) -> np.ndarray:
    """Return (SIDE, SIDE * K, 3) uint8 RGB, the same moment under each kind."""
    shown = []
    for kind in kinds:
        env = SimEnv(task, setting, seed=3, height=SIDE, width=SIDE, nuisances={kind: 1.0})
        step = env.reset()
        for _ in range(STEPS):
            step = env.step(np.zeros_like(env.action_spec[0]))
        shown.append(step.frame)
        env.close()
    return np.hstack(shown)


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, default=Path('docs/images/nuisances.jpg'))
    out = parser.parse_args().out
    kinds = [field.name for field in fields(Nuisances)]
    captions = np.full((CAPTION, SIDE * len(kinds), 3), 255, np.uint8)
    for index, kind in enumerate(kinds):
        cv2.putText(captions, kind, (SIDE * index + 4, CAPTION - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.45,
                    (30, 30, 30), 1, cv2.LINE_AA)
    picture = np.vstack([captions, *(row(*which, kinds) for which in ROWS)])
    cv2.imwrite(str(out), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    print(out)


if __name__ == '__main__':
    main()
