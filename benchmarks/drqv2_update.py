# SPDX-License-Identifier: Apache-2.0
"""One update of this package's DrQ-v2 beside one of the official agent, on the same batch.

The official repository (facebookresearch/drqv2) lies beside this one and is given by its path; it
runs as it is, from there. Both agents begin with the same weights and are given the same batch and
the same augmentation offsets; exploration noise is 0, because each draws its own. First the losses
of some updates are compared, then both take turns at being timed.

    python benchmarks/drqv2_update.py --repo ../drqv2 --threads 2
"""

import argparse
import importlib
import json
import sys
import types
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from samg_ros.masking.bench import timed
from samg_ros.rl.agent import DrQv2Agent
from samg_ros.rl.augmentation import shift_offsets
from samg_ros.rl.bench import random_batch
from samg_ros.rl.config import TrainConfig, preset
from samg_ros.rl.replay import Batch

ACTIONS = 6
COMPARED_UPDATES = 3
WARM_UP_UPDATES = 1


class Official:
    """The official agent, given batches and offsets."""

    def __init__(self, repo: Path, config: TrainConfig, device: str) -> None:
        for name in ('hydra', 'omegaconf'):  # imported there, and nothing of them used in an update
            sys.modules.setdefault(name, types.ModuleType(name))
            sys.modules[name].__dict__.setdefault('OmegaConf', None)
        sys.path.insert(0, str(repo))
        self.agent = importlib.import_module('drqv2').DrQV2Agent(
            obs_shape=config.observation.pixels_shape, action_shape=(ACTIONS,), device=device,
            lr=config.learning_rate, feature_dim=config.feature_dim, hidden_dim=config.hidden_dim,
            critic_target_tau=config.target_rate, num_expl_steps=0, update_every_steps=1,
            stddev_schedule='0.0', stddev_clip=config.noise_clip, use_tb=False)

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


def _arrays(batch: Batch) -> tuple[Tensor, ...]:
    return batch.pixels, batch.action, batch.reward, batch.discount, batch.next_pixels


def main() -> None:
    """Compare and time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--repo', type=Path, required=True, help='folder of the official code')
    parser.add_argument('--threads', type=int, default=0, help="CPU threads (torch's choice)")
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--batch', type=int, default=256)
    parser.add_argument('--turns', type=int, default=10)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--json', type=Path)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    config = preset('paper', 'cartpole_swingup', batch_size=args.batch, noise_start=0.0,
                    noise_end=0.0, seed=args.seed)
    ours = DrQv2Agent(config, ACTIONS, args.device)
    official = Official(args.repo, config, args.device)
    official.copy(ours)
    device = ours.device

    worst = 0.0
    generator = torch.Generator(device).manual_seed(args.seed)
    for update in range(COMPARED_UPDATES):
        batch = random_batch(config, ACTIONS, args.seed + update, device)
        offsets = shift_offsets(2 * args.batch, config.shift_pad, generator)
        theirs = official.losses(batch, offsets)
        found = ours.update(batch, 0, offsets)
        own = found['critic_loss'].item(), found['actor_loss'].item()
        for name, one, other in zip(('critic', 'actor'), own, theirs, strict=True):
            difference = abs(one - other) / abs(other)
            worst = max(worst, difference)
            print(f'update {update + 1}, {name} loss: ours {one:.7f}, official {other:.7f}, '
                  f'apart {difference:.1e}')

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
