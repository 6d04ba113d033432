# SPDX-License-Identifier: Apache-2.0
"""Tells Gymnasium which environments there are, without loading any of them.

Gymnasium calls `register_envs` when it is imported, through the `gymnasium.envs` entry point, so
this module must stay cheap.
"""

from __future__ import annotations

from samg_ros.sim.tasks import task_names


def register_envs() -> None:
    """Register `samg_ros/<task>-v0` for every task; doing it again changes nothing."""
    from gymnasium.envs.registration import register, registry

    for task in task_names():
        name = f'samg_ros/{task}-v0'
        if name not in registry:
            register(id=name, entry_point='samg_ros.sim.gym_env:SamgEnv', kwargs={'task': task})
