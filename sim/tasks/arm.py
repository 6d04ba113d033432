# SPDX-License-Identifier: Apache-2.0
"""A simulated Kinova Jaco, the stand-in for a real arm, and its tasks.

They come from dm_control's manipulation suite. The arm takes joint velocities as dm_control has
it, or joint positions as ros2_control's forward_command_controller sends them.
"""

from __future__ import annotations

import logging

import numpy as np

from samg_ros.errors import ConfigError
from samg_ros.sim.gl import prepare_gl
from samg_ros.sim.tasks import Part, TaskSpec
from samg_ros.sim.tasks.colours import Colour, Colours
from samg_ros.sim.tasks.dm_environment import DmEnvironment
from samg_ros.sim.tasks.textures import repaint

_ARM = Part('arm', bodies=('jaco_arm/',))
_BRICK = Part('brick', bodies=('duplo2x4/',))
_OBJECTS = {
    'reach': Part('target', sites=('target_site',)),
    'reach_brick': _BRICK,
    'lift': _BRICK,
}

TASKS = tuple(
    TaskSpec(name=f'arm_{task}', family='arm', domain='arm', task=task, parts=(_ARM, thing),
             floor_geoms=('ground',), camera_id='front_close', action_repeat=1, episode_steps=250,
             controls=('action', 'position'))
    for task, thing in _OBJECTS.items())

_CONSTRUCTORS = {'reach': 'reach_site_features', 'reach_brick': 'reach_duplo_features',
                 'lift': 'lift_brick_features'}
"""dm_control's names. Its `vision` variants differ in what they observe, which is not used here."""

_GAIN = 15.0
_DECELERATION = 1.5
"""Of position control: 1/s, and rad/s^2, which the arm's motors can do under load."""


_RESET_ATTEMPTS = 10


def _not_about_a_first_try(record: logging.LogRecord) -> bool:
    """Drop dm_control's remark that it did not find a pose of the arm at once: it goes on."""
    return 'Failed to converge' not in record.getMessage()


class ArmSimulation(DmEnvironment):
    """A manipulation environment of dm_control as a `samg_ros.sim.tasks.Simulation`.

    Actions are velocities of the six joints of the arm and the three fingers, rad/s.
    """

    def __init__(self, spec: TaskSpec, seed: int) -> None:
        prepare_gl()
        from dm_control import composer, manipulation  # noqa: F401  # manipulation registers
        from dm_control.manipulation.shared import cameras, registry

        task = registry.get_constructor(_CONSTRUCTORS[spec.task])()
        for observable in task.observables.values():
            observable.enabled = False
        for camera in (cameras.LEFT_CLOSE, cameras.RIGHT_CLOSE, cameras.TOP_DOWN):  # to choose
            task.root_entity.mjcf_model.worldbody.add('camera', **camera._asdict())
        # Nothing of these models changes from episode to episode, so one is enough.
        super().__init__(spec.name, composer.Environment(
            task, random_state=seed, max_reset_attempts=_RESET_ATTEMPTS,
            recompile_mjcf_every_episode=False))
        self.success = False

    @property
    def resting_action(self) -> np.ndarray:
        return np.zeros_like(self._low)

    def seed(self, seed: int) -> None:
        self._env.random_state.seed(seed)

    def reset(self) -> None:
        absl_log = logging.getLogger('absl')
        absl_log.addFilter(_not_about_a_first_try)
        try:
            super().reset()
        finally:
            absl_log.removeFilter(_not_about_a_first_try)
        self.success = bool(self._env.task.get_reward(self._env.physics) == 1.0)

    def step(self, action: np.ndarray) -> tuple[float, float, bool]:
        reward, discount, over = super().step(action)
        self.success = reward == 1.0  # exactly where the goal is reached, by dm_control's tolerance
        return reward, discount, over

    def state(self) -> dict[str, np.ndarray]:
        raise ConfigError(f"the state of task '{self._name}' has no vector of its own; experts of "
                          'the arm are scripted')

    def recolour(self, colours: Colours) -> None:
        """Paint the arm, with rings and fingers lighter, the ground's checker and the sky."""
        import mujoco
        model = self.model
        lighter = tuple((1 + value) / 2 for value in colours.body)
        for owner in ('jaco_arm', 'jaco_arm/jaco_hand'):
            for name, colour in (('dark_gray', colours.body), ('light_gray', lighter)):
                material = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_MATERIAL,
                                             f'{owner}/{name}')
                model.mat_rgba[material, :3] = colour
        repaint(model, 'groundplane', _GROUND, *colours.floor)
        repaint(model, '//unnamed_texture_0', _SKY, colours.sky)

    def paint_screen(self, colour: Colour, floor: bool) -> None:
        raise ConfigError(f"task '{self._name}' has no green screen, which only DMControl tasks "
                          "have; use composite 'segmentation'")


class PositionControlledArm(ArmSimulation):
    """The same arm with joint positions as actions, rad, in the order of its joints.

    Each joint goes to its position and stays there, no faster than it can and slow enough ahead
    of it not to overshoot.
    """

    def __init__(self, spec: TaskSpec, seed: int) -> None:
        super().__init__(spec, seed)
        model = self.model
        joints = model.actuator_trnid[:, 0]
        self._position_at = model.jnt_qposadr[joints]
        # Episodes begin with endless joints in 0..2 pi; half a turn to either side of that.
        endless = ~model.jnt_limited[joints].astype(bool)
        lowest, highest = model.jnt_range[joints].T
        self._lowest = np.where(endless, -np.pi, lowest)
        self._highest = np.where(endless, 3 * np.pi, highest)

    @property
    def action_low(self) -> np.ndarray:
        return self._lowest

    @property
    def action_high(self) -> np.ndarray:
        return self._highest

    @property
    def resting_action(self) -> np.ndarray:
        position: np.ndarray = self.data.qpos[self._position_at]
        return position

    def step(self, action: np.ndarray) -> tuple[float, float, bool]:
        error = action - self.data.qpos[self._position_at]
        distance = np.abs(error)
        speed = np.minimum(_GAIN * distance, np.sqrt(2 * _DECELERATION * distance))
        return super().step(np.clip(np.sign(error) * speed, self._low, self._high))


_GROUND = """
<mujoco><asset>
  <texture name="groundplane" type="2d" builtin="checker" rgb1="{}" rgb2="{}" width="300"
           height="300" mark="edge" markrgb="0.8 0.8 0.8"/>
</asset></mujoco>"""
_SKY = """
<mujoco><asset>
  <texture name="//unnamed_texture_0" type="skybox" builtin="gradient" rgb1="{}" rgb2="0 0 0"
           width="100" height="100"/>
</asset></mujoco>"""
"""The suite's `Standard` arena but for its colours."""


def load(spec: TaskSpec, seed: int) -> ArmSimulation:
    """Build the simulation of an arm task; see `tasks.load_simulation`."""
    return {'action': ArmSimulation, 'position': PositionControlledArm}[spec.control](spec, seed)
