# SPDX-License-Identifier: Apache-2.0
"""An environment's episodes with an expert beside them that says what it would do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from samg_ros.rl.experts import expert_source, make_expert
from samg_ros.rl.experts.early_end import LOW_REWARD_STEPS, EarlyEnd
from samg_ros.step_types import LAST

if TYPE_CHECKING:
    from samg_ros.sim.env import SimEnv
    from samg_ros.sim.sim_step import SimStep

_VARIED = 0.5
"""Share of episodes whose goal changes on the way, and of steps at which it does: a picture of
another goal teaches more than the next one of the same."""


class Advice:
    """Says at each step what the expert would do, changes the goal where it can, and ends episodes
    in which it has nothing more to show.

    The changes depend on seed and number of the episode alone.
    """

    def __init__(self, env: SimEnv, file: Path | str | None = None, seed: int = 0) -> None:
        """Take the expert of an environment.

        Args:
            env: whose steps are shown.
            file: of an expert; None takes the task's own.
            seed: of the changes of the goal.

        Raises:
            ExpertError: as of `make_expert`.
        """
        self._expert = make_expert(env, file)
        self.source = expert_source(env, file)
        """'scripted', or the SHA-256 of the expert's file."""
        self.episodes = 0
        """Episodes that began, those passed over among them."""
        self._seed = seed
        self._rng = np.random.default_rng()
        self._varied = False
        self._early_end = EarlyEnd(LOW_REWARD_STEPS.get(env.spec.domain, 0), env.action_repeat)

    def on(self, step: SimStep) -> tuple[SimStep, NDArray[np.float64]]:
        """Return a step and the expert's action in it; to be called once for each step shown.

        The step is returned as the episode's last one if there is nothing more to learn in it.
        """
        if step.first:
            self._rng = np.random.default_rng((self._seed, self.episodes))
            self._varied = self._rng.random() < _VARIED
            self.episodes += 1
            self._early_end.begin_episode()
        ends = not step.first and self._early_end.is_over(step.reward)
        action = np.asarray(self._expert.act(), np.float64)
        if self._varied and self._rng.random() < _VARIED:
            self._expert.vary(self._rng)
        longest = self._expert.episode_steps
        if ends or longest is not None and step.step_index >= longest:
            step = replace(step, step_type=LAST)
        return step, action
