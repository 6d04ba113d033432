# SPDX-License-Identifier: Apache-2.0
"""A physics state gone bad is an error that names the task, and the next episode is sound."""

import numpy as np
import pytest

from samg_ros.errors import SamgError
from samg_ros.sim.env import SimEnv


@pytest.mark.parametrize('task', ['walker_walk', 'adroit_relocate', 'arm_reach'])
def test_whatever_is_wrong_with_the_state_is_an_error_and_a_reset_goes_on(task: str) -> None:
    env = SimEnv(task, seed=1, height=16, width=16)
    action = np.zeros(env.action_spec[0].shape)
    for array, value in (('qpos', np.nan), ('qpos', 1e12), ('qvel', np.nan), ('qvel', -1e12)):
        assert np.isfinite(env.reset().joint_positions).all()
        env.step(action)
        getattr(env.data, array)[0] = value
        with pytest.raises(SamgError, match=f"the physics of '{task}' diverged"):
            env.step(action)
    env.reset()
    assert np.isfinite(env.step(action).joint_positions).all()
    env.close()
