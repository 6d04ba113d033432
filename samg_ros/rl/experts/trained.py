# SPDX-License-Identifier: Apache-2.0
"""A network that acts on a simulator's state, checked to be meant for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from samg_ros.errors import ExpertError
from samg_ros.rl.experts.state_policy import Layout, StatePolicy

if TYPE_CHECKING:
    from samg_ros.sim.env import SimEnv
    from samg_ros.sim.tasks import Simulation, TaskSpec

_UNSEEN = {'quadruped': ('imu', 'force_torque', 'torso_velocity'), 'finger': ('touch',)}
"""Parts of a domain's state that no masked picture shows, so that an expert must not act on them:
who imitates it could not know why. Cameras follow the bodies that run, and the floor is masked."""


def visible_state(spec: TaskSpec, simulation: Simulation) -> dict[str, np.ndarray]:
    """Return the parts of a simulation's state that an expert acts on, by name, each (n,)."""
    leave = _UNSEEN.get(spec.domain, ())
    state = {name: part for name, part in simulation.state().items() if name not in leave}
    if spec.domain == 'cheetah':  # not how high it is, and how fast it moves as a whole
        state = {'position': state['position'][1:], 'velocity': state['velocity'][2:]}
    if spec.name == 'finger_spin':
        # The mark on one end of the spinner is hidden in this task, and without it both ends look
        # the same. So the direction of that end becomes one of the axis: angles are doubled.
        position = state.pop('position')
        x, z = position[2:] / np.hypot(*position[2:])
        state = {'joints': position[:2], 'axis': np.array([z * z - x * x, 2 * x * z]), **state}
    return state


def whole_state(simulation: Simulation) -> np.ndarray:
    """Return all parts of a simulation's state, (n,): what a critic may know in training."""
    return np.concatenate(list(simulation.state().values()))


def layout_of(state: dict[str, np.ndarray]) -> Layout:
    """Return names and sizes of a state's parts."""
    return tuple((name, int(part.size)) for name, part in state.items())


class TrainedExpert:
    """Acts by a `StatePolicy`."""

    episode_steps: int | None = None

    def __init__(self, env: SimEnv, policy: StatePolicy) -> None:
        """Check that policy and environment belong together.

        Raises:
            ExpertError: if the policy is of another task, of actions of another meaning, or of a
                state with other parts.
        """
        self._env, self._policy = env, policy
        spec, actions = env.spec, env.action_spec[0].size
        if policy.task and policy.task != spec.name:
            raise ExpertError(f"the expert is one of task '{policy.task}', not of '{spec.name}'; "
                              'give the one of this task')
        if policy.control != spec.control:
            raise ExpertError(f"the expert's actions are of control '{policy.control}', the "
                              f"environment's of '{spec.control}'; give both the same")
        layout = layout_of(visible_state(spec, env.simulation))
        size = sum(size for _, size in layout)
        if policy.state and policy.state != layout:
            raise ExpertError(f'the expert acts on the state {_text(policy.state)}, but that of '
                              f"'{spec.name}' is {_text(layout)}; train it again")
        if policy.in_shift.size != size or policy.out_shift.size != actions:
            raise ExpertError(
                f'the expert makes {policy.out_shift.size} actions of {policy.in_shift.size} '
                f"numbers, but '{spec.name}' has {actions} of {size}; give an expert of this task")

    def act(self) -> np.ndarray:
        """Return the action for the present state, (A,) float64 within the limits."""
        state = visible_state(self._env.spec, self._env.simulation)
        action = self._policy(np.concatenate(list(state.values())))
        return np.clip(action.astype(np.float64), *self._env.action_spec)

    def vary(self, rng: np.random.Generator) -> None:
        """Do nothing: in these tasks the goal does not change during an episode."""


def _text(layout: Layout) -> str:
    return ', '.join(f'{name} ({size})' for name, size in layout)
