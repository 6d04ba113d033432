# SPDX-License-Identifier: Apache-2.0
"""The same seed gives the same bits in another process; benchmarks/determinism.py has all tasks."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from samg_ros.errors import CommandError
from samg_ros.sim.env import SimEnv
from samg_ros.sim.visual.settings import SETTINGS

CASES = [*(('cartpole_swingup', setting) for setting in SETTINGS), ('adroit_pen', 'color_hard'),
         ('arm_reach', 'video_hard')]


def digest(task: str, setting: str) -> str:
    env = SimEnv(task, setting, seed=4)
    rng = np.random.default_rng(0)
    seen = hashlib.sha256()
    for _ in range(2):
        step = env.reset()
        for _ in range(4):
            assert step.parts is not None
            for array in (step.frame, step.parts, step.joint_positions, np.array(step.reward)):
                seen.update(np.ascontiguousarray(array).tobytes())
            step = env.step(rng.uniform(*env.action_spec))
    env.close()
    return seen.hexdigest()


def test_another_process_shows_the_same_in_every_setting() -> None:
    here = [digest(*case) for case in CASES]
    result = subprocess.run([sys.executable, __file__], check=True, capture_output=True, text=True)
    assert result.stdout.split() == here
    assert len(set(here)) == len(CASES)


@pytest.mark.parametrize(('task', 'setting'), [
    ('cartpole_swingup', 'color_hard'), ('arm_reach', 'video_hard')])
def test_after_skipped_episodes_comes_the_one_that_would_have_come(task: str, setting: str) -> None:
    lived, skipped = (SimEnv(task, setting, seed=4, nuisances={'camera': 0.5}) for _ in range(2))
    for _ in range(2):
        lived.reset()
        for _ in range(3):
            lived.step(lived.action_spec[1])
    skipped.skip_episodes(2)
    with pytest.raises(CommandError, match='reset'):
        skipped.step(skipped.action_spec[1])
    ours, theirs = lived.reset(), skipped.reset()
    for _ in range(3):
        assert np.array_equal(ours.frame, theirs.frame)
        assert np.array_equal(ours.joint_positions, theirs.joint_positions)
        ours, theirs = (env.step(env.action_spec[1]) for env in (lived, skipped))
    lived.close()
    skipped.close()


if __name__ == '__main__':
    print(*(digest(*case) for case in CASES))
