# SPDX-License-Identifier: Apache-2.0
"""The simulation as Gymnasium environments; importing this registers `samg_ros/<task>-v0`.

Observations are raw camera frames, or exactly what a policy sees when an `ObservationSpec` is
given; the true mask is always in `info['mask']`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import gymnasium
import numpy as np

from samg_ros.errors import ConfigError
from samg_ros.observation import ObservationSpec, Observer
from samg_ros.sim.env import SimEnv
from samg_ros.sim.sim_step import SimStep
from samg_ros.sim.tasks import task_names
from samg_ros.sim.visual.nuisances import Nuisances

if TYPE_CHECKING:
    from samg_ros.masking import Masker

Masks = Callable[[np.ndarray], np.ndarray]
"""(N, H, W, 3) uint8 frames to (N, H, W) bool masks: a fitted `masking.Masker`."""


class SamgEnv(gymnasium.Env[dict[str, Any], np.ndarray]):
    """One task in one visual setting.

    Observation: a dict with 'pixels', the camera frame (H, W, 3) uint8; or, with an observation
    spec, 'pixels' (3 * frame_stack, size, size) uint8 and 'proprioception' if the spec has joints.
    Action: (A,) float32 within the task's range.
    Info: 'mask' (H, W) bool, 'parts' (H, W) uint8, 'frame' (H, W, 3) uint8, 'views', 'step_type',
    'step_index', 'discount', 'joint_positions', 'joint_velocities', and 'success' bool in tasks
    that know it.
    An episode that ends with discount 0 has terminated, any other was truncated.

    Args:
        task: see `tasks.task_names`.
        setting: see `settings.SETTINGS`.
        height: pixels of a camera frame.
        width: pixels of a camera frame.
        quality: `fast` or `paper`.
        videos: folder of videos; None for painted ones.
        composite: `segmentation` or `chroma_key`, see `SimEnv`.
        action_repeat: None takes the task's.
        camera_id: None takes the task's.
        more_cameras: further cameras; info['views'] holds a `CameraView` of each, the main camera's
            first.
        nuisances: strengths of disturbances by name, see `sim.nuisances.Nuisances`.
        observation_spec: what the policy sees; None for raw frames.
        masker: a fitted masker, for a spec whose source is 'masked'.
        render_mode: None or 'rgb_array'.

    Raises:
        ConfigError: if the spec wants masked frames and there is no masker.
        SamgError: whatever `SimEnv` raises.
    """

    metadata = {'render_modes': ['rgb_array'], 'render_fps': 30}

    def __init__(self, task: str = 'walker_walk', setting: str = 'train', height: int = 84,
                 width: int = 84, quality: str = 'fast', videos: str | Path | None = None,
                 action_repeat: int | None = None, camera_id: int | str | None = None,
                 observation_spec: ObservationSpec | None = None, masker: Masks | None = None,
                 render_mode: str | None = None, composite: str = 'segmentation',
                 more_cameras: Sequence[int | str] = (),
                 nuisances: Nuisances | Mapping[str, float] | None = None) -> None:
        if observation_spec is not None and observation_spec.source == 'masked' and masker is None:
            raise ConfigError("the observation spec has source 'masked' but no masker is given; "
                              "give a fitted Masker, or source 'truth' or 'raw'")
        if render_mode not in (None, 'rgb_array'):
            raise ConfigError(f"render_mode '{render_mode}' is not known; use 'rgb_array' or None")
        self.sim = SimEnv(task, setting, height=height, width=width, quality=quality,
                          videos=videos, action_repeat=action_repeat, camera_id=camera_id,
                          composite=composite, more_cameras=more_cameras, nuisances=nuisances)
        self.sim_step: SimStep | None = None
        self.render_mode = render_mode
        self.metadata = {'render_modes': ['rgb_array'],
                         'render_fps': max(1, round(1e9 / self.sim.control_period_ns))}
        self._masker = masker
        self._tracker: Any = None
        if getattr(masker, 'settings', None) is not None:  # a Masker, which may have a memory
            from samg_ros.masking.tracker import Tracker

            self._tracker = Tracker(cast('Masker', masker))
        self._observer = None if observation_spec is None else Observer(observation_spec)
        self._seeded = False
        low, high = self.sim.action_spec
        self.action_space = gymnasium.spaces.Box(low.astype(np.float32), high.astype(np.float32))
        shape = (height, width, 3) if observation_spec is None else observation_spec.pixels_shape
        spaces: dict[str, gymnasium.Space[Any]] = {
            'pixels': gymnasium.spaces.Box(0, 255, shape, np.uint8)}
        if observation_spec is not None and observation_spec.proprioception:
            missing = set(observation_spec.proprioception) - set(self.sim.joint_names)
            if missing:
                raise ConfigError(f"'{task}' has no joint '{min(missing)}'; it has "
                                  f'{", ".join(self.sim.joint_names)}')
            most = np.finfo(np.float32).max
            spaces['proprioception'] = gymnasium.spaces.Box(
                -most, most, (len(observation_spec.proprioception),), np.float32)
        self.observation_space = gymnasium.spaces.Dict(spaces)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None,
              ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begin an episode; the same seed gives the same one as `SimEnv(seed=seed)`."""
        super().reset(seed=seed)
        if seed is None and not self._seeded:
            seed = int(self.np_random.integers(2**31))
        self._seeded = True
        return self._observe(self.sim.reset(seed))

    def step(self, action: np.ndarray,
             ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Advance one agent step.

        Raises:
            CommandError: if the action has the wrong shape or is not finite, or the episode is
                over.
        """
        step = self.sim.step(action)
        observation, info = self._observe(step)
        terminated = step.last and step.discount == 0.0
        return observation, step.reward, terminated, step.last and not terminated, info

    def render(self) -> np.ndarray | None:
        """Return the latest camera frame, (H, W, 3) uint8."""
        if self.render_mode is None or self.sim_step is None:
            return None
        return self.sim_step.frame.copy()

    def close(self) -> None:
        """Free the simulation."""
        self.sim.close()

    def _observe(self, step: SimStep) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        self.sim_step = step
        info = {'mask': step.mask, 'parts': step.parts, 'frame': step.frame,
                'views': step.views,
                'step_type': step.step_type, 'step_index': step.step_index,
                'discount': step.discount, 'joint_positions': step.joint_positions,
                'joint_velocities': step.joint_velocities}
        if step.success is not None:
            info['success'] = step.success
        if self._observer is None:
            return {'pixels': step.frame}, info
        spec = self._observer.spec
        frame = step.frame
        if spec.source != 'raw':
            mask = step.mask
            if spec.source == 'masked':
                mask = info['predicted_mask'] = self._mask(step)
            assert mask is not None
            frame = np.where(mask[:, :, None], frame, np.array(spec.fill, dtype=np.uint8))
        joints = spec.select_joints(step.joint_names, step.joint_positions)
        see = self._observer.reset if step.first else self._observer.push
        return see(frame, joints), info

    def _mask(self, step: SimStep) -> np.ndarray:
        if self._tracker is not None:
            return np.asarray(self._tracker.mask(step.frame, step.time_ns))
        assert self._masker is not None
        return np.asarray(self._masker(step.frame[None]))[0]


for _task in task_names():
    gymnasium.register(id=f'samg_ros/{_task}-v0', entry_point='samg_ros.sim.gym_env:SamgEnv',
                       kwargs={'task': _task})
