# SPDX-License-Identifier: Apache-2.0
"""A point of a body, projected with the camera's intrinsics and pose, is where the body shows."""

import numpy as np
import pytest

from samg_ros.sim.env import SimEnv
from samg_ros.sim.intrinsics import camera_matrix


@pytest.mark.parametrize(('task', 'camera', 'kind', 'name', 'part'), [
    ('ball_in_cup_catch', 0, 'body', 'ball', 1),
    ('reacher_easy', 0, 'geom', 'target', 2),
    ('arm_reach', 'front_close', 'site', 'target_site', 2),
])
@pytest.mark.parametrize(('height', 'width'), [(84, 84), (240, 320)])
def test_a_body_is_seen_where_its_centre_projects(task: str, camera: int | str, kind: str,
                                                  name: str, part: int, height: int,
                                                  width: int) -> None:
    env = SimEnv(task, seed=3, height=height, width=width, camera_id=camera)
    matrix = camera_matrix(env.model, camera, height, width)
    misses = []
    for _ in range(5):
        step = env.reset()
        assert step.parts is not None
        seen = np.argwhere(step.parts == part).mean(axis=0)[::-1]
        pose = env.data.camera(camera)
        # MuJoCo's cameras look along -z with y up, optical frames along z with y down.
        optical = np.diag([1, -1, -1]) @ pose.xmat.reshape(3, 3).T
        centre = env.data.body(name).xpos if kind == 'body' else getattr(env.data, f'{kind}_xpos')[
            getattr(env.model, kind)(name).id]
        x, y, z = matrix @ optical @ (centre - pose.xpos)
        misses.append(np.hypot(*(np.array([x, y]) / z - seen)))
    env.close()
    print(f'{task}, camera {camera}, {width} x {height}: {max(misses):.2f} px off at most')
    assert max(misses) < 1.5
