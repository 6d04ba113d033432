# SPDX-License-Identifier: Apache-2.0
"""How good is a policy in front of a background: returns, and the masks of the same episodes.

Everything a policy needs comes from its checkpoint. A random policy, the baseline that the report
sets it against, acts at the same rate in the same simulation.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from samg_ros.errors import CheckpointError, ConfigError
from samg_ros.evaluation.episodes import EpisodeResults, View
from samg_ros.evaluation.metrics import mask_iou
from samg_ros.files.outputs import write_json
from samg_ros.masking.tracker import Tracker
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.evaluation.policy import Policy, load_policy
from samg_ros.rl.training.metrics import read_metrics

if TYPE_CHECKING:
    from samg_ros.masking import Masker
    from samg_ros.sim.env import SimEnv
    from samg_ros.sim.sim_step import CameraView, SimStep

EVALUATION_NAME = 'evaluation.json'
"""Name of the figures in a run folder."""

SETTINGS = ('train', 'video_hard')
"""Visual settings that a run is evaluated in by default."""

SHOWN = ('trained', 'truth', 'raw', 'blind')
"""What a policy can be shown: what it was trained on, frames cut out by the true mask, frames as
the camera has them, or nothing but fill. The last three say what its masks cost and bring."""

Progress = Callable[[str, int, int], None]
"""Called with a setting's name, episodes done and episodes in all."""

RANDOM_SHARE = 4
"""Episodes of the random policy for each one of the trained: it is cheap, and varies more."""

SEED_OFFSET = 100_000
"""Keeps the episodes of an evaluation apart from those of the training with the same seed."""


@dataclass(frozen=True)
class RunEvaluation:
    """A run's policy in several settings, and the random policy."""

    config: TrainConfig
    """Settings of the run."""
    counters: Mapping[str, Any]
    """Agent steps, updates, episodes and seconds of its training."""
    results: Mapping[str, EpisodeResults]
    """Results by setting."""
    random: EpisodeResults
    """The random policy in the first of the settings."""
    curve: Sequence[Mapping[str, float]]
    """Lines of metrics.csv."""

    def to_dict(self) -> dict[str, Any]:
        """Return the figures in plain JSON types."""
        return {
            'task': self.config.task,
            'preset': self.config.preset,
            'seed': self.config.seed,
            'counters': dict(self.counters),
            'random': self.random.to_dict(),
            'results': {name: result.to_dict() for name, result in self.results.items()},
        }


def evaluate_policy(
    policy: Policy | None,
    task: str,
    setting: str,
    episodes: int = 10,
    seed: int = 0,
    *,
    masker: 'Masker | None' = None,
    videos: Path | str | None = None,
    colours: Path | str | None = None,
    nuisances: Mapping[str, float] | None = None,
    action_repeat: int | None = None,
    camera_size: int = 84,
    quality: str | None = None,
    composite: str | None = None,
    max_steps: int | None = None,
    shown: str = SHOWN[0],
    progress: Progress | None = None,
) -> EpisodeResults:
    """Run episodes and measure them.

    Args:
        policy: what acts; None for uniformly random actions, which nothing is masked for.
        task: task name.
        setting: visual setting.
        episodes: number of episodes, at least 1.
        seed: seed of the simulation and of the random policy; apart from training's.
        masker: what stands in front of a policy on masked frames; None builds the masker that it
            was trained behind.
        videos: folder of background videos; None for the built-in ones.
        colours: folder of DMC-GB's lists of colours; None for drawn ones.
        nuisances: strengths of further disturbances by name, see `sim.nuisances`.
        action_repeat: control steps per action; None takes the policy's, else the task's.
        camera_size: side of the camera frame in pixels; a policy's own comes first.
        quality: how the simulator renders, fast or paper; None takes the policy's, else fast.
        composite: how videos are put in, segmentation or chroma_key; None likewise.
        max_steps: agent steps after which an episode is cut; None runs it whole.
        shown: what the policy is shown, one of SHOWN.
        progress: called after every episode.

    Raises:
        CheckpointError: if the policy was trained on another task.
        ConfigError: if the number of episodes is not usable.
        SamgError: whatever the simulation or the masker raises.
    """
    from samg_ros.sim.env import SimEnv

    _check(policy, task, episodes, shown)
    if policy is not None:
        shown = policy.spec.source if shown == SHOWN[0] else shown
        camera_size = policy.config.camera_size
        action_repeat = action_repeat or policy.config.action_repeat
        quality = quality or policy.config.quality
        composite = composite or policy.config.composite
        if shown == 'masked' and masker is None:
            masker = policy.masker()
    env = SimEnv(
        task=task, setting=setting, seed=seed + SEED_OFFSET, height=camera_size, width=camera_size,
        videos=videos, colours=colours, nuisances=nuisances, action_repeat=action_repeat,
        quality=quality or 'fast', composite=composite or 'segmentation', truth=policy is not None,
        more_cameras=() if policy is None else policy.more_cameras)
    rng = np.random.default_rng(seed + SEED_OFFSET)

    def act_randomly(step: 'SimStep') -> NDArray[np.float64]:
        return rng.uniform(*env.action_spec)

    player = None if policy is None else _Player(policy, shown, masker)
    done: list[_Episode] = []
    views: list[View] = []
    start = time.monotonic()
    try:
        for episode in range(episodes):
            done.append(_run_episode(env, player or act_randomly, max_steps))
            if player is not None:
                done[-1] = done[-1]._replace(ious=tuple(player.ious))
                views = views or player.views
            if progress is not None:
                progress(setting, episode + 1, episodes)
    finally:
        env.close()
    return EpisodeResults(
        setting=setting, returns=tuple(each.total for each in done),
        mask_ious=tuple(each.ious for each in done if each.ious), strip=_evenly(views, 6),
        video=_evenly(views, 125),
        frames_per_s=sum(each.frames for each in done) / (time.monotonic() - start), seed=seed,
        successes=tuple(each.success for each in done if each.success is not None))


def _check(policy: Policy | None, task: str, episodes: int, shown: str) -> None:
    if episodes < 1:
        raise ConfigError(f'episodes must be at least 1, got {episodes}')
    if shown not in SHOWN:
        raise ConfigError(f"a policy can be shown {', '.join(SHOWN)}, not '{shown}'")
    if policy is not None and policy.task != task:
        raise CheckpointError(f"the policy was trained on task '{policy.task}', not '{task}'; "
                              'evaluate it there')


class _Player:
    """A policy with what stands in front of it; keeps what was seen in the current episode."""

    def __init__(self, policy: Policy, shown: str, masker: 'Masker | None') -> None:
        self._policy, self._shown = policy, shown
        maskers = {'': masker, **policy.more_maskers()} if shown == 'masked' else {}
        self._trackers = {name: Tracker(each) for name, each in maskers.items() if each}
        self._observer = policy.observer()
        self.views: list[View] = []
        self.ious: list[float] = []

    def __call__(self, step: 'SimStep') -> NDArray[np.float64]:
        spec = self._policy.spec
        if step.first:
            self.views, self.ious = [], []
        (view, iou), *others = (
            _look(each, step.time_ns, self._shown, spec.fill, self._trackers.get(name))
            for name, each in zip(('', *self._policy.more_cameras), step.views, strict=True))
        more = {name: each.masked
                for name, (each, _) in zip(self._policy.more_cameras, others, strict=True)}
        self.views.append(view)
        if iou is not None:
            self.ious.append(iou)
        joints = spec.select_joints(step.joint_names, step.joint_positions)
        see = self._observer.reset if step.first else self._observer.push
        return self._policy.act(see(view.masked, joints, more), begins=step.first)


class _Episode(NamedTuple):
    total: float
    success: bool | None
    frames: int
    ious: tuple[float, ...] = ()


def _run_episode(env: 'SimEnv', act: Callable[['SimStep'], NDArray[np.float64]],
                 max_steps: int | None) -> _Episode:
    step = env.reset()
    total, solved, frames = 0.0, 0, 0
    while True:
        frames += 1
        action = act(step)
        if step.last or (max_steps is not None and step.step_index >= max_steps):
            break
        step = env.step(action)
        total += step.reward
        solved += env.action_repeat * bool(step.success)
    success = None if step.success is None else solved > env.spec.success_steps
    return _Episode(total, success, frames)


def evaluate_run(
    run_dir: Path | str,
    settings: Sequence[str] = SETTINGS,
    episodes: int = 10,
    *,
    videos: Path | str | None = None,
    colours: Path | str | None = None,
    max_steps: int | None = None,
    progress: Progress | None = None,
) -> RunEvaluation:
    """Evaluate the policy of a run folder and write the figures to its evaluation.json.

    Args:
        run_dir: folder with a checkpoint.
        settings: visual settings, at least one.
        episodes: episodes in each.
        videos: folder of background videos; None for the built-in ones.
        colours: folder of DMC-GB's lists of colours; None for drawn ones.
        max_steps: agent steps after which an episode is cut; None runs it whole.
        progress: called after every episode; the random policy's setting is 'random'.

    Raises:
        CheckpointError: if the folder has no usable checkpoint.
        SamgError: whatever the simulation or the masker raises.
    """
    if not settings:
        raise ConfigError('name at least one visual setting to evaluate in')
    policy = load_policy(run_dir)
    masker = policy.masker()
    results = {setting: evaluate_policy(
        policy, policy.task, setting, episodes, masker=masker, videos=videos,
        colours=colours, max_steps=max_steps, progress=progress) for setting in settings}
    random = evaluate_policy(
        None, policy.task, settings[0], RANDOM_SHARE * episodes, videos=videos,
        colours=colours, action_repeat=policy.config.action_repeat,
        camera_size=policy.config.camera_size, max_steps=max_steps,
        progress=None if progress is None else lambda _, i, n: progress('random', i, n))
    evaluation = RunEvaluation(policy.config, policy.counters, results, random,
                               read_metrics(run_dir))
    write_json(Path(run_dir) / EVALUATION_NAME, evaluation.to_dict())
    return evaluation


def _look(seen: 'CameraView', time_ns: int, shown: str, fill: tuple[int, int, int],
          tracker: Tracker | None) -> tuple[View, float | None]:
    """Mask a frame as it is to be shown; the IoU where a masker did it."""
    from samg_ros.masking import apply_mask

    assert seen.mask is not None
    if shown == 'raw':
        return View(seen.frame, np.ones(seen.frame.shape[:2], bool), seen.frame), None
    iou = None
    if shown == 'truth':
        mask = seen.mask
    elif shown == 'blind':
        mask = np.zeros_like(seen.mask)
    else:
        if tracker is None:
            raise ConfigError('a policy on masked frames needs a masker')
        mask = tracker.mask(seen.frame, time_ns)
        iou = float(mask_iou(mask, seen.mask))
    return View(seen.frame, mask, apply_mask(seen.frame, mask, fill)), iou


def _evenly(views: list[View], count: int) -> tuple[View, ...]:
    """Pick at most `count` views, evenly over the episode."""
    if len(views) <= count:
        return tuple(views)
    picks = np.linspace(0, len(views) - 1, count).round().astype(int)
    return tuple(views[i] for i in picks)
