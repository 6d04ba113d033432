# SPDX-License-Identifier: Apache-2.0
"""The Adroit hand's tasks (arXiv 1709.10087), one entry each, and how to run one.

They come from gymnasium-robotics. The object is the hand, up to the forearm, and what it works on;
the table counts as floor, which leaves a video everywhere else.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from samg_ros.errors import (
    ConfigError,
    InvalidInputError,
    MissingDependencyError,
    SamgError,
)
from samg_ros.sim.gl import prepare_gl
from samg_ros.sim.tasks import Part, TaskSpec
from samg_ros.sim.tasks.colours import Colour, Colours

_HAND = Part('hand', bodies=('forearm',))
_OBJECTS = {
    'door': Part('door', bodies=('frame',)),
    'hammer': Part('hammer', bodies=('Object', 'nail_board')),
    'pen': Part('pen', bodies=('Object', 'target')),
    'relocate': Part('ball', bodies=('Object',)),
}

_PLACED = {
    'door': {'door_body_pos': ('body_pos', 'door_body_id')},
    'hammer': {'board_pos': ('body_pos', 'target_body_id')},
    'pen': {'desired_orien': ('body_quat', 'target_obj_body_id')},
    'relocate': {'obj_pos': ('body_pos', 'obj_body_id'),
                 'target_pos': ('site_pos', 'target_obj_site_id')},
}
"""What `reset` draws beside the joints, as `get_env_state` of gymnasium-robotics names it: the
model's array that it is in, and the environment's attribute with the row."""

_SUCCESS_STEPS = {'pen': 20}
"""Of 200, where not 25; after `evaluate_success` of the tasks' first release (mj_envs)."""

TASKS = tuple(
    TaskSpec(name=f'adroit_{task}', family='adroit', domain='adroit', task=task,
             parts=(_HAND, thing), floor_geoms=('ground',), floor_bodies=('table',),
             camera_id='fixed', action_repeat=2, episode_steps=200,
             success_steps=_SUCCESS_STEPS.get(task, 25))
    for task, thing in _OBJECTS.items())


class AdroitSimulation:
    """A gymnasium-robotics Adroit environment as a `samg_ros.sim.tasks.Simulation`."""

    def __init__(self, spec: TaskSpec, seed: int) -> None:
        prepare_gl()
        self._name, self._task = spec.name, spec.task
        self._env = _environment_class(spec.task)()
        self._seed: int | None = seed
        self.success: bool | None = False

    @property
    def model(self) -> Any:
        return self._env.model

    @property
    def data(self) -> Any:
        return self._env.data

    @property
    def action_low(self) -> np.ndarray:
        return self._env.action_space.low.astype(np.float64)

    @property
    def action_high(self) -> np.ndarray:
        return self._env.action_space.high.astype(np.float64)

    @property
    def resting_action(self) -> np.ndarray:
        return (self.action_low + self.action_high) / 2

    @property
    def control_timestep_ns(self) -> int:
        return round(self._env.dt * 1e9)

    def seed(self, seed: int) -> None:
        self._seed = seed

    def reset(self) -> None:
        seed, self._seed = self._seed, None
        self._env.reset(seed=seed)
        self.success = False

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Put hand and object where a recording has them.

        Args:
            state: `qpos` (nq,), `qvel` (nv,), and what the task's reset places: `door_body_pos`,
                `board_pos`, `obj_pos`, `target_pos` (3,) in metres, `desired_orien` (4,) as
                quaternion w, x, y, z, each as it was at the episode's beginning.

        Raises:
            InvalidInputError: if one is missing, has another shape or is not finite.
        """
        import mujoco
        model = self.model

        def value(name: str, shape: tuple[int, ...]) -> np.ndarray:
            if name not in state:
                raise InvalidInputError(f"a state of '{self._name}' lacks {name}")
            array = np.array(state[name], dtype=np.float64)
            if array.shape != shape or not np.isfinite(array).all():
                raise InvalidInputError(f"{name} of a state of '{self._name}' must be finite and "
                                        f'of shape {shape}, got shape {array.shape}')
            return array

        qpos, qvel = value('qpos', (model.nq,)), value('qvel', (model.nv,))
        places = [(getattr(model, array)[getattr(self._env, row)], name)
                  for name, (array, row) in _PLACED[self._task].items()]
        values = [value(name, place.shape) for place, name in places]
        for (place, _), new in zip(places, values, strict=True):
            place[:] = new
        # After a step, bodies are where its last physics step found them: one step behind qpos.
        seen = qpos.copy()
        mujoco.mj_integratePos(model, seen, qvel, -model.opt.timestep)
        self._env.set_state(seen, qvel)
        self.data.qpos[:] = qpos

    def step(self, action: np.ndarray) -> tuple[float, float, bool]:
        before = self._warnings()
        _, reward, _, _, info = self._env.step(action)
        if self._warnings() != before:
            raise SamgError(f"the physics of '{self._name}' diverged (MuJoCo met a bad position, "
                            'velocity or acceleration); reset to begin a new episode')
        self.success = bool(np.all(info['success']))
        return float(np.squeeze(reward)), 1.0, False

    def _warnings(self) -> int:
        """Return how often MuJoCo found the state bad and began anew by itself."""
        from mujoco import mjtWarning
        bad = (mjtWarning.mjWARN_BADQPOS, mjtWarning.mjWARN_BADQVEL, mjtWarning.mjWARN_BADQACC)
        return sum(self.data.warning[kind].number for kind in bad)

    def state(self) -> dict[str, np.ndarray]:
        return {'observation': np.array(self._env._get_obs(), dtype=np.float64)}

    def recolour(self, colours: Colours) -> None:
        """Paint the hand, the ground's checker and, in place of a sky, the table."""
        import mujoco
        model = self.model
        for name, colour in (('MatViz', colours.body), ('tablecube', colours.sky)):
            material = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_MATERIAL, name)
            model.mat_rgba[material, :3] = colour
        texture = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_TEXTURE, 'groundplane')
        height, width = model.tex_height[texture], model.tex_width[texture]
        start = model.tex_adr[texture]
        squares = np.indices((height, width)) * 2 // [[[height]], [[width]]]
        checker = np.where((squares.sum(axis=0) % 2)[..., None], colours.floor[1],
                           colours.floor[0])
        model.tex_data[start:start + checker.size] = np.round(255 * checker).ravel()

    def paint_screen(self, colour: Colour, floor: bool) -> None:
        raise ConfigError(f"task '{self._name}' has no green screen, which only DMControl tasks "
                          "have; use composite 'segmentation'")

    def close(self) -> None:
        self._env.close()


def _environment_class(task: str) -> Any:
    try:
        import farama_notifications
        # A remark on the names of older versions, printed at import: a user cannot act on it.
        farama_notifications.notifications.pop('gymnasium_robotics', None)
        module = importlib.import_module(f'gymnasium_robotics.envs.adroit_hand.adroit_{task}')
    except ImportError as error:
        raise MissingDependencyError(_MISSING) from error
    return getattr(module, f'AdroitHand{task.capitalize()}Env')


_MISSING = 'the Adroit tasks need gymnasium-robotics; run: pip install gymnasium-robotics'


def load(spec: TaskSpec, seed: int) -> AdroitSimulation:
    """Build the simulation of an Adroit task; see `tasks.load_simulation`.

    Raises:
        MissingDependencyError: if gymnasium-robotics is not installed.
    """
    return AdroitSimulation(spec, seed)
