# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from samg_ros.errors import ExpertError
from samg_ros.sim.env import SimEnv
from samg_ros.sim.tasks.experts import make_scripted_expert


@pytest.mark.parametrize('task', ['arm_reach', 'arm_reach_brick'])
def test_the_expert_reaches_the_target_and_stays(task: str) -> None:
    env = SimEnv(task, seed=3, height=16, width=16, action_repeat=4, truth=False)
    expert = make_scripted_expert(env)
    low, high = env.action_spec
    for _ in range(2):
        step = env.reset()
        reached = []
        while not step.last:
            action = expert.act()
            assert (low <= action).all() and (action <= high).all()
            step = env.step(action)
            reached.append(step.success)
        assert all(reached[25:])
    env.close()


def test_a_varied_target_is_elsewhere_in_its_box_and_reached_there() -> None:
    env = SimEnv('arm_reach', seed=3, height=16, width=16, action_repeat=4, truth=False)
    expert = make_scripted_expert(env)
    rng = np.random.default_rng(0)
    places = []
    for _ in range(3):
        env.reset()
        expert.vary(rng)
        step = env.step(expert.act())
        places.append(env.data.site('target_site').xpos.copy())
    for _ in range(30):
        step = env.step(expert.act())
    assert step.success
    assert (np.abs(places)[:, :2] <= 0.2).all() and np.ptp(places, axis=0).min() > 0.01
    env.close()


def test_a_task_without_an_expert_is_refused() -> None:
    env = SimEnv('cartpole_swingup', height=16, width=16)
    with pytest.raises(ExpertError, match="no scripted expert for task 'cartpole_swingup'"):
        make_scripted_expert(env)
    env.close()
