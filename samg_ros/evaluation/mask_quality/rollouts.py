# SPDX-License-Identifier: Apache-2.0
"""Frames with known truth to score a masker on: seeded rollouts with many resets.

Of random actions upright, falling and fallen poses and many backgrounds are among them; of a
trained policy the poses that it brings about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from samg_ros.errors import ConfigError
from samg_ros.sim.env import SimEnv
from samg_ros.sim.sim_step import SimStep
from samg_ros.sim.visual.settings import get_setting

FRAMES_PER_EPISODE = 15
HOLD_STEPS = 6
"""Agent steps for which a random action is held: noise at every step would barely move a robot."""

Act = Callable[[SimStep], np.ndarray]
"""From what the simulator shows to an action, (A,) within its limits."""


@dataclass(frozen=True)
class Rollouts:
    """Which frames are taken.

    Attributes:
        task: see `sim.tasks`.
        setting: see `sim.settings`.
        count: how many frames; after 15, or at an episode's end, comes a new one with its own
            pose and video.
        every: agent steps from one frame to the next; fewer before an episode's last.
        seed: of poses, actions and videos.
        size: side of a frame in pixels.
        quality: `fast` or `paper`.
        videos: folder of videos for the settings that show one; None for painted ones.
        nuisances: strengths by name, see `sim.nuisances`.
        hide_object: take the object out of the pictures.
        action_repeat: control steps per agent step; None takes the task's.
        policy: where the policy that acts came from; None for random actions.
    """

    task: str = 'walker_walk'
    setting: str = 'train'
    count: int = 300
    every: int = 4
    seed: int = 0
    size: int = 84
    quality: str = 'fast'
    videos: str | Path | None = None
    nuisances: Mapping[str, float] | None = None
    hide_object: bool = False
    action_repeat: int | None = None
    policy: str | None = None


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames of rollouts and what is true of them."""

    rollouts: Rollouts
    images: np.ndarray
    """(N, H, W, 3) uint8 RGB."""
    truths: np.ndarray
    """(N, H, W) bool."""
    bodies: np.ndarray
    """(N, H, W) uint8, see `SimEnv.bodies`."""
    episodes: np.ndarray
    """(N,) int, in which episode each was taken."""
    times_ns: np.ndarray
    """(N,) int64, when each was taken."""


def collect_frames(rollouts: Rollouts, act: Act | None = None) -> Frames:
    """Run the rollouts.

    Args:
        rollouts: which frames.
        act: what acts; None for random actions.

    Raises:
        ConfigError: if a number is not usable.
        SamgError: whatever the simulation raises.
    """
    wanted = rollouts
    for name in ('count', 'every'):
        if getattr(wanted, name) < 1:
            raise ConfigError(f'{name} of frames is {getattr(wanted, name)}; give at least 1')
    videos = wanted.videos if get_setting(wanted.setting).has_video else None
    env = SimEnv(wanted.task, wanted.setting, wanted.seed, wanted.size, wanted.size,
                 wanted.quality, videos, action_repeat=wanted.action_repeat,
                 nuisances=wanted.nuisances, hide_object=wanted.hide_object)
    shape = (wanted.count, wanted.size, wanted.size)
    images = np.empty((*shape, 3), dtype=np.uint8)
    truths, bodies = np.empty(shape, dtype=bool), np.empty(shape, dtype=np.uint8)
    episodes, episode = np.empty(wanted.count, int), -1
    times_ns = np.empty(wanted.count, np.int64)
    act = act or _random_actions(env, wanted.seed)
    try:
        begins = True
        for index in range(wanted.count):
            if begins or index % FRAMES_PER_EPISODE == 0:
                step = env.reset()
                episode += 1
            else:
                for _ in range(wanted.every):
                    if step.last:
                        break
                    step = env.step(act(step))
            assert step.mask is not None
            begins, episodes[index], times_ns[index] = step.last, episode, step.time_ns
            images[index], truths[index], bodies[index] = step.frame, step.mask, env.bodies()
    finally:
        env.close()
    return Frames(wanted, images, truths, bodies, episodes, times_ns)


def frames_apart(episode_steps: int, action_repeat: int) -> int:
    """Return how many agent steps apart frames are that are spread over whole episodes."""
    return max(1, (episode_steps // action_repeat - 1) // (FRAMES_PER_EPISODE - 1))


def _random_actions(env: SimEnv, seed: int) -> Act:
    """Return uniformly random actions, each held for a while."""
    rng, held = np.random.default_rng(seed), np.empty(0)

    def act(step: SimStep) -> np.ndarray:
        nonlocal held
        if step.step_index % HOLD_STEPS == 0:
            held = rng.uniform(*env.action_spec)
        return held

    return act
