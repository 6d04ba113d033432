# SPDX-License-Identifier: Apache-2.0
"""Episodes of an expert as a run on reward would have met them, for its replay to begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from samg_ros.observation import Observer
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.data.actions import unscale_action
from samg_ros.rl.data.frame_masker import FrameMasker
from samg_ros.rl.data.time_step import TimeStep
from samg_ros.rl.experts import make_expert
from samg_ros.rl.training.checkpoint import CHECKPOINT_NAME
from samg_ros.sim.env import SimEnv

if TYPE_CHECKING:
    from samg_ros.masking import Masker

_SEED_OFFSET = 200_000
"""Keeps these episodes apart from those of training and evaluation with the same seed."""

_NOISE = 0.1
"""Standard deviation of the noise on the expert's actions: values of slightly worse actions are
learned too."""

Remembered = tuple[TimeStep, NDArray[np.float32] | None]


class ExpertEpisodes:
    """Time steps of `config.expert_episodes` episodes, each with the action that led to it."""

    def __init__(self, config: TrainConfig, masker: Masker | None = None) -> None:
        """Play the episodes.

        Args:
            config: settings of the run.
            masker: fitted to the run's reference; needed if the policy sees masked frames.

        Raises:
            ExpertError: if the package has no expert for the task.
            ConfigError: if a masker is missing.
        """
        env = SimEnv(config.task, config.setting, config.seed + _SEED_OFFSET, config.camera_size,
                     config.camera_size, config.quality,
                     action_repeat=config.action_repeat, composite=config.composite,
                     truth=config.observation.source == 'truth')
        try:
            expert, mask = make_expert(env), FrameMasker(config.observation, masker)
            rng = np.random.default_rng(config.seed)
            low, high = env.action_spec
            self._steps: list[Remembered] = []
            for _ in range(config.expert_episodes):
                observer, step, action = Observer(config.observation), env.reset(), None
                while True:
                    frame, _ = mask(step.frame, step.mask, step.time_ns)
                    joints = config.observation.select_joints(
                        step.joint_names, step.joint_positions)
                    see = observer.reset if step.first else observer.push
                    self._steps.append((TimeStep(see(frame, joints), step.reward, step.discount,
                                                 step.step_type), action))
                    if step.last:
                        break
                    noise = _NOISE * (high - low) / 2 * rng.standard_normal(low.shape)
                    command = np.clip(expert.act() + noise, low, high)
                    action = unscale_action(command, low, high)
                    step = env.step(command)
        finally:
            env.close()

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Iterator[Remembered]:
        return iter(self._steps)


def expert_episodes(config: TrainConfig, run_dir: Path, masker: Masker | None,
                    ) -> ExpertEpisodes | None:
    """Return the episodes that a new run begins with; None for a resumed one, which has them.

    Raises:
        SamgError: as of `ExpertEpisodes`.
    """
    if not config.expert_episodes or (run_dir / CHECKPOINT_NAME).exists():
        return None
    return ExpertEpisodes(config, masker)
