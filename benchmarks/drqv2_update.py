# SPDX-License-Identifier: Apache-2.0
"""One update of this package's DrQ-v2 beside one of the official agent, on the same batch.

The official repository (facebookresearch/drqv2) lies beside this one and is given by its path; it
runs as it is, from there. Both agents begin with the same weights and are given the same batch of
pictures and the same augmentation offsets; exploration noise is 0, because each draws its own.
First the losses of one update are compared, for several batches and weights: the critic's, and the
actor's after the critic's step. Then both take turns at being timed.

    python benchmarks/drqv2_update.py --repo ../drqv2 --threads 2
"""

import argparse
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from official_drqv2 import agent_settings, checkout, official_module
from torch import Tensor
from tqdm import tqdm

from samg_ros.masking.bench import timed
from samg_ros.memory import keep_freed_memory
from samg_ros.rl.agents.augmentation import shift_offsets
from samg_ros.rl.agents.drqv2 import DrQv2Agent
from samg_ros.rl.agents.overlay_pictures import load_pictures
from samg_ros.rl.commands.bench import random_batch
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.data.replay import Batch
from samg_ros.rl.presets import preset

ACTIONS = 6
COMPARED = 3
WARM_UP_UPDATES = 1


class Official:
    """The official agent, given batches and offsets."""

    def __init__(self, repo: Path, config: TrainConfig, device: str) -> None:
        self.agent = official_module(repo, 'drqv2').DrQV2Agent(
            obs_shape=config.observation.pixels_shape, action_shape=(ACTIONS,),
            **agent_settings(config, device))

    def copy(self, ours: DrQv2Agent) -> None:
        """Take over our weights, layer by layer."""
        pairs = [
            (self.agent.encoder, ours.encoder),
            (self.agent.actor, ours.actor),
            (self.agent.critic, ours.critic),
            (self.agent.critic_target, ours.critic_target),
        ]
        with torch.no_grad():
            for theirs, own in pairs:
                for one, other in zip(theirs.parameters(), own.parameters(), strict=True):
                    one.copy_(other)

    def update(self, batch: Batch, step: int) -> None:
        """Take one step, with random offsets of its own."""
        self.agent.update(iter([_arrays(batch)]), step)

    def losses(self, batch: Batch, offsets: Tensor) -> tuple[float, float]:
        """Take one step with given offsets; returns the losses of critic and actor."""
        # There, an offset is (x, y), and drawn as floats once for each of the two observations.
        given = iter(offsets.flip(1).float()[:, None, None].chunk(2))
        self.agent.use_tb = True
        with mock.patch('torch.randint', lambda *_, **__: next(given).clone()):
            found = self.agent.update(iter([_arrays(batch)]), 0)
        self.agent.use_tb = False
        return found['critic_loss'], found['actor_loss']


def picture_batch(config: TrainConfig, device: torch.device) -> Batch:
    """Return transitions between pictures; noise would be nothing that an encoder ever sees."""
    pictures = load_pictures('', config.observation.size, config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    shape = (2, config.batch_size, config.observation.frame_stack)
    drawn = pictures[torch.randint(len(pictures), shape, generator=generator)]
    pixels, next_pixels = drawn.flatten(2, 3).to(device)
    return replace(random_batch(config, ACTIONS, config.seed, device), pixels=pixels,
                   next_pixels=next_pixels)


def _arrays(batch: Batch) -> tuple[Tensor, ...]:
    return batch.pixels, batch.action, batch.reward, batch.discount, batch.next_pixels


def main() -> None:
    """Compare and time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--repo', type=checkout, required=True, help='folder of the official code')
    parser.add_argument('--threads', type=int, default=0, help="CPU threads (torch's choice)")
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--batch', type=int, default=256)
    parser.add_argument('--keep-memory', action='store_true',
                        help='reuse freed memory, as our learner has its process do; helps both')
    parser.add_argument('--turns', type=int, default=10)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--json', type=Path)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.keep_memory:
        keep_freed_memory()
    worst = 0.0
    for seed in range(args.seed, args.seed + COMPARED):
        config = preset('paper', 'cartpole_swingup', batch_size=args.batch, noise_start=0.0,
                        noise_end=0.0, seed=seed)
        ours = DrQv2Agent(config, ACTIONS, args.device)
        official = Official(args.repo, config, args.device)
        official.copy(ours)
        batch = picture_batch(config, ours.device)
        offsets = shift_offsets(2 * args.batch, config.shift_pad, ours.generator)
        theirs = official.losses(batch, offsets)
        found = ours.update(batch, 0, offsets)
        own = found['critic_loss'].item(), found['actor_loss'].item()
        for name, one, other in zip(('critic', 'actor'), own, theirs, strict=True):
            difference = abs(one - other) / abs(other)
            worst = max(worst, difference)
            print(f'seed {seed}, {name} loss: ours {one:.7f}, official {other:.7f}, '
                  f'apart {difference:.1e}')

    device = ours.device
    for _ in range(WARM_UP_UPDATES):
        official.update(batch, 0)
        ours.update(batch, 0)
    times = np.array([
        [timed(partial(agent.update, batch, 0), device) for agent in (official, ours)]
        for _ in tqdm(range(args.turns), leave=False)
    ])
    medians = np.median(times, axis=0)
    ratio = float(np.median(times[:, 0] / times[:, 1]))
    figures = {
        'threads': torch.get_num_threads(), 'device': args.device, 'batch': args.batch,
        'official_ms': 1e3 * float(medians[0]), 'ours_ms': 1e3 * float(medians[1]),
        'ratio': ratio, 'losses_apart': worst,
    }
    print(f'{figures["threads"]} threads, {args.device}, batch {args.batch}: official '
          f'{figures["official_ms"]:.0f} ms, ours {figures["ours_ms"]:.0f} ms, ours '
          f'{ratio:.2f} times as fast (median over {args.turns} turns); losses apart by at most '
          f'{worst:.1e}')
    if args.json is not None:
        args.json.write_text(json.dumps(figures, indent=2) + '\n')


if __name__ == '__main__':
    main()
