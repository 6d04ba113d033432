# SPDX-License-Identifier: Apache-2.0
"""Returns of the experts that come with the package, by how many control steps an action lasts.

No frame is rendered, so all of it takes a minute: `python benchmarks/expert_returns.py`. `--noise`
and `--factor` change the actions, as the errors of a student do; `--stumble-every` replaces them by
random ones now and then.
"""

import argparse

import numpy as np

from samg_ros.rl.experts import FOLDER, shipped_experts
from samg_ros.rl.experts.state_policy import StatePolicy
from samg_ros.rl.experts.stumbles import Stumbles
from samg_ros.rl.experts.trained import visible_state
from samg_ros.sim.tasks import get_task, load_simulation


def returns_of(task: str, action_repeat: int, episodes: int, seed: int, noise: float = 0.0,
               factor: float = 1.0, stumble_every: int = 0) -> list[float]:
    """Return the expert's returns, one an episode.

    Args:
        task: of the expert.
        action_repeat: control steps for one action.
        episodes: how many.
        seed: of the episodes.
        noise: standard deviation of normal noise on the actions.
        factor: of the actions, before the noise.
        stumble_every: actions from the end of a stumble to the next one, on average; 0 for none.
    """
    rng = np.random.default_rng(seed)
    policy, spec = StatePolicy.load(FOLDER / f'{task}.npz'), get_task(task)
    simulation = load_simulation(spec, seed)
    low, high = simulation.action_low, simulation.action_high
    returns = []
    for _ in range(episodes):
        simulation.reset()
        total, steps, over = 0.0, 0, False
        stumble = Stumbles(stumble_every, len(low), rng)
        while not over and steps < spec.episode_steps:
            state = np.concatenate(list(visible_state(spec, simulation).values()))
            action = factor * policy(state).astype(float)
            if (stumbling := stumble()) is not None:
                action = low + (stumbling + 1) / 2 * (high - low)
            action = np.clip(action + noise * rng.standard_normal(action.shape), low, high)
            for _ in range(action_repeat):
                reward, _, over = simulation.step(action)
                total, steps = total + reward, steps + 1
                if over or steps >= spec.episode_steps:
                    break
        returns.append(total)
    simulation.close()
    return returns


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--episodes', type=int, default=15)
    parser.add_argument('--seed', type=int, default=5)
    parser.add_argument('--repeat', type=int, nargs='+', default=[2, 4])
    parser.add_argument('--noise', type=float, default=0.0)
    parser.add_argument('--factor', type=float, default=1.0)
    parser.add_argument('--stumble-every', type=int, default=0)
    parser.add_argument('--task', nargs='+', default=shipped_experts())
    args = parser.parse_args()
    print(f'{"task":18}' + ''.join(f'{f"repeat {each}":>14}' for each in args.repeat))
    for task in args.task:
        cells = [returns_of(task, each, args.episodes, args.seed, args.noise, args.factor,
                            args.stumble_every)
                 for each in args.repeat]
        print(f'{task:18}' + ''.join(
            f'{np.mean(cell):8.0f} ±{np.std(cell, ddof=1) / len(cell)**0.5:4.0f}'
            for cell in cells), flush=True)


if __name__ == '__main__':
    main()
