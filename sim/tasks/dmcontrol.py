# SPDX-License-Identifier: Apache-2.0
"""The DeepMind Control Suite tasks: one entry each, and how to run one.

Which bodies are the object follows the public SAM-G reference masks: the cart and pole but not the
rail, cup and ball but not the string, finger and spinner with their decorations.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from samg_ros.sim.gl import prepare_gl
from samg_ros.sim.tasks import Part, TaskSpec
from samg_ros.sim.tasks.colours import Colour, Colours
from samg_ros.sim.tasks.dm_environment import DmEnvironment
from samg_ros.sim.tasks.textures import repaint

_WALKER_POINTS = ((40.0, 24.0), (23.0, 68.0), (68.0, 57.0))

_OBJECTS: dict[str, tuple[Part, ...]] = {
    'ball_in_cup': (Part('ball', bodies=('ball',)), Part('cup', bodies=('cup',))),
    'cartpole': (Part('cartpole', bodies=('cart',)),),
    'cheetah': (Part('cheetah', bodies=('torso',)),),
    'finger': (Part('finger', bodies=('proximal',)), Part('spinner', bodies=('spinner',))),
    'hopper': (Part('hopper', bodies=('torso',)),),
    'quadruped': (Part('quadruped', bodies=('torso',)),),
    'reacher': (Part('arm', bodies=('arm',), geoms=('root',)), Part('target', geoms=('target',))),
    'walker': (Part('walker', bodies=('torso',)),),
}


_UPRIGHT = {'hopper': 'torso', 'quadruped': 'torso', 'walker': 'torso'}


def _task(domain: str, task: str, **changes: Any) -> TaskSpec:
    changes.setdefault('upright_body', _UPRIGHT.get(domain))
    return TaskSpec(name=f'{domain}_{task}', family='dmcontrol', domain=domain, task=task,
                    parts=_OBJECTS[domain], **changes)


TASKS = (
    _task('ball_in_cup', 'catch'),
    _task('cartpole', 'balance'),
    _task('cartpole', 'swingup'),
    _task('cheetah', 'run'),
    _task('finger', 'spin'),
    _task('hopper', 'hop'),
    _task('hopper', 'stand'),
    _task('quadruped', 'walk', camera_id=2),
    _task('reacher', 'easy'),
    _task('walker', 'run', points=_WALKER_POINTS),
    _task('walker', 'stand', points=_WALKER_POINTS),
    _task('walker', 'walk', points=_WALKER_POINTS),
)


def _not_about_old_attributes(record: logging.LogRecord) -> bool:
    """Drop MuJoCo's warning that the suite's XML has an old attribute, which no user can change."""
    return 'is deprecated' not in record.getMessage()


class SuiteSimulation(DmEnvironment):
    """A Control Suite environment as a `samg_ros.sim.tasks.Simulation`."""

    def __init__(self, spec: TaskSpec, seed: int) -> None:
        prepare_gl()
        from dm_control import suite

        absl_log = logging.getLogger('absl')
        absl_log.addFilter(_not_about_old_attributes)
        try:
            env = suite.load(spec.domain, spec.task, task_kwargs={'random': seed})
        finally:
            absl_log.removeFilter(_not_about_old_attributes)
        super().__init__(spec.name, env)

    @property
    def resting_action(self) -> np.ndarray:
        return (self._low + self._high) / 2

    def seed(self, seed: int) -> None:
        self._env.task.random.seed(seed)

    def state(self) -> dict[str, np.ndarray]:
        observed = self._env.task.get_observation(self._env.physics)
        return {name: np.ravel(value).astype(np.float64) for name, value in observed.items()}

    def recolour(self, colours: Colours) -> None:
        """Paint the material `self`, the floor's checker and the sky, as DMC-GB does."""
        import mujoco
        model = self.model
        body = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_MATERIAL, 'self')
        model.mat_rgba[body, :3] = colours.body
        first, second = colours.floor
        repaint(model, 'grid', _GRID, first, second, (0.2, 0.3, 0.4))
        repaint(model, 'skybox', _SKYBOX, colours.sky, (0, 0, 0), (1, 1, 1))

    def paint_screen(self, colour: Colour, floor: bool) -> None:
        """Paint the sky in one colour, with `floor` the floor too."""
        repaint(self.model, 'skybox', _SKYBOX, *(colour,) * 3)
        if floor:
            repaint(self.model, 'grid', _GRID, *(colour,) * 3)


_GRID = """
<mujoco><asset>
  <texture name="grid" type="2d" builtin="checker" rgb1="{}" rgb2="{}" width="300" height="300"
           mark="edge" markrgb="{}"/>
</asset></mujoco>"""
_SKYBOX = """
<mujoco><asset>
  <texture name="skybox" type="skybox" builtin="gradient" rgb1="{}" rgb2="{}" width="800"
           height="800" mark="random" markrgb="{}"/>
</asset></mujoco>"""
"""The suite's `common/materials.xml` and `common/skybox.xml` but for their colours."""


def load(spec: TaskSpec, seed: int) -> SuiteSimulation:
    """Build the simulation of a Control Suite task; see `tasks.load_simulation`."""
    return SuiteSimulation(spec, seed)
