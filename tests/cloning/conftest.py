# SPDX-License-Identifier: Apache-2.0
"""Demonstrations that can be learned: a disc, and joints that move towards it."""

import cv2
import numpy as np
import pytest

from samg_ros.demonstrations.episode import ArmEpisode
from samg_ros.demonstrations.lerobot_layout import DatasetInfo
from samg_ros.demonstrations.lerobot_writer import LeRobotWriter
from samg_ros.masking import Reference

JOINTS = ('shoulder', 'elbow')
SIDE, PERIOD_S, SPEED = 32, 0.1, 0.2
BEGIN_NS = 1_700_000_000_000_000_000


def picture(goal):
    """A red disc on black at the goal, of -1 to 1."""
    frame = np.zeros((SIDE, SIDE, 3), np.uint8)
    at = np.round((np.asarray(goal) + 1) / 2 * (SIDE - 9) + 4).astype(int)
    cv2.circle(frame, tuple(at.tolist()), 4, (200, 30, 30), -1)
    return frame


def episode(seed, count=20):
    """Both joints go to the disc at a constant speed and stay there."""
    rng = np.random.default_rng(seed)
    goal, joints = rng.uniform(-0.9, 0.9, 2), rng.uniform(-0.9, 0.9, 2)
    path = [joints]
    for _ in range(count):
        path.append(path[-1] + np.clip(goal - path[-1], -SPEED * PERIOD_S, SPEED * PERIOD_S))
    frames = np.stack([picture(goal)] * count)
    stamps = BEGIN_NS + np.arange(count, dtype=np.int64) * round(PERIOD_S * 1e9)
    return ArmEpisode(stamps, {'front': frames, 'side': frames[:, ::-1].copy()},
                      np.array(path[:-1]), np.array(path[1:]), source=f'seed {seed}')


@pytest.fixture(scope='session')
def dataset(tmp_path_factory):
    """Folder of a LeRobot data set of two cameras."""
    folder = tmp_path_factory.mktemp('demonstrations') / 'set'
    info = DatasetInfo('go to the disc', 1 / PERIOD_S, JOINTS, JOINTS,
                       {'front': (SIDE, SIDE), 'side': (SIDE, SIDE)})
    with LeRobotWriter(folder, info) as writer:
        for seed in range(12):
            writer.add(episode(seed))
    return folder


@pytest.fixture(scope='session')
def reference(tmp_path_factory):
    """Folder that says that the disc matters."""
    folder = tmp_path_factory.mktemp('reference')
    frame = picture((0.1, 0.2))
    Reference(frame, frame.any(axis=2)).save(folder, overwrite=True)
    return folder
