# SPDX-License-Identifier: Apache-2.0
"""What every task that comes as a dm_control environment has in common.

The suite's tasks and the arm's both run in dm_control's loop; their families add what differs: how
they are built, reset and painted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from samg_ros.errors import SamgError


class DmEnvironment:
    """Most of a `samg_ros.sim.tasks.Simulation`, from an environment of dm_control."""

    success: bool | None = None

    def __init__(self, name: str, env: Any) -> None:
        """Wrap an environment.

        Args:
            name: of the task, for messages.
            env: a `dm_control.rl.control.Environment` or `dm_control.composer.Environment`.
        """
        self._name = name
        self._env = env
        action_spec = env.action_spec()
        self._low = np.array(action_spec.minimum, dtype=np.float64)
        self._high = np.array(action_spec.maximum, dtype=np.float64)

    @property
    def model(self) -> Any:
        return self._env.physics.model.ptr

    @property
    def data(self) -> Any:
        return self._env.physics.data.ptr

    @property
    def physics(self) -> Any:
        """The dm_control physics, for comparisons with dm_control itself."""
        return self._env.physics

    @property
    def action_low(self) -> np.ndarray:
        return self._low

    @property
    def action_high(self) -> np.ndarray:
        return self._high

    @property
    def control_timestep_ns(self) -> int:
        return round(self._env.control_timestep() * 1e9)

    def reset(self) -> None:
        self._env.reset()

    def step(self, action: np.ndarray) -> tuple[float, float, bool]:
        from dm_control.rl.control import PhysicsError
        try:
            step = self._env.step(action)
        except PhysicsError as error:
            raise SamgError(f"the physics of '{self._name}' diverged ({error}); "
                            'reset to begin a new episode') from error
        return float(step.reward or 0.0), float(step.discount), bool(step.last())

    def close(self) -> None:
        env, self._env = self._env, None
        if env is not None:  # a composer environment's own may be called only once
            env.close()
