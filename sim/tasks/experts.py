# SPDX-License-Identifier: Apache-2.0
"""Experts that read the simulator's state: what a policy on pictures can be cloned from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from samg_ros.errors import ExpertError

if TYPE_CHECKING:
    from samg_ros.sim.env import SimEnv

_HAND = 'jaco_arm/jaco_hand/pinchsite'
_TARGETS = {'arm_reach': 'target_site', 'arm_reach_brick': 'duplo2x4/target_site'}
"""Sites of the model; dm_control rewards their being close."""

SCRIPTED = tuple(_TARGETS)
"""Tasks that have a scripted expert."""

EXPERT_JOINTS = tuple(f'joint_{number}' for number in range(1, 7))
"""What a policy has to know of the arm's pose, in the order of the first actions."""
_ARM = len(EXPERT_JOINTS)
_SPAWN_AREA = 'target_spawn_area'
"""Site of the box in which episodes put the target."""
_NEAR_M = 0.07
"""Standard deviation of a new goal's distance from the hand along each axis."""
_GAIN = 3.0
"""1/s. An imitator that errs by so much of a speed errs by the 3rd part of it in metres where it
comes to rest. With 1.2 it stopped short of the target more often."""
_DAMPING = 0.1
"""m, of the least squares; near a singular pose the joints stay slow."""


class Expert(Protocol):
    """A controller that solves a task with the help of the simulator's state."""

    episode_steps: int | None
    """Agent steps after which there is nothing more to learn in an episode of training; None for
    no such number."""

    def act(self) -> np.ndarray:
        """Return the action for the present state, (A,) float64 within the limits."""

    def vary(self, rng: np.random.Generator) -> None:
        """Give the episode another goal from the next step on, if that is possible."""


class ReachExpert:
    """Brings the hand to the target by damped least squares on the arm's Jacobian.

    Wampler 1986, "Manipulator inverse kinematic solutions based on vector formulations and
    damped least-squares methods", eq. 13. The fingers stay as they are.
    """

    episode_steps: int | None = 20  # at 0.16 s a step; by then a hand is where it should be

    def __init__(self, env: SimEnv) -> None:
        """Take an environment of a reaching task."""
        self._env = env
        self._target = _TARGETS[env.spec.name]
        self.lowest, self.highest = env.model.actuator_ctrlrange.T.copy()
        """(A,) float64 each: the velocities that the arm's motors can do, rad/s."""

    @property
    def distance(self) -> float:
        """From the hand to the target, m."""
        model, data = self._env.model, self._env.data
        return float(np.linalg.norm(data.site_xpos[model.site(self._target).id]
                                    - data.site_xpos[model.site(_HAND).id]))

    def act(self) -> np.ndarray:
        """Return joint velocities, (A,) float64 rad/s; all slowed alike where one is too fast."""
        import mujoco
        model, data = self._env.model, self._env.data
        hand = model.site(_HAND).id
        jacobian = np.zeros((3, model.nv))
        mujoco.mj_jacSite(model, data, jacobian, None, hand)
        joints = model.jnt_dofadr[model.actuator_trnid[:_ARM, 0]]
        jacobian = jacobian[:, joints]
        velocity = _GAIN * (data.site_xpos[model.site(self._target).id] - data.site_xpos[hand])
        speeds = jacobian.T @ np.linalg.solve(
            jacobian @ jacobian.T + _DAMPING**2 * np.eye(3), velocity)
        action = np.zeros_like(self.highest)
        action[:_ARM] = speeds / max(1.0, np.abs(speeds / self.highest[:_ARM]).max())
        return np.clip(action, self.lowest, self.highest)

    def vary(self, rng: np.random.Generator) -> None:
        """Move the target: every other time anywhere in its box, otherwise to near the hand.

        So one episode shows the target at many places and distances. A brick stays where it lies.
        """
        model, data = self._env.model, self._env.data
        target = model.site(self._target)
        if target.bodyid[0] != 0:
            return
        area = model.site(_SPAWN_AREA)
        low, high = area.pos - area.size, area.pos + area.size
        hand = data.site_xpos[model.site(_HAND).id]
        place = rng.uniform(low, high) if rng.random() < 0.5 else rng.normal(hand, _NEAR_M)
        target.pos = np.clip(place, low, high)


def has_scripted_expert(env: SimEnv) -> bool:
    """Whether an environment's task has a scripted expert."""
    return env.spec.name in _TARGETS and env.spec.control == 'action'


def make_scripted_operator(env: SimEnv) -> ReachExpert:
    """Return what stands in for a person who drives the arm, whatever its actions mean.

    Raises:
        ExpertError: if there is no such expert for the task.
    """
    if env.spec.name not in _TARGETS:
        raise ExpertError(f"no scripted operator can drive task '{env.spec.name}'; one can drive "
                          f'{", ".join(_TARGETS)}')
    return ReachExpert(env)


def make_scripted_expert(env: SimEnv) -> Expert:
    """Return the scripted expert of an environment's task.

    Raises:
        ExpertError: if there is none, or the actions are not those that it knows.
    """
    if not has_scripted_expert(env):
        raise ExpertError(f"there is no scripted expert for task '{env.spec.name}' with control "
                          f"'{env.spec.control}'; there is one for {', '.join(_TARGETS)} with "
                          "control 'action'")
    return ReachExpert(env)
