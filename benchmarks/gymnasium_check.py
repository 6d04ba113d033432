# SPDX-License-Identifier: Apache-2.0
"""Gymnasium's own checker on every registered environment, and its own vector environments.

Warnings are errors, but for the advice to normalise actions, which is printed: an arm's are rad/s.
Each environment is checked, then run as two in one process and as two in processes of their own;
both must show what single ones show.
"""

import argparse
import sys
import warnings
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils.env_checker import check_env

import samg_ros.sim.gym_env  # noqa: F401  # registers
from samg_ros.sim.tasks import task_names
from samg_ros.sim.visual.settings import SETTINGS

STEPS = 3
ADVICE = 'For Box action spaces, we recommend'


def rollout(env: Any, actions: np.ndarray) -> list[np.ndarray]:
    """Return the pictures after a reset with seed 7 and after each action."""
    frames = [env.reset(seed=7)[0]['pixels'].copy()]
    frames += [env.step(action)[0]['pixels'].copy() for action in actions]
    env.close()
    return frames


def check(task: str, setting: str) -> str:
    """Raise if anything is amiss; return what to say else."""
    name = f'samg_ros/{task}-v0'
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        env = gymnasium.make(name, setting=setting, render_mode='rgb_array')
        check_env(env.unwrapped)
        space = env.action_space
        env.close()
    said = [str(warning.message) for warning in caught]
    for message in said:
        if ADVICE not in message:
            raise AssertionError(message)
    rng = np.random.default_rng(0)
    actions = rng.uniform(space.low, space.high, (STEPS, 2, *space.shape)).astype(np.float32)
    singles = []
    for number in range(2):
        single = gymnasium.make(name, setting=setting)
        frames = [single.reset(seed=7 + number)[0]['pixels']]
        frames += [single.step(action)[0]['pixels'] for action in actions[:, number]]
        singles.append(frames)
        single.close()
    wanted = [np.stack(pair) for pair in zip(*singles, strict=True)]
    for mode, options in (('sync', {}), ('async', {'context': 'spawn'})):
        vector = gymnasium.make_vec(name, num_envs=2, vectorization_mode=mode,
                                    vector_kwargs=options, setting=setting)
        for own, single in zip(rollout(vector, actions), wanted, strict=True):
            if not np.array_equal(own, single):
                raise AssertionError(f'{mode} shows other pictures than single environments')
    return ('advised to normalise actions; ' if said else 'clean; ') + 'sync and async as single'


def main() -> int:
    """Print a line for each environment; the exit status is the number that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--task', nargs='+', default=task_names())
    parser.add_argument('--setting', nargs='+', choices=tuple(SETTINGS), default=['video_hard'])
    args = parser.parse_args()
    failed = 0
    for task in args.task:
        for setting in args.setting:
            try:
                said = check(task, setting)
            except Exception as error:  # noqa: BLE001, reported and counted
                failed += 1
                said = f'FAILED: {type(error).__name__}: {error}'
            print(f'{task:20} {setting:11} {said}', flush=True)
    return failed


if __name__ == '__main__':
    sys.exit(main())
