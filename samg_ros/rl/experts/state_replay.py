# SPDX-License-Identifier: Apache-2.0
"""What an agent on states remembers: transitions of n steps in plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from samg_ros.rl.experts.soft_actor_critic import Transitions
from samg_ros.rl.experts.state_policy import INPUT_LIMIT

Array = npt.NDArray[np.float32]


class StateReplay:
    """A ring of transitions, and the mean and variance of every state that was ever added."""

    def __init__(self, states: int, actions: int, capacity: int, n_step: int,
                 discount: float) -> None:
        """Make room.

        Args:
            states: numbers in a state.
            actions: numbers in an action.
            capacity: transitions that are remembered.
            n_step: rewards summed before the value of the next state.
            discount: of one step.
        """
        self._ring: dict[str, Array] = {
            'state': np.zeros((capacity, states), np.float32),
            'action': np.zeros((capacity, actions), np.float32),
            'reward': np.zeros(capacity, np.float32),
            'discount': np.zeros(capacity, np.float32),
            'next_state': np.zeros((capacity, states), np.float32)}
        self._capacity, self._n_step, self._discount = capacity, n_step, discount
        self._count = 0
        self._seen, self._mean, self._squares = 0, np.zeros(states), np.zeros(states)

    @property
    def mean(self) -> Array:
        """Of all states so far, (S,) float32."""
        return self._mean.astype(np.float32)

    @property
    def deviation(self) -> Array:
        """Standard deviation of all states so far, (S,) float32, above 0."""
        return np.sqrt(self._squares / max(1, self._seen) + 1e-8).astype(np.float32)

    def add(self, states: Array, actions: Array, rewards: Array) -> None:
        """Add an episode that was cut off, not ended, after T steps.

        Near its end, transitions are shorter than n steps.

        Args:
            states: (T + 1, S).
            actions: (T, A) in [-1, 1].
            rewards: (T,).
        """
        length = len(rewards)
        first = np.arange(length)
        total, factor = np.zeros(length, np.float32), np.ones(length, np.float32)
        for k in range(self._n_step):
            inside = first[: max(0, length - k)]
            total[inside] += self._discount**k * rewards[inside + k]
            factor[inside] *= self._discount
        slots = (self._count + first) % self._capacity
        values = {'state': states[:-1], 'action': actions, 'reward': total, 'discount': factor,
                  'next_state': states[np.minimum(first + self._n_step, length)]}
        for name, value in values.items():
            self._ring[name][slots] = value
        self._count += length
        self._learn_scale(states)

    def sample(self, rng: np.random.Generator, updates: int, size: int) -> Transitions:
        """Draw batches uniformly, states normalised."""
        drawn = rng.integers(min(self._count, self._capacity), size=(updates, size))
        picked = {name: array[drawn] for name, array in self._ring.items()}
        for name in ('state', 'next_state'):
            picked[name] = self.normalised(picked[name])
        return Transitions(**picked)

    def normalised(self, states: Array) -> Array:
        """Return states in standard deviations from their mean, cut off at `INPUT_LIMIT`."""
        result: Array = np.clip((states - self.mean) / self.deviation, -INPUT_LIMIT, INPUT_LIMIT)
        return result

    def state_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Return everything as arrays by name."""
        held = min(self._count, self._capacity)
        return {**{f'replay_{name}': array[:held] for name, array in self._ring.items()},
                'replay_count': np.array([self._count, self._seen]),
                'replay_scale': np.stack([self._mean, self._squares])}

    def load_state_dict(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Take over what `state_dict` gave."""
        self._count, self._seen = map(int, state['replay_count'])
        self._mean, self._squares = state['replay_scale'].copy()
        for name, array in self._ring.items():
            saved = state[f'replay_{name}']
            array[: len(saved)] = saved

    def _learn_scale(self, states: Array) -> None:
        """Bring mean and sum of squared distances up to date (Chan et al. 1979)."""
        count = len(states)
        total = self._seen + count
        mean = states.mean(0, dtype=np.float64)
        apart = mean - self._mean
        self._squares = (self._squares + np.square(states - mean).sum(0)
                         + np.square(apart) * self._seen * count / total)
        self._mean = self._mean + apart * count / total
        self._seen = total
