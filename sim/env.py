# SPDX-License-Identifier: Apache-2.0
"""A task in a visual setting, one agent step at a time.

The Gymnasium environment, the bridge node and the mask evaluation all run this one class, so that
the same seed and actions give the same frames everywhere, bit for bit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from samg_ros.errors import CommandError, ConfigError, VideoError
from samg_ros.sim.render import FIRST_PART, FLOOR, HIDDEN_GROUP, Renderer, SceneLabels, scene_labels
from samg_ros.sim.sim_step import CameraView, SimStep
from samg_ros.sim.tasks import TaskSpec, get_task, load_simulation
from samg_ros.sim.tasks.colours import ColourList
from samg_ros.sim.visual.chroma_key import SCREEN, is_screen, resize_behind_screen
from samg_ros.sim.visual.nuisances import Disturbance, Nuisances
from samg_ros.sim.visual.settings import composite, get_setting
from samg_ros.sim.visual.videos import Backgrounds, make_backgrounds, resize_bilinear, videos_of
from samg_ros.step_types import BETWEEN_EPISODES_NS, FIRST, LAST, MID

COMPOSITES = ('segmentation', 'chroma_key')
"""Ways to put a video behind the robot."""


class SimEnv:
    """One task in one visual setting.

    Args:
        task: name of the task, see `tasks.task_names`.
        setting: name of the visual setting, see `settings.SETTINGS`.
        seed: of everything random: initial states, order of videos.
        height: pixels of a frame.
        width: pixels of a frame.
        quality: `fast`, or `paper` for the very pixels of dm_control.
        videos: folder of videos for the settings that show one, or of such folders by setting's
            name; None for painted ones.
        colours: folder or file of DMC-GB's colours for the settings that change them; None for
            drawn ones.
        action_repeat: control steps per agent step; None takes the task's.
        camera_id: None takes the task's.
        more_cameras: further cameras to render at every step, each in `SimStep.views`.
        nuisances: strengths of further disturbances, see `nuisances.Nuisances`; by name.
        composite: how the settings with a video put it in: `segmentation`, exactly behind the
            robot, or `chroma_key`, DMC-GB's green screen, see `chroma_key`.
        truth: false leaves out the true mask, and the time it takes. May be changed at any time.
        control: what actions mean: `action`, the task's own, or `position`, joint positions.
        hide_object: true takes the object out of all pictures, not out of the physics.

    Raises:
        UnknownTaskError: if no task has that name.
        UnknownSettingError: if no setting has that name.
        VideoError: if the videos cannot be used.
        ConfigError: if the colours cannot be used, or another argument is out of range.
    """

    def __init__(self, task: str = 'walker_walk', setting: str = 'train', seed: int = 0,
                 height: int = 84, width: int = 84, quality: str = 'fast',
                 videos: str | Path | None = None, action_repeat: int | None = None,
                 camera_id: int | str | None = None, truth: bool = True,
                 colours: str | Path | None = None, composite: str = 'segmentation',
                 more_cameras: Sequence[int | str] = (),
                 nuisances: Nuisances | Mapping[str, float] | None = None,
                 control: str = 'action', hide_object: bool = False) -> None:
        self.spec: TaskSpec = get_task(task).controlled_by(control)
        self.setting = get_setting(setting)
        self.action_repeat = self.spec.action_repeat if action_repeat is None else action_repeat
        if self.action_repeat < 1:
            raise ConfigError(f'action_repeat is {self.action_repeat}; it must be at least 1')
        self.height, self.width, self.quality, self.truth = height, width, quality, truth
        if composite not in COMPOSITES:
            raise ConfigError(f"composite '{composite}' is not one of {', '.join(COMPOSITES)}")
        self._screen = self.setting.has_video and composite == 'chroma_key'
        self.camera_ids = (self.spec.camera_id if camera_id is None else camera_id, *more_cameras)
        self._hide_object = hide_object
        strengths = Nuisances.of(nuisances)
        self._disturbance = Disturbance(strengths, seed) if strengths else None
        self._backgrounds: Backgrounds | None = None
        if self.setting.has_video:
            self._backgrounds = make_backgrounds(
                videos_of(videos, setting), height, width, seed,
                resize_behind_screen if self._screen else resize_bilinear)
        elif videos is not None and not Path(videos).is_dir():
            raise VideoError(f"there is no folder of videos at '{videos}'")
        self._colours: ColourList | None = None
        if self.setting.colours is not None:
            self._colours = ColourList(self.setting.colours, colours, seed)
        self._simulation = load_simulation(self.spec, seed)
        self._renderer: Renderer | None = None
        self._make_renderer()
        self._time_ns = 0
        self._step_index = self._control_steps = 0
        self._running = False

    @property
    def action_spec(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest action, each (A,) float64."""
        return self._simulation.action_low.copy(), self._simulation.action_high.copy()

    @property
    def resting_action(self) -> np.ndarray:
        """Action that asks for no movement in the present state, (A,) float64."""
        return self._simulation.resting_action.copy()

    @property
    def control_period_ns(self) -> int:
        """Length of an agent step."""
        return self._simulation.control_timestep_ns * self.action_repeat

    @property
    def video_faults(self) -> Mapping[str, str]:
        """Which files of `videos` are left out or cut short, and why."""
        return {} if self._backgrounds is None else self._backgrounds.faults

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Hinge and slide joints, in the model's order."""
        return self._joint_names

    @property
    def model(self) -> Any:
        """The `mujoco.MjModel` that is running."""
        return self._simulation.model

    @property
    def data(self) -> Any:
        """The `mujoco.MjData` that is running."""
        return self._simulation.data

    @property
    def simulation(self) -> Any:
        """The task family's own object."""
        return self._simulation

    def reset(self, seed: int | None = None) -> SimStep:
        """Begin an episode; a seed makes it the first one after `SimEnv(seed=seed)`."""
        if seed is not None:
            self._simulation.seed(seed)
            if self._backgrounds is not None:
                self._backgrounds.seed(seed)
            if self._colours is not None:
                self._colours.seed(seed)
            if self._disturbance is not None:
                self._disturbance.seed(seed)
        self._begin_episode()
        return self._observe(0.0, 1.0, FIRST)

    def skip_episodes(self, count: int) -> None:
        """Pass over episodes, so that the next reset begins the one that would come after them.

        Nothing is rendered, which is why this is quick.
        """
        for _ in range(count):
            self._begin_episode()
        self._running = False

    def _begin_episode(self) -> None:
        self._simulation.reset()
        if self._renderer is None or self._renderer.model is not self._simulation.model:
            self._make_renderer()
            assert self._renderer is not None
        if self._colours is not None:
            self._simulation.recolour(self._colours.draw())
            self._renderer.upload_textures()
        if self._backgrounds is not None:
            self._backgrounds.next_video()
        if self._disturbance is not None:
            self._disturbance.next_episode()
        self._step_index = self._control_steps = 0
        self._running = True
        self._time_ns += self.control_period_ns if self._time_ns == 0 else BETWEEN_EPISODES_NS

    def show(self, state: Mapping[str, np.ndarray]) -> SimStep:
        """Show a recorded state, as if an episode began in it; none does, so `reset` comes next.

        Args:
            state: as the task's simulation has it in `set_state`.

        Raises:
            ConfigError: if the task's states cannot be set from outside.
            InvalidInputError: if the state does not fit the task.
        """
        set_state = getattr(self._simulation, 'set_state', None)
        if set_state is None:
            raise ConfigError(f"states of task '{self.spec.name}' cannot be shown; those of the "
                              'Adroit tasks can')
        self._running = False
        set_state(state)
        return self._observe(0.0, 1.0, FIRST)

    def step(self, action: np.ndarray) -> SimStep:
        """Apply an action for one agent step.

        Args:
            action: (A,) finite; values out of range are clipped.

        Raises:
            CommandError: if the action has the wrong shape or is not finite, or if the episode
                is over and `reset` has not been called. The simulation stays as it was.
        """
        low, high = self._simulation.action_low, self._simulation.action_high
        try:
            values = np.asarray(action, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise CommandError(f'an action must be {low.size} numbers: {error}') from error
        if values.shape != low.shape:
            raise CommandError(f"an action of '{self.spec.name}' has shape {low.shape}, "
                               f'got {values.shape}')
        if not np.isfinite(values).all():
            raise CommandError(f'an action must be finite, got {values.tolist()}')
        if not self._running:
            raise CommandError('there is no episode to step: call reset first')
        values = np.clip(values, low, high)
        self._running = False  # until the physics has come through
        reward, discount, over = 0.0, 1.0, False
        for _ in range(self.action_repeat):
            step_reward, step_discount, over = self._simulation.step(values)
            reward += step_reward * discount
            discount *= step_discount
            self._control_steps += 1
            self._time_ns += self._simulation.control_timestep_ns
            over = over or self._control_steps >= self.spec.episode_steps
            if over:
                break
        self._step_index += 1
        self._running = not over
        return self._observe(reward, discount, LAST if over else MID)

    def bodies(self) -> np.ndarray:
        """Return (H, W) uint8, the index of the body that the first camera shows; 0 is the world.

        Left and right ones that differ in nothing but their name's `left` and `right` are one.
        """
        assert self._renderer is not None
        model = self._simulation.model
        names = [model.body(index).name.replace('left', '').replace('right', '')
                 for index in range(model.nbody)]
        twin = np.array([names.index(name) for name in names], dtype=np.uint8)
        painted = SceneLabels(twin[model.geom_bodyid], twin[model.site_bodyid])
        shown = self._renderer.render(painted, change_scene=self._change_scene()).labels
        assert shown is not None
        return shown

    def close(self) -> None:
        """Free the simulation and its OpenGL context."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
        self._running = False
        self._simulation.close()

    def _make_renderer(self) -> None:
        import mujoco
        if self._renderer is not None:
            self._renderer.close()
        model = self._simulation.model
        if self._screen:
            self._simulation.paint_screen(SCREEN, FLOOR in self.setting.replaced)
        self._renderer = Renderer(model, self._simulation.data, camera_id=self.camera_ids[0],
                                  more_cameras=self.camera_ids[1:],
                                  height=self.height, width=self.width, quality=self.quality,
                                  multisample=self._screen or not self.setting.has_video)
        self._labels: SceneLabels = scene_labels(model, self.spec)
        if self._hide_object:
            model.geom_group[self._labels.geom >= FIRST_PART] = HIDDEN_GROUP
            model.site_group[self._labels.site >= FIRST_PART] = HIDDEN_GROUP
        joints = np.flatnonzero(np.isin(model.jnt_type, (int(mujoco.mjtJoint.mjJNT_HINGE),
                                                         int(mujoco.mjtJoint.mjJNT_SLIDE))))
        self._joint_names = tuple(
            _joint_name(mujoco.mj_id2name(model, mujoco.mjtObj.mjOBJ_JOINT, joint), joint)
            for joint in joints.tolist())
        self._position_at = model.jnt_qposadr[joints]
        self._velocity_at = model.jnt_dofadr[joints]

    def _observe(self, reward: float, discount: float, step_type: int) -> SimStep:
        background = None if self._backgrounds is None else self._backgrounds.frame(
            self._step_index)
        views = tuple(self._view(camera, background) for camera in range(len(self.camera_ids)))
        data = self._simulation.data
        return SimStep(views, reward, discount, step_type, self._step_index,
                       self._time_ns, self._joint_names, data.qpos[self._position_at],
                       data.qvel[self._velocity_at], self._simulation.success)

    def _change_scene(self) -> Callable[[Any], None] | None:
        if self._disturbance is None:
            return None
        return functools.partial(self._disturbance.change_scene, step=self._step_index,
                                 centre=self._simulation.data.subtree_com[0],
                                 labels=self._labels)

    def _view(self, camera: int, background: np.ndarray | None) -> CameraView:
        assert self._renderer is not None
        by_label = background is not None and not self._screen
        disturbance = self._disturbance
        textured = disturbance is not None and disturbance.textured
        painted = disturbance is not None and disturbance.painted
        wanted = self._labels if self.truth or by_label or painted else None
        rendering = self._renderer.render(wanted, sky=not by_label, camera=camera,
                                          change_scene=self._change_scene(),
                                          surface=textured)
        frame, labels = rendering.frame, rendering.labels
        if background is not None:
            if self._screen:
                np.copyto(frame, background, where=is_screen(frame)[:, :, None])
            else:
                assert labels is not None
                composite(frame, labels, self.setting.replaced, background)
        if disturbance is not None:
            disturbance.paint_body(rendering, self._renderer.scene)
            frame = disturbance.change_picture(frame)
        if labels is None or not self.truth:
            return CameraView(frame, None, None)
        mask = labels >= FIRST_PART
        parts = np.where(mask, labels - (FIRST_PART - 1), 0).astype(np.uint8)
        return CameraView(frame, mask, parts)


def _joint_name(name: str | None, joint: int) -> str:
    """Return a joint's name as a robot description has it: without dm_control's scopes."""
    return (name or '').rpartition('/')[2] or f'joint_{joint}'
