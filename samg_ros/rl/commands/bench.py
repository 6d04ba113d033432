# SPDX-License-Identifier: Apache-2.0
"""`samg bench learning`: what an update and an action cost, agent by agent.

Everything that is compared lives in one process and takes turns, so that whatever else the machine
does falls on all alike. The batch is noise: no figure here depends on what is in it.
"""

import argparse
import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from tqdm import tqdm

from samg_ros.arguments import add_json, add_seed, parse_settings, whole
from samg_ros.errors import ConfigError
from samg_ros.files.outputs import write_json
from samg_ros.masking.bench import timed
from samg_ros.memory import keep_freed_memory
from samg_ros.rl.agents import AGENT_CLASSES
from samg_ros.rl.agents.drqv2 import DrQv2Agent
from samg_ros.rl.config import AGENTS, DTYPES, PRESETS, TrainConfig
from samg_ros.rl.data.replay import Batch
from samg_ros.rl.presets import preset

WARM_UP_UPDATES = 2
ACTIONS_PER_TURN = 20


@dataclass(frozen=True)
class LearningSpeed:
    """One row of the table."""

    agent: str
    dtype: str
    compile: bool
    device: str
    threads: int
    batch: int
    update_ms: float
    """Median of one gradient step of everything, the batch already on the device."""
    update_p95_ms: float
    updates_per_s: float
    act_ms: float
    """Median of one action, from a frame on the host to the action on the host."""


def random_batch(
    config: TrainConfig, actions: int, seed: int, device: torch.device | str = 'cpu'
) -> Batch:
    """Return transitions of noise in the shapes of a configuration.

    Args:
        config: observation and batch size.
        actions: number of action components.
        seed: of the noise.
        device: where the tensors go.
    """
    generator = torch.Generator().manual_seed(seed)
    count, joints = config.batch_size, len(config.observation.proprioception)

    def pixels() -> torch.Tensor:
        shape = (count, *config.observation.pixels_shape)
        noise = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        return noise.to(device)

    def numbers(width: int) -> torch.Tensor:
        return (2 * torch.rand(count, width, generator=generator) - 1).to(device)

    return Batch(
        pixels=pixels(),
        joints=numbers(joints) if joints else None,
        action=numbers(actions),
        reward=numbers(1),
        discount=torch.full((count, 1), config.discount**config.n_step, device=device),
        next_pixels=pixels(),
        next_joints=numbers(joints) if joints else None,
    )


def measure_learning(
    configs: Sequence[TrainConfig],
    actions: int = 6,
    device: str = 'cpu',
    turns: int = 10,
    progress: bool = False,
) -> list[LearningSpeed]:
    """Time the updates and actions of several configurations in turns.

    Args:
        configs: what is compared; agent, dtype and compile are shown. The frozen encoder of PIE-G
            has random weights, which take as long as others.
        actions: number of action components.
        device: torch device of all.
        turns: timed updates of each.
        progress: show a bar.

    Raises:
        ConfigError: if a configuration is not usable, or there are no turns.
        MissingDependencyError: if a library of an agent is not installed.
    """
    if turns < 1:
        raise ConfigError(f'turns must be at least 1, got {turns}')
    agents = [AGENT_CLASSES[config.agent](config, actions, device) for config in configs]
    batches = [
        random_batch(config, actions, config.seed, agent.device)
        for config, agent in zip(configs, agents, strict=True)
    ]
    calls = [_calls(agent, batch) for agent, batch in zip(agents, batches, strict=True)]
    for update, act in calls:
        for _ in range(WARM_UP_UPDATES):
            update()
        act()
    times = np.array([
        [[timed(update, agents[0].device), timed(act, agents[0].device)] for update, act in calls]
        for _ in tqdm(range(turns), desc='updates', leave=False, disable=not progress)
    ])
    return [
        LearningSpeed(
            agent=config.agent,
            dtype=config.dtype,
            compile=config.compile,
            device=device,
            threads=torch.get_num_threads(),
            batch=config.batch_size,
            update_ms=1e3 * float(np.median(updates)),
            update_p95_ms=1e3 * float(np.percentile(updates, 95)),
            updates_per_s=1 / float(np.median(updates)),
            act_ms=1e3 * float(np.median(acts)) / ACTIONS_PER_TURN,
        )
        for config, (updates, acts) in zip(configs, times.transpose(1, 2, 0), strict=True)
    ]


def table(speeds: Sequence[LearningSpeed]) -> str:
    """Return the speeds as lines of text."""
    lines = [f'{"agent":6} {"dtype":8} {"compiled":8} {"device":6} {"threads":>7} {"batch":>5} '
             f'{"update ms":>9} {"p95":>7} {"updates/s":>9} {"act ms":>6}']
    lines += [f'{each.agent:6} {each.dtype:8} {"yes" if each.compile else "no":8} '
              f'{each.device:6} {each.threads:7} {each.batch:5} {each.update_ms:9.1f} '
              f'{each.update_p95_ms:7.1f} {each.updates_per_s:9.2f} {each.act_ms:6.2f}'
              for each in speeds]
    return '\n'.join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg bench learning`."""
    parser.add_argument('--agents', nargs='+', choices=AGENTS, default=['drqv2', 'svea'],
                        metavar='AGENT', help=f'of {", ".join(AGENTS)} (drqv2 svea)')
    parser.add_argument('--dtypes', nargs='+', choices=DTYPES, default=['float32'], metavar='TYPE',
                        help=f'of {", ".join(DTYPES)} (float32)')
    parser.add_argument('--compile', action='store_true',
                        help='with torch.compile; on a GPU, with CUDA graphs')
    parser.add_argument('--preset', choices=PRESETS, default='paper',
                        help='of observations, networks and batch (paper)')
    parser.add_argument('--task', default='cartpole_swingup', help='the preset depends on it')
    parser.add_argument('--actions', type=whole(1, 10**6), default=6, metavar='N',
                        help='components of an action (6)')
    parser.add_argument('--set', action='append', default=[], metavar='NAME=VALUE',
                        help='another setting of all, as for `samg train policy`')
    parser.add_argument('--device', default='cpu', help='torch device (cpu)')
    parser.add_argument('--threads', type=whole(0, 1024), default=0, metavar='N',
                        help="CPU threads (torch's choice)")
    parser.add_argument('--turns', type=whole(1, 10**6), default=10, metavar='N',
                        help='timed updates (10)')
    add_seed(parser, 'of weights and batch')
    add_json(parser, 'rows')


def run(args: argparse.Namespace) -> None:
    """Run `samg bench learning`."""
    if args.threads:
        torch.set_num_threads(args.threads)
    keep_freed_memory()  # as the learner does
    overrides = {**parse_settings(args.set, ('agent', 'dtype', 'seed', 'compile')),
                 'seed': args.seed, 'compile': args.compile}
    configs = [
        preset(args.preset, args.task, **{**overrides, 'agent': agent, 'dtype': dtype})
        for agent, dtype in itertools.product(args.agents, args.dtypes)
    ]
    speeds = measure_learning(configs, args.actions, args.device, args.turns, progress=True)
    print(table(speeds))
    if args.json is not None:
        write_json(args.json, [asdict(each) for each in speeds])


def _calls(agent: DrQv2Agent, batch: Batch) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return one update and some actions, as calls without arguments."""
    observation = {'pixels': batch.pixels[0].cpu().numpy()}
    if batch.joints is not None:
        observation['proprioception'] = batch.joints[0].cpu().numpy()
    return (
        lambda: agent.update(batch, 0),
        lambda: [agent.act(observation, 0) for _ in range(ACTIONS_PER_TURN)],
    )
