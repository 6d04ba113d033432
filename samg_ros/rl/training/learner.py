# SPDX-License-Identifier: Apache-2.0
"""Training loop as a push interface: feed time steps, get actions.

The trainer node feeds it from topics and the direct trainer from a simulator. They share every line
of it, so the same seed gives the same weights in both.
"""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from samg_ros.cores import take_the_other_cores
from samg_ros.errors import ConfigError
from samg_ros.memory import keep_freed_memory
from samg_ros.observation import Observation
from samg_ros.rl.agents import make_agent, start_from
from samg_ros.rl.agents.imitation import Imitator
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.data.actions import action_limits, scale_action, unscale_action
from samg_ros.rl.data.replay import Replay
from samg_ros.rl.data.time_step import TimeStep, check_time_step
from samg_ros.rl.training.checkpoint import (
    CHECKPOINT_NAME,
    Checkpoint,
    diverged,
    load_checkpoint,
    resuming,
    save_checkpoint,
)
from samg_ros.rl.training.episode_statistics import EpisodeStatistics
from samg_ros.rl.training.metrics import MetricsLog
from samg_ros.rl.training.resume_check import check_same_run
from samg_ros.step_types import FIRST, LAST

if TYPE_CHECKING:
    from samg_ros.masking import Reference
    from samg_ros.rl.data.demonstrations import DemonstratedSteps
    from samg_ros.rl.training.expert_episodes import ExpertEpisodes


class Learner:
    """Acts, stores, updates, logs and saves; resumes from its run folder by itself.

    The update runs in a thread while the caller gets the next frame. Nothing depends on which
    of the two is faster: an update is always finished before the next action is chosen.
    """

    def __init__(
        self,
        config: TrainConfig,
        action_low: ArrayLike,
        action_high: ArrayLike,
        run_dir: Path | str,
        reference: 'Reference | None' = None,
        masker_description: dict[str, Any] | None = None,
        device: str = 'cpu',
        demonstrations: 'DemonstratedSteps | ExpertEpisodes | None' = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Start a run, or resume the one in the folder.

        Args:
            config: settings of the run.
            action_low: (A,) lower limits of the commands.
            action_high: (A,) upper limits of the commands.
            run_dir: run folder, made if missing.
            reference: what the masker was fitted to; goes into the checkpoint.
            masker_description: `Masker.describe()`; goes into the checkpoint.
            device: torch device of the networks.
            demonstrations: what a new run's replay begins with; a resumed one has them already.
            facts: more of what makes it this run and no other, in plain types: a clone's expert.

        Raises:
            CheckpointError: if the folder holds another run, or its files cannot be used.
            ConfigError: if the action limits, the agent's settings or the device are not usable.
            WeightsError: if the agent needs pre-trained weights that cannot be had.
            DemonstrationError: if the demonstrations cannot be read.
        """
        self.config = config
        self.run_dir = Path(run_dir)
        self.low, self.high = action_limits(action_low, action_high)
        self.reference = reference
        self.masker_description = masker_description
        self.done = False
        self.steps = 0
        self.updates = 0
        self._facts = dict(facts or {})
        self._action: NDArray[np.float32] | None = None
        self._commands: list[NDArray[np.float64]] = []
        self.episodes_begun = 0
        """Episodes that were started, including the current one and those that were left early."""
        self._statistics = EpisodeStatistics()
        self._interrupted: dict[str, Any] = {}

        self.demonstrated = 0 if demonstrations is None else len(demonstrations)
        """Time steps at the beginning of the replay that were demonstrated."""
        checkpoint = None
        if (self.run_dir / CHECKPOINT_NAME).exists():
            checkpoint = load_checkpoint(self.run_dir, device)
            check_same_run(self.run_dir, checkpoint, config, self.low, self.high, reference,
                           masker_description, self.demonstrated, self._facts)
            self.demonstrated = checkpoint.counters.get('demonstrated', 0)
        state = None if checkpoint is None else checkpoint.agent
        self.agent = make_agent(config, len(self.low), device, state)
        if checkpoint is None and config.start:
            start_from(self.agent, load_checkpoint(config.start, device).agent)
        self.replay = self._open_replay(checkpoint)
        with ExitStack() as undo:
            undo.callback(self.replay.close)
            if checkpoint is not None:
                with resuming(self.run_dir):
                    self._resume(checkpoint)
            elif demonstrations is not None:
                for time_step, action in demonstrations:
                    self._remember(time_step, action)
            self._metrics = MetricsLog(self.run_dir, self._statistics.episodes)
            undo.pop_all()
        keep_freed_memory()
        self._worker = ThreadPoolExecutor(1, 'samg-update', initializer=take_the_other_cores)
        self._pending: Future[None] | None = None

    def _open_replay(self, checkpoint: Checkpoint | None) -> Replay:
        steps = self.config.steps + self.demonstrated
        return Replay(
            self.run_dir / 'replay', self.config.observation, len(self.low),
            # Episodes add a first step each; the share of them is small and may fall out.
            capacity=min(self.config.replay_capacity, steps + self.config.steps // 50 + 1),
            slack=2 * self.config.checkpoint_every, seed=self.config.seed,
            count=None if checkpoint is None else checkpoint.replay.get('count', 0))

    def step(self, time_step: TimeStep) -> NDArray[np.float64]:
        """Take in a time step and choose the next action.

        Args:
            time_step: from the environment; after a LAST one the caller resets the environment and
                passes its FIRST one next.

        Returns:
            (A,) float64 within the action limits; after a LAST step, or when the run is done,
            the middle of the limits, which nothing is learned from.

        Raises:
            InvalidInputError: if reward, discount, joints or step type are not usable; nothing
                is stored.
            CheckpointError: if a checkpoint that was due cannot be written, or training diverged.
        """
        check_time_step(time_step)
        self._wait()
        if self.done:
            return self._middle()
        self._statistics.tick(self.steps)
        self._store(time_step)
        if time_step.step_type == LAST:
            self._end_episode()
        if self.steps >= self.config.steps:
            self.done = True
            self._action = None
            self.save()
            return self._middle()
        if time_step.step_type == LAST:
            return self._middle()

        action = self._choose(time_step)
        if not np.isfinite(action).all():
            raise diverged(self.run_dir / CHECKPOINT_NAME)
        command = scale_action(action, self.low, self.high)
        self._commands.append(command)
        self.steps += 1
        if self.steps >= self.config.update_after and self.steps % self.config.update_every == 0:
            self._pending = self._worker.submit(self._update, self.steps)
        if self.steps % self.config.checkpoint_every == 0:
            self.save()
        return command

    def continue_episode(self) -> NDArray[np.float64]:
        """Go on in the episode in which the checkpoint was written, if there was one.

        To be called before the first step after resuming, by who can bring that episode back.

        Returns:
            (n, A) float64, the commands of that episode so far: a simulator that takes them
            after that episode's reset shows the time step that the learner waits for. With n = 0
            the learner waits for the first time step of the next episode.
        """
        action, commands = map(self._interrupted.get, ('action', 'commands'))
        if action is None or commands is None:
            return np.empty((0, len(self.low)))
        self._action = action.cpu().numpy()
        self._statistics.resume_episode(self._interrupted['return'], self._interrupted['steps'])
        self._commands = list(commands.cpu().numpy())
        return np.stack(self._commands)

    def remembers(self, observation: Observation) -> bool:
        """Whether this is the observation of the newest time step in the replay."""
        return np.array_equal(observation['pixels'][-3:], self.replay.newest)

    def save(self) -> None:
        """Write the checkpoint; the replay's files first, so that it never counts too much.

        Raises:
            CheckpointError: if the files cannot be written, or the networks are no longer finite;
                the previous checkpoint stays.
        """
        self._wait()
        self.replay.flush()
        save_checkpoint(
            self.run_dir / CHECKPOINT_NAME,
            Checkpoint(
                config=self.config,
                action_low=self.low,
                action_high=self.high,
                agent=self.agent.state_dict(),
                reference=self.reference,
                masker=self.masker_description,
                replay=self.replay.state_dict(),
                counters={
                    'steps': self.steps,
                    'updates': self.updates,
                    'episodes': self._statistics.episodes,
                    'seconds': self._statistics.seconds,
                    'demonstrated': self.demonstrated,
                    'done': self.done,
                    **self._facts,
                },
                episode={
                    'begun': self.episodes_begun,
                    'action': None if self._action is None else torch.tensor(self._action),
                    'commands': torch.tensor(np.array(self._commands)),
                    'return': self._statistics.episode_return,
                    'steps': self._statistics.episode_steps,
                    'returns': list(self._statistics.returns),
                },
            ),
        )

    def close(self) -> None:
        """Finish the running update and close the files; saves nothing."""
        try:
            self._wait()
        finally:
            self._worker.shutdown()
            self.replay.close()
            self._metrics.close()

    @property
    def episodes(self) -> int:
        """Episodes that were finished."""
        return self._statistics.episodes

    @property
    def progress(self) -> dict[str, Any]:
        """Where the run stands, for a progress bar or a diagnostic.

        Returns:
            'step', 'steps' (agent steps, done and in all), 'frames' (environment frames),
            'episode', 'updates', 'return' (mean of the last ten episodes, None before the
            first), 'mask_iou' (of the last episode, or of this one during the first; None if
            not known), 'steps_per_s', 'frames_per_s', 'seconds' (of training so far),
            'seconds_left' (None before it can be estimated) and 'done'.
        """
        return {
            **self._statistics.progress(self.steps, self.config.steps, self.config.action_repeat),
            'updates': self.updates,
            'done': self.done,
        }

    def _store(self, time_step: TimeStep) -> None:
        if time_step.step_type == FIRST:
            self._action = None
        if self._action is None:
            self.episodes_begun += 1
            self._commands = []
            self._statistics.begin_episode()
        else:
            self._statistics.add_reward(float(time_step.reward))
        if time_step.mask_iou is not None:
            self._statistics.add_iou(time_step.mask_iou)
        self._remember(time_step, self._action)

    def _remember(self, time_step: TimeStep, action: NDArray[np.float32] | None) -> None:
        self.replay.add(time_step.observation['pixels'],
                        time_step.observation.get('proprioception'), action,
                        float(time_step.reward), float(time_step.discount))

    def _choose(self, time_step: TimeStep) -> NDArray[np.float32]:
        """Return the action to take; `_action` becomes the one to remember."""
        begins = self._action is None
        if self.steps < self.config.random_steps:
            action = self.agent.random_action()
        elif isinstance(self.agent, Imitator):
            if time_step.expert is None or time_step.expert.shape != self.low.shape:
                raise ConfigError(f"a clone needs an expert's action of {len(self.low)} numbers "
                                  'with every time step; use `samg train clone`, or give '
                                  'mujoco_bridge an expert')
            self._action = unscale_action(time_step.expert, self.low, self.high)
            return self.agent.explore(time_step.observation, self._action, self.steps, begins)
        else:
            action = self.agent.act(time_step.observation, self.steps)
        self._action = action
        return action

    def _update(self, step: int) -> None:
        batch = self.replay.sample(
            self.config.batch_size, self.config.n_step, self.config.discount, self.agent.device,
            self.demonstrated, self.config.demonstrated_share
        )
        for name, value in self.agent.update(batch, step).items():
            self._statistics.add_loss(name, value)
        self.updates += 1

    def _wait(self) -> None:
        """Let the running update finish, and raise here what it raised."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def _end_episode(self) -> None:
        self._action = None
        row = self._statistics.end_episode(self.steps, self.config.action_repeat, self.updates)
        if row is not None:
            self._metrics.write(row)

    def _middle(self) -> NDArray[np.float64]:
        return (self.low + self.high) / 2

    def _resume(self, checkpoint: Checkpoint) -> None:
        self.replay.load_rng(checkpoint.replay['rng'])
        counters = checkpoint.counters
        self.steps = counters['steps']
        self.updates = counters['updates']
        self._statistics.episodes = counters['episodes']
        self._statistics.seconds = counters['seconds']
        self._interrupted = checkpoint.episode
        self.episodes_begun = checkpoint.episodes_begun
        self._statistics.returns.extend(self._interrupted.get('returns', ()))
        self.done = self.steps >= self.config.steps and counters['done']
        if self.reference is None:
            self.reference = checkpoint.reference
        if self.masker_description is None:
            self.masker_description = checkpoint.masker
