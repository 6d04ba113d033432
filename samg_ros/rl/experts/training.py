# SPDX-License-Identifier: Apache-2.0
"""How an expert on the simulator's state is trained: an episode, its updates, now and then a test.

No picture is rendered. A run's folder holds `run.npz`, from which the same command goes on, and
`expert.npz`, the best policy so far in the tests: it does not explore in them, but disturbances and
stumbles are those of the training.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from samg_ros.errors import CheckpointError, ConfigError
from samg_ros.files.arrays import ArraySpec, read_npz
from samg_ros.files.reading import parsing
from samg_ros.files.schema import parse_json
from samg_ros.rl.data.storage import lock_folder
from samg_ros.rl.experts.early_end import LOW_REWARD_STEPS, EarlyEnd
from samg_ros.rl.experts.soft_actor_critic import SacSettings, SoftActorCritic, log_std
from samg_ros.rl.experts.state_policy import StatePolicy
from samg_ros.rl.experts.state_replay import StateReplay
from samg_ros.rl.experts.stumbles import Stumbles
from samg_ros.rl.experts.trained import layout_of, visible_state, whole_state
from samg_ros.sim.tasks import Simulation, TaskSpec, get_task, load_simulation

RUN_NAME, EXPERT_NAME = 'run.npz', 'expert.npz'
_UPDATES_PER_CALL = 50
_TEST_SEED = 1000
"""Added to the run's seed for the episodes that say how good a policy is."""

Array = npt.NDArray[np.float32]
Act = Callable[[Array], Array]


@dataclass(frozen=True)
class ExpertConfig:
    """Everything that decides what a run computes."""

    task: str
    """Task to train on."""
    seed: int = 0
    """Of networks, noise and episodes."""
    steps: int = 500_000
    """Agent steps at most."""
    stop_at: float = float('inf')
    """Return of a test, mean of its episodes, that is enough."""
    action_repeat: int = 2
    """Control steps for one action."""
    random_episodes: int = 8
    """With random actions, before the first update."""
    capacity: int = 600_000
    """Transitions that are remembered."""
    n_step: int = 3
    """Rewards summed before the value of the next state; DrQ-v2 too takes 1 for the walker."""
    discount: float = 0.98
    """Of one agent step."""
    test_every: int = 20
    """Episodes, also those that end early, between two tests and two checkpoints."""
    test_episodes: int = 5
    """Of a test."""
    disturbance: float = 0.0
    """Standard deviation of noise on the commands, in training and tests, of which the agent is
    not told: who imitates it from pictures is never exact, and should not have to be."""
    stumble_every: int = 0
    """Agent steps from the end of a stumble to the next one, on average, in training and tests; 0
    for none. The agent then learns to move so that it does not fall easily. Its student makes
    errors, and must not fall at each of them."""
    end_after: int = 0
    """Agent steps in a row with a low reward that end an episode of training (see early_end.py); 0
    for none. Tests always go to the end."""
    agent: SacSettings = field(default_factory=SacSettings)
    """How the agent learns."""


_BY_DOMAIN: dict[str, dict[str, Any]] = {
    'cheetah': {'stumble_every': 250, 'test_episodes': 10},
    'finger': {'n_step': 1, 'disturbance': 0.02},
    'quadruped': {'test_episodes': 15},
    'walker': {'n_step': 1, 'discount': 0.99},
}
_AGENT_BY_DOMAIN: dict[str, dict[str, Any]] = {
    'finger': {'entropy': 3.0, 'learning_rate': 7e-4},
    'walker': {'entropy': 1.5, 'learning_rate': 7e-4},
}
"""Found by trial, see docs/cloning.md: with three steps and more noise finger and walker stayed
below 860. The finger's expert without disturbance had a student of 210, with 0.1 it had 866 itself
and its student 861, with 0.02 it has 984 and its student 920. The
quadruped begins in any pose, and one that had 915 in five episodes had 648 in fifteen others; with
stumbles every 600 steps it had 408 after 158,000 steps, without them 940. For the cheetah's see
docs/cloning.md."""


def expert_config(task: str, **changes: Any) -> ExpertConfig:
    """Return the settings for a task.

    Raises:
        UnknownTaskError: if there is no such task.
        ConfigError: if the task has no state that an expert could learn on.
    """
    spec = get_task(task)
    if spec.family != 'dmcontrol':
        raise ConfigError(f"experts are trained on DMControl's tasks, not on '{task}'; for Adroit "
                          'give the published ones to `samg train clone --expert`')
    agent = SacSettings(**_AGENT_BY_DOMAIN.get(spec.domain, {}))
    changes = {'end_after': LOW_REWARD_STEPS.get(spec.domain, 0),
               **_BY_DOMAIN.get(spec.domain, {}), **changes}
    return ExpertConfig(task, agent=agent, **changes)


class ExpertRun:
    """One run: simulator, agent, and what they have seen."""

    def __init__(self, config: ExpertConfig, run_dir: Path | str) -> None:
        """Start a run, or resume the one in the folder.

        Raises:
            CheckpointError: if the folder holds another run, cannot be used, or is in use.
            MissingDependencyError: if JAX is not installed.
        """
        self.config, self.run_dir = config, Path(run_dir)
        self.spec: TaskSpec = get_task(config.task)
        self._simulation = load_simulation(self.spec, config.seed + 1)
        self._simulation.reset()
        self.low, self.high = self._simulation.action_low, self._simulation.action_high
        self.layout = layout_of(visible_state(self.spec, self._simulation))
        self._seen, self._actions = sum(size for _, size in self.layout), len(self.low)
        states = len(self._state(self._simulation))
        self._agent = SoftActorCritic(states, self._seen, self._actions, config.agent, config.seed)
        self._replay = StateReplay(states, self._actions, config.capacity, config.n_step,
                                   config.discount)
        self.steps = self.episodes = 0
        self.best = self.last = float('-inf')
        self._lock = lock_folder(self.run_dir)
        if (self.run_dir / RUN_NAME).exists():
            self._resume()

    @property
    def done(self) -> bool:
        """Whether the budget is spent, or the policy is good enough."""
        return self.steps >= self.config.steps or self.best >= self.config.stop_at

    def episode(self) -> None:
        """Go through one episode and learn as many times as it had steps; test when it is time.

        Raises:
            CheckpointError: if the checkpoint cannot be written.
        """
        config = self.config
        rng = np.random.default_rng((config.seed, self.episodes))
        self._simulation.seed(config.seed + 1 + self.episodes)
        states, actions, rewards = self._act_out(self._simulation, self._explore(rng), rng)
        self._replay.add(states, actions, rewards)
        self.episodes += 1
        self.steps += len(rewards)
        if self.episodes >= config.random_episodes:
            for _ in range(self.steps // _UPDATES_PER_CALL
                           - (self.steps - len(rewards)) // _UPDATES_PER_CALL):
                self._agent.update(self._replay.sample(rng, _UPDATES_PER_CALL,
                                                       config.agent.batch_size))
        if self.episodes % config.test_every == 0 or self.done:
            self.test()
            self.save()

    def test(self) -> float:
        """Return the mean return without exploring; a policy better than those before is written.

        It is written with its return without disturbances and stumbles too.
        """
        self.last = self._test()
        if self.last > self.best:
            self.best = self.last
            rough = self.config.disturbance or self.config.stumble_every
            calm = self._test(calm=True) if rough else self.last
            self.policy({'return': round(calm, 1), 'disturbed_return': round(self.last, 1)}).save(
                self.run_dir / EXPERT_NAME)
        return self.last

    def _test(self, calm: bool = False) -> float:
        simulation = load_simulation(self.spec, self.config.seed + _TEST_SEED)
        rng = np.random.default_rng(self.config.seed + _TEST_SEED)
        act = self._explore(None)
        returns = [self._act_out(simulation, act, rng, calm, to_the_end=True)[2].sum()
                   for _ in range(self.config.test_episodes)]
        simulation.close()
        return float(np.mean(returns))

    def policy(self, returns: dict[str, float] | None = None) -> StatePolicy:
        """Return the present policy without exploring; its file says what it reaches."""
        arrays, count = self._agent.actor(), self._actions
        return StatePolicy(
            weights=(arrays[0].T, arrays[2].T, arrays[4][:, :count].T),
            biases=(arrays[1], arrays[3], arrays[5][:count]),
            in_shift=self._replay.mean[:self._seen],
            in_scale=self._replay.deviation[:self._seen],
            out_shift=((self.low + self.high) / 2).astype(np.float32),
            out_scale=((self.high - self.low) / 2).astype(np.float32),
            task=self.spec.name, control=self.spec.control, state=self.layout,
            action_repeat=self.config.action_repeat,
            facts={'steps': self.steps, 'seed': self.config.seed,
                   'disturbance': self.config.disturbance,
                   'stumble_every': self.config.stumble_every, **(returns or {})})

    def save(self) -> None:
        """Write the checkpoint of the run: the new one, or on failure the old one stays.

        Raises:
            CheckpointError: if that fails; the one before stays.
        """
        values: dict[str, Any] = {'config': np.array(_text(self.config)),
                                  'counters': np.array([self.steps, self.episodes]),
                                  'returns': np.array([self.best, self.last]),
                                  **self._agent.state_dict(), **self._replay.state_dict()}
        path = self.run_dir / RUN_NAME
        temporary = path.with_suffix('.part')
        try:
            with temporary.open('wb') as file:
                np.savez(file, **values)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise CheckpointError(f'cannot write {path}: {error.strerror}; the previous one, if '
                                  'any, is untouched') from error

    def close(self) -> None:
        """Let another process have the run; saves nothing."""
        self._lock.close()
        self._simulation.close()

    def _explore(self, rng: np.random.Generator | None) -> Act:
        """Return what acts: at random, by the policy with its noise, or without for None."""
        if rng is not None and self.episodes < self.config.random_episodes:
            return lambda state: rng.uniform(-1, 1, self._actions).astype(np.float32)
        policy = self.policy()
        spread = self._agent.actor()[4][:, self._actions:], self._agent.actor()[5][self._actions:]

        def act(state: Array) -> Array:
            mean, hidden = policy.before_tanh(state[:self._seen])
            if rng is not None:
                noise = rng.standard_normal(self._actions).astype(np.float32)
                mean = mean + np.exp(log_std(hidden @ spread[0] + spread[1])) * noise
            action: Array = np.tanh(mean)
            return action

        return act

    def _act_out(self, simulation: Simulation, act: Act, rng: np.random.Generator,
                 calm: bool = False, to_the_end: bool = False) -> tuple[Array, Array, Array]:
        """Go through an episode.

        Args:
            simulation: the simulation to step.
            act: returns the action for a state.
            rng: of disturbances and stumbles.
            calm: no disturbance and no stumbles.
            to_the_end: go on to the time limit; do not end early.

        Returns:
            states (T + 1, S), actions (T, A) in [-1, 1] as they were chosen, by the policy or by a
            stumble, and rewards (T,).
        """
        simulation.reset()
        states, actions, rewards, over = [self._state(simulation)], [], [], False
        config, control_steps = self.config, 0
        early_end = EarlyEnd(0 if to_the_end else config.end_after, config.action_repeat)
        stumble = Stumbles(0 if calm else config.stumble_every, self._actions, rng)
        while not over:
            stumbling = stumble()
            actions.append(act(states[-1]) if stumbling is None else stumbling)
            done = actions[-1].astype(np.float64)
            if config.disturbance and not calm:
                done = (done + config.disturbance * rng.standard_normal(done.shape)).clip(-1, 1)
            command = self.low + (done + 1) / 2 * (self.high - self.low)
            total = 0.0
            for _ in range(config.action_repeat):
                reward, _, over = simulation.step(command)
                total += reward
                control_steps += 1
                over = over or control_steps >= self.spec.episode_steps
                if over:
                    break
            rewards.append(total)
            over = early_end.is_over(total) or over
            states.append(self._state(simulation))
        return np.stack(states), np.stack(actions), np.array(rewards, np.float32)

    def _state(self, simulation: Simulation) -> Array:
        """Return what the policy acts on, and behind it what only the critics are told."""
        seen = np.concatenate(list(visible_state(self.spec, simulation).values()))
        whole = whole_state(simulation)
        hidden = whole if len(seen) < len(whole) else whole[:0]
        return np.concatenate([seen, hidden]).astype(np.float32)

    def _resume(self) -> None:
        path = self.run_dir / RUN_NAME
        advice = 'restore it, or choose another run folder'
        values = read_npz(path, {'config': ArraySpec('U', ()), 'counters': ArraySpec('iu', (2,)),
                                 'returns': ArraySpec('f', (2,))}, CheckpointError, advice)
        if missing := {'config', 'counters', 'returns'} - set(values):
            raise CheckpointError(f"{path} lacks '{min(missing)}'; {advice}")
        before = parse_json(str(values['config']), dict[str, Any], f'config of {path}',
                            CheckpointError, finite=False)
        before = {**asdict(ExpertConfig(self.config.task)), **before}  # settings added since
        for name, value in json.loads(_text(self.config)).items():
            if before[name] != value and name not in ('steps', 'stop_at'):
                raise CheckpointError(
                    f'{self.run_dir} holds a run with {name} {before[name]}, not {value}; keep '
                    'the setting to resume it, or choose another run folder')
        self.steps, self.episodes = map(int, values['counters'])
        self.best, self.last = map(float, values['returns'])
        with parsing(f'{path} is not whole', CheckpointError, advice):
            self._agent.load_state_dict(values)
            self._replay.load_state_dict(values)


def _text(config: ExpertConfig) -> str:
    return json.dumps(asdict(config))
