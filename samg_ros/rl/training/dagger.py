# SPDX-License-Identifier: Apache-2.0
"""A policy on masked frames that imitates an expert on the simulator's state.

DAgger (Ross et al. 2011, arXiv 1011.0686) as a stream: after a first part in which the expert
acts, most episodes are the policy's own, and the expert says at each of its frames what it would
have done. Where the expert can change the goal, it does so in half of the episodes: a picture of
another goal teaches more than the next one of the same. Every frame is masked once and kept in the
replay that the learner uses too, with the expert's action as the one that follows; each pays for
one update.

Checkpoints are written between episodes, and episodes depend on seed and number alone: a run that
was interrupted ends with the weights that it would have had without.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from samg_ros.cores import half_the_cores
from samg_ros.errors import CheckpointError, ConfigError
from samg_ros.observation import Observation, Observer
from samg_ros.rl.agents.imitation import Imitator
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.data.actions import scale_action, unscale_action
from samg_ros.rl.data.frame_masker import FrameMasker
from samg_ros.rl.data.replay import Replay
from samg_ros.rl.presets import preset
from samg_ros.rl.training.checkpoint import (
    CHECKPOINT_NAME,
    Checkpoint,
    load_checkpoint,
    resuming,
    save_checkpoint,
)
from samg_ros.rl.training.imperfect_masks import show_imperfectly
from samg_ros.rl.training.resume_check import check_same_run
from samg_ros.sim.tasks import get_task
from samg_ros.sim.tasks.experts import EXPERT_JOINTS

if TYPE_CHECKING:
    from samg_ros.masking import Masker
    from samg_ros.sim.env import SimEnv
    from samg_ros.sim.sim_step import SimStep

MASKS = ('truth', 'masker', 'both')
"""What masks the frames that are learned from: the truth with errors, the masker itself, or the
truth for two thirds of the frames and then the masker."""

_TRUTH_SHARE = 2 / 3
"""Of the frames, with 'both'."""

_VARIED = 0.5
"""Share of episodes whose goal changes on the way, and of steps at which it does."""

_AGENT = 'drqv2'
"""The agent by whose name a checkpoint says which encoder it holds."""

_OWN_EPISODES = {True: 0.5, False: 0.75}
"""Share of episodes in which the policy acts, once it learns: where episodes are cut, and else."""


def clone_config(task: str, **overrides: Any) -> TrainConfig:
    """Return the settings of a clone: those of `TrainConfig` that mean something here.

    The arm's observation is a single frame, since its expert needs no speeds: such a policy may be
    run at another rate than it was trained at. Elsewhere three frames show speeds.

    Args:
        task: a task with an expert.
        overrides: as for `samg_ros.rl.config.preset`. `steps` are frames, `update_after`
            those of the expert alone, `noise_start` to `noise_end` the noise on whoever acts.

    Raises:
        UnknownTaskError: if there is no such task.
        ConfigError: if a field is unknown, means nothing to a clone, or a value is out of range.
    """
    if overrides.get('agent', _AGENT) != _AGENT:
        raise ConfigError(f"a clone has the networks of '{_AGENT}' and no agent learns it; leave "
                          'the agent out')
    settings: dict[str, Any] = {
        'preset': 'clone',
        'steps': 30_000,
        'update_after': 1_000,
        'batch_size': 64,
        'replay_capacity': 100_000,
        'convolutions': ((16, 5, 3), (32, 3, 2), (32, 3, 1)),
        'hidden_dim': 256,
        'checkpoint_every': 500,
    }
    view: dict[str, Any] = {'size': 64}
    if get_task(task).family == 'arm':
        settings |= {'action_repeat': 4, 'noise_start': 0.4, 'noise_end': 0.2, 'shift_pad': 0,
                     'replay_capacity': 30_000}
        view |= {'frame_stack': 1, 'proprioception': EXPERT_JOINTS}
    else:
        settings |= {'action_repeat': 2, 'noise_start': 0.1, 'noise_end': 0.1}
    config = preset('quick', task, **{**settings, **overrides})
    view |= overrides.get('observation', {})
    return replace(config, observation=replace(config.observation, **view))


class Clone:
    """One run: environment, expert, policy and what they have seen."""

    def __init__(
        self,
        config: TrainConfig,
        env: 'SimEnv',
        masker: 'Masker',
        run_dir: Path | str,
        masks: str = MASKS[0],
        device: str = 'cpu',
        expert: Path | str | None = None,
    ) -> None:
        """Start a run, or resume the one in the folder.

        Args:
            config: from `clone_config`.
            env: fresh, of the configuration's task and seed.
            masker: fitted to the run's reference.
            run_dir: run folder, made if missing.
            masks: one of MASKS.
            device: torch device of the networks.
            expert: file of an expert; None takes the task's own.

        Raises:
            ExpertError: if there is no expert for the task, or it is one of something else.
            ConfigError: if the device cannot be used, or the
                masker is fitted to more than one reference.
            CheckpointError: if the folder holds another run, or its files cannot be used.
        """
        from samg_ros.rl.experts import expert_source, make_expert

        self.config, self.run_dir = config, Path(run_dir)
        self._env, self._masker, self._masks = env, masker, masks
        self._expert = make_expert(env, expert)
        self._source = expert_source(env, expert)
        self._longest = self._expert.episode_steps or env.spec.episode_steps
        self._mask = FrameMasker(config.observation, masker)
        self._observer = Observer(config.observation)
        self.low, self.high = env.action_spec
        self.imitator = Imitator(config, len(self.low), device)
        self.episodes = 0
        self.loss = float('nan')
        self._seconds, self._since = 0.0, time.monotonic()
        checkpoint = None
        if (self.run_dir / CHECKPOINT_NAME).exists():
            checkpoint = load_checkpoint(self.run_dir, device)
            check_same_run(self.run_dir, checkpoint, config, self.low, self.high,
                           masker.reference, masker.describe(), 0)
            for name, value in (('masks', masks), ('expert', self._source)):
                before = checkpoint.counters.get(name)
                if before != value:
                    raise CheckpointError(
                        f"{run_dir} holds a run with {name} '{before}', not '{value}'; keep the "
                        'setting to resume it, or choose another run folder')
        self._replay = Replay(
            self.run_dir / 'replay', config.observation, len(self.low), config.replay_capacity,
            config.checkpoint_every + 2 * (self._longest + 1), config.seed,
            None if checkpoint is None else checkpoint.replay.get('count', 0),
        )
        self._saved = self._replay.count
        if checkpoint is not None:
            with resuming(self.run_dir):
                self._replay.load_rng(checkpoint.replay['rng'])
                self.imitator.load_state_dict(checkpoint.agent)
                self.episodes = checkpoint.counters['episodes']
                self._seconds = checkpoint.counters['seconds']
            env.skip_episodes(self.episodes)

    @property
    def steps(self) -> int:
        """Frames so far."""
        return self._replay.count

    @property
    def done(self) -> bool:
        """Whether the budget is spent."""
        return self.steps >= self.config.steps

    @property
    def seconds(self) -> float:
        """How long the run has taken, with what came before an interruption."""
        return self._seconds + time.monotonic() - self._since

    def episode(self) -> None:
        """Go through one episode, learn from each of its frames, save when it is time.

        Raises:
            CheckpointError: if the checkpoint cannot be written.
            SamgError: whatever the simulation or the masker raises.
        """
        rng = np.random.default_rng((self.config.seed, self.episodes))
        learns = self.steps >= self.config.update_after
        own = learns and rng.random() < _OWN_EPISODES[self._expert.episode_steps is not None]
        by_truth = self._masks == 'truth' or (
            self._masks == 'both' and self.steps < _TRUTH_SHARE * self.config.steps)
        self._env.truth = by_truth or self.config.observation.source == 'truth'
        varied = rng.random() < _VARIED
        noise = self.config.noise(self.steps)
        before = None
        losses = []
        step = self._env.reset()
        while True:
            observation = self._observe(step, rng, by_truth)
            self._replay.add(observation['pixels'], observation.get('proprioception'), before,
                             step.reward, step.discount)
            if learns:
                batch = self._replay.sample(self.config.batch_size, 1, self.config.discount)
                losses.append(self.imitator.update(batch, min(1.0, self.steps / self.config.steps)))
            if step.last or step.step_index >= self._longest:
                break
            before = unscale_action(self._expert.act(), self.low, self.high)
            if varied and rng.random() < _VARIED:
                self._expert.vary(rng)
            chosen = self.imitator.act(observation) if own else before
            chosen = chosen + noise * rng.standard_normal(len(chosen), np.float32)
            step = self._env.step(scale_action(chosen.clip(-1, 1), self.low, self.high))
        self.episodes += 1
        if losses:
            self.loss = float(torch.stack(losses).mean())
        if self.done or self.steps - self._saved >= self.config.checkpoint_every:
            self.save()

    def save(self) -> None:
        """Write the checkpoint; only between episodes.

        Raises:
            CheckpointError: if the files cannot be written; the previous checkpoint stays.
        """
        self._replay.flush()
        save_checkpoint(self.run_dir / CHECKPOINT_NAME, Checkpoint(
            config=self.config, action_low=self.low, action_high=self.high,
            agent=self.imitator.state_dict(), reference=self._masker.reference,
            masker=self._masker.describe(), replay=self._replay.state_dict(),
            counters={'steps': self.steps, 'updates': max(0, self.steps - self.config.update_after),
                      'episodes': self.episodes, 'seconds': self.seconds, 'done': self.done,
                      'masks': self._masks, 'expert': self._source},
        ))
        self._saved = self.steps

    def close(self) -> None:
        """Let another process have the run; saves nothing."""
        self._replay.close()

    def _observe(self, step: 'SimStep', rng: np.random.Generator, by_truth: bool) -> Observation:
        spec = self.config.observation
        if by_truth and spec.source == 'masked':
            assert step.mask is not None
            frame = show_imperfectly(step.frame, step.mask, spec.fill, rng)
        else:
            frame, _ = self._mask(step.frame, step.mask)
        joints = spec.select_joints(step.joint_names, step.joint_positions)
        return self._observer.reset(frame, joints) if step.first else self._observer.push(
            frame, joints)


def train_clone(
    config: TrainConfig,
    run_dir: Path | str,
    masker: 'Masker',
    masks: str = MASKS[0],
    device: str = 'cpu',
    expert: Path | str | None = None,
    on_progress: Callable[[Clone], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Clone:
    """Clone, or resume the run in the folder, until its budget is spent.

    Args:
        config: from `clone_config`.
        run_dir: run folder, made if missing.
        masker: fitted to the run's reference.
        masks: one of MASKS.
        device: torch device of the networks.
        expert: file of an expert; None takes the task's own.
        on_progress: called after every episode.
        should_stop: asked before every episode; true saves and returns.

    Raises:
        ExpertError: if there is no expert for the task, or it is one of something else.
        CheckpointError: if the folder holds another run, or cannot be written.
        SamgError: whatever the simulation or the masker raises.
    """
    from samg_ros.sim.env import SimEnv

    env = SimEnv(
        task=config.task, setting=config.setting, seed=config.seed, height=config.camera_size,
        width=config.camera_size, action_repeat=config.action_repeat,
    )
    with ExitStack() as stack:
        stack.callback(env.close)
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(half_the_cores())
        clone = Clone(config, env, masker, run_dir, masks, device, expert)
        stack.callback(clone.close)
        while not clone.done:
            if should_stop is not None and should_stop():
                clone.save()
                break
            clone.episode()
            if on_progress is not None:
                on_progress(clone)
        return clone
