# SPDX-License-Identifier: Apache-2.0
"""Soft actor-critic on states, compiled by JAX for one core.

Haarnoja et al. 2018 (arXiv 1812.05905): two critics, their smaller value, a temperature that keeps
the policy's entropy. Every hidden layer has layer norm (for critics see arXiv 2302.02948), and
returns may have n steps. Networks of these sizes are so small that most of an eager update is
overhead: compiled, fifty updates are one call and take half of PyTorch's time.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from samg_ros.errors import MissingDependencyError

# On arrays this small, threads cost more than they bring.
os.environ.setdefault('XLA_FLAGS', '--xla_cpu_multi_thread_eigen=false '
                      'intra_op_parallelism_threads=1')
try:
    import jax
    import jax.numpy as jnp
except ImportError as error:
    raise MissingDependencyError(
        "training an expert needs JAX; run: pip install 'samg_ros[experts]'") from error

_LAYER_NORM_EPSILON = 1e-5
_LOG_STD = -5.0, 2.0
"""Limits of the logarithm of the policy's standard deviation."""
_CRITICS = 2
_FIRST_TEMPERATURE = 0.1

Arrays = list[Any]
"""A network: weight and bias of each layer in turn."""


@dataclass(frozen=True)
class SacSettings:
    """What decides how the agent learns."""

    hidden_dim: int = 128
    """Width of the two hidden layers of policy and critics."""
    batch_size: int = 128
    """Transitions in one update."""
    learning_rate: float = 1e-3
    """Of Adam, for policy, critics and temperature."""
    target_rate: float = 0.005
    """Share of the critics that moves into their targets at every update."""
    entropy: float = 1.0
    """Entropy that the temperature aims at is minus this for each action, in nats."""


class Transitions(NamedTuple):
    """Batches: K updates of N transitions each."""

    state: npt.NDArray[np.float32]
    """(K, N, S), normalised."""
    action: npt.NDArray[np.float32]
    """(K, N, A) in [-1, 1]."""
    reward: npt.NDArray[np.float32]
    """(K, N), discounted sum over the n steps."""
    discount: npt.NDArray[np.float32]
    """(K, N), factor of the value of the next state."""
    next_state: npt.NDArray[np.float32]
    """(K, N, S), normalised."""


class SoftActorCritic:
    """The agent: everything that changes is in `state_dict`."""

    def __init__(self, states: int, seen: int, actions: int, settings: SacSettings, seed: int,
                 ) -> None:
        """Make the networks.

        Args:
            states: numbers in a state, all of which the critics are told.
            seen: how many of them, the first ones, the policy acts on (arXiv 1710.06542).
            actions: numbers in an action.
            settings: widths and rates.
            seed: of weights and noise.
        """
        width = settings.hidden_dim
        key, first, second = jax.random.split(jax.random.PRNGKey(seed), 3)
        critic = _network(first, (states + actions, width, width, 1), (_CRITICS,))
        actor = _network(second, (seen, width, width, 2 * actions))
        temperature = [jnp.log(jnp.array(_FIRST_TEMPERATURE))]
        self._values: dict[str, Any] = {
            'critic': critic, 'target': list(critic), 'actor': actor, 'temperature': temperature,
            'critic_moments': _moments(critic), 'actor_moments': _moments(actor),
            'temperature_moments': _moments(temperature), 'key': key, 'updates': jnp.array(0.0)}
        self._actions = actions
        self._update = jax.jit(partial(_updates, settings, seen))

    def update(self, batches: Transitions) -> dict[str, float]:
        """Take one update per batch; returns the means of what they say of themselves."""
        self._values, told = self._update(self._values, batches)
        return {name: float(value) for name, value in told.items()}

    def actor(self) -> list[npt.NDArray[np.float32]]:
        """Return the policy's weights (in, out) and biases; the last layer: means, then spreads."""
        return [np.asarray(array) for array in self._values['actor']]

    def state_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Return everything that changes, as arrays by name."""
        leaves = jax.tree.leaves(self._values)
        return {f'agent_{i}': np.asarray(leaf) for i, leaf in enumerate(leaves)}

    def load_state_dict(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Take over what `state_dict` gave."""
        leaves, tree = jax.tree.flatten(self._values)
        self._values = jax.tree.unflatten(
            tree, [jnp.asarray(state[f'agent_{i}']) for i in range(len(leaves))])


def log_std(raw: Any, numbers: Any = np) -> Any:
    """Return the logarithm of the policy's standard deviation from the network's output.

    Args:
        raw: array of any shape.
        numbers: the module that computes: numpy or jax.numpy.
    """
    low, high = _LOG_STD
    return low + (high - low) / 2 * (numbers.tanh(raw) + 1)


def _network(key: Any, sizes: Sequence[int], lead: tuple[int, ...] = ()) -> Arrays:
    """Draw weights uniformly within 1 / sqrt(inputs); `lead` networks side by side."""
    arrays = []
    for i, (before, after) in enumerate(zip(sizes, sizes[1:], strict=False)):
        limit = before**-0.5
        drawn = jax.random.uniform(jax.random.fold_in(key, i), (*lead, before, after),
                                   minval=-limit, maxval=limit)
        arrays += [drawn, jnp.zeros((*lead, *([1] * len(lead)), after))]
    return arrays


def _moments(arrays: Arrays) -> tuple[Arrays, Arrays]:
    zeros = [jnp.zeros_like(array) for array in arrays]
    return zeros, list(zeros)


def _forward(network: Arrays, x: Any) -> Any:
    *hidden, (weight, bias) = zip(network[::2], network[1::2], strict=True)
    for each, shift in hidden:
        x = jnp.matmul(x, each) + shift
        x = x - x.mean(-1, keepdims=True)
        x = jax.nn.relu(x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True)
                                          + _LAYER_NORM_EPSILON))
    return jnp.matmul(x, weight) + bias


def _values_of(critic: Arrays, state: Any, action: Any) -> Any:
    """Return the action's value by each critic, (critics, N)."""
    return _forward(critic, jnp.concatenate([state, action], -1))[..., 0]


def _act(actor: Arrays, state: Any, noise: Any) -> tuple[Any, Any]:
    """Return actions (N, A) and the logarithm of their densities (N,)."""
    mean, raw = jnp.split(_forward(actor, state), 2, -1)
    spread = log_std(raw, jnp)
    before = mean + jnp.exp(spread) * noise
    normal = -0.5 * jnp.square(noise) - spread - 0.5 * math.log(2 * math.pi)
    squash = 2 * (math.log(2) - before - jax.nn.softplus(-2 * before))  # log of tanh's slope
    return jnp.tanh(before), (normal - squash).sum(-1)


def _adam(arrays: Arrays, gradients: Arrays, moments: tuple[Arrays, Arrays], count: Any,
          rate: float) -> tuple[Arrays, tuple[Arrays, Arrays]]:
    """Take one step of Adam (arXiv 1412.6980)."""
    first = [0.9 * m + 0.1 * g for m, g in zip(moments[0], gradients, strict=True)]
    second = [0.999 * v + 0.001 * g * g for v, g in zip(moments[1], gradients, strict=True)]
    rate = rate * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
    moved = [x - rate * m / (jnp.sqrt(v) + 1e-8)
             for x, m, v in zip(arrays, first, second, strict=True)]
    return moved, (first, second)


def _one_update(settings: SacSettings, seen: int, values: dict[str, Any], batch: Transitions,
                ) -> tuple[dict[str, Any], dict[str, Any]]:
    rate, count = settings.learning_rate, values['updates'] + 1
    key, first, second = jax.random.split(values['key'], 3)
    temperature = jnp.exp(values['temperature'][0])
    next_action, density = _act(values['actor'], batch.next_state[..., :seen],
                                jax.random.normal(first, batch.action.shape))
    next_value = _values_of(values['target'], batch.next_state, next_action).min(0)
    target = batch.reward + batch.discount * (next_value - temperature * density)

    def critic_loss(critic: Arrays) -> Any:
        return _CRITICS * jnp.square(_values_of(critic, batch.state, batch.action) - target).mean()

    error, gradients = jax.value_and_grad(critic_loss)(values['critic'])
    critic, critic_moments = _adam(values['critic'], gradients, values['critic_moments'], count,
                                   rate)
    noise = jax.random.normal(second, batch.action.shape)

    def actor_loss(actor: Arrays) -> tuple[Any, tuple[Any, Any]]:
        action, density = _act(actor, batch.state[..., :seen], noise)
        value = _values_of(critic, batch.state, action).min(0)
        return (temperature * density - value).mean(), (density.mean(), value.mean())

    (_, (density, value)), gradients = jax.value_and_grad(actor_loss, has_aux=True)(values['actor'])
    actor, actor_moments = _adam(values['actor'], gradients, values['actor_moments'], count, rate)
    wanted = -settings.entropy * batch.action.shape[-1]
    slope = [temperature * (-density - wanted)]
    logarithm, temperature_moments = _adam(values['temperature'], slope,
                                           values['temperature_moments'], count, rate)
    moved = [old + settings.target_rate * (new - old)
             for old, new in zip(values['target'], critic, strict=True)]
    return {'critic': critic, 'target': moved, 'actor': actor, 'temperature': logarithm,
            'critic_moments': critic_moments, 'actor_moments': actor_moments,
            'temperature_moments': temperature_moments, 'key': key, 'updates': count}, {
        'critic_loss': error, 'value': value, 'temperature': temperature, 'entropy': -density}


def _updates(settings: SacSettings, seen: int, values: dict[str, Any], batches: Transitions,
             ) -> tuple[dict[str, Any], dict[str, Any]]:
    values, told = jax.lax.scan(partial(_one_update, settings, seen), values, batches)
    return values, jax.tree.map(jnp.mean, told)
