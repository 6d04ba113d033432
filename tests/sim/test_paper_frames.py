# SPDX-License-Identifier: Apache-2.0
"""`paper` frames are the very bytes of dm_control's and gymnasium-robotics' own, for every task.

SAMG_PAPER_STATES=50 compares as many states of every task (minutes); otherwise it is two, of one
task for each of dm_control's domains and of each Adroit task.
"""

import os
import subprocess
import sys
from collections.abc import Mapping

import numpy as np
import pytest

from samg_ros.sim.env import SimEnv
from samg_ros.sim.tasks import get_task, task_names

STATES = int(os.environ.get('SAMG_PAPER_STATES', '2'))
TASKS = task_names() if 'SAMG_PAPER_STATES' in os.environ else sorted(
    {get_task(name).domain if get_task(name).family != 'adroit' else name: name
     for name in reversed(task_names())}.values())
STEPS = 3
"""Control steps with random actions between a seeded reset and the frame."""

OWN = """
import sys
import numpy as np
import gymnasium_robotics.envs.adroit_hand as adroit
kept = {}
for task in ('door', 'hammer', 'pen', 'relocate'):
    own = getattr(adroit, f'AdroitHand{task.capitalize()}Env')(
        render_mode='rgb_array', width=84, height=84, camera_name='fixed')
    frames = []
    for seed in range(int(sys.argv[2])):
        own.reset(seed=seed)
        rng = np.random.default_rng(seed)
        for _ in range(int(sys.argv[3])):
            own.step(rng.uniform(-1, 1, own.action_space.shape))
        frames.append(own.render())
    kept[f'adroit_{task}'] = frames
np.savez(sys.argv[1], **kept)
"""


@pytest.fixture(scope='module')
def adroit_frames(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, np.ndarray]:
    """gymnasium-robotics' own, from a process of its own, as its renderer ends EGL for all."""
    path = tmp_path_factory.mktemp('own') / 'own.npz'
    subprocess.run([sys.executable, '-c', OWN, str(path), str(STATES), str(STEPS)], check=True,
                   capture_output=True)
    return dict(np.load(path))


@pytest.mark.parametrize('name', TASKS)
def test_every_frame_has_the_bytes_of_the_original(name: str, request: pytest.FixtureRequest,
                                                   ) -> None:
    spec = get_task(name)
    adroit = request.getfixturevalue('adroit_frames') if spec.family == 'adroit' else None
    env = SimEnv(name, quality='paper', truth=False, action_repeat=1)
    equal, seen = 0, set()
    for seed in range(STATES):
        env.reset(seed=seed)
        rng = np.random.default_rng(seed)
        for _ in range(STEPS):
            step = env.step(rng.uniform(*env.action_spec))
        original = adroit[name][seed] if adroit is not None else env.simulation.physics.render(
            84, 84, camera_id=spec.camera_id)
        equal += np.array_equal(step.frame, original)
        seen.add(step.frame.tobytes())
    env.close()
    print(f'{name}: {equal} of {STATES} frames equal')
    assert equal == len(seen) == STATES
