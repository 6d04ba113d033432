# SPDX-License-Identifier: Apache-2.0
"""Training over ROS in lockstep beside training without ROS: frames/s, and the same networks.

The graph of `samg run sim_train` and the loop of `samg train policy`, or `clone`, take turns on one
configuration and seed, each time in a new process; the networks of all runs must be equal to the
bit. Run it on an idle machine: `python benchmarks/trainer_lockstep.py`.
"""

import argparse
import hashlib
import json
import multiprocessing
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from samg_ros.graphs.sim_train import PARAMETER_FILE, TrainPlan, make_plan, prepare_reference


def over_ros(plan: TrainPlan) -> None:
    """Train as `samg run sim_train` does, without the evaluation."""
    from samg_ros.files.share import parameter_file
    from samg_ros.graphs.commands.run_sim_train import train
    from samg_ros.ros.domain import choose_domain
    from samg_ros.ros.signals import StopSignal

    choose_domain()
    with StopSignal() as stop_signal:
        train(plan, parameter_file('', PARAMETER_FILE), stop_signal)


def direct(plan: TrainPlan) -> None:
    """Train as `samg train policy` does, likewise."""
    from samg_ros.rl.training.direct import make_masker, train_direct

    masker = make_masker(plan.config, plan.run_dir, temporal=plan.temporal or 'off') \
        if plan.needs_reference else None
    train_direct(plan.config, plan.run_dir, masker=masker, videos=plan.videos)


WAYS: dict[str, Callable[[TrainPlan], None]] = {'direct': direct, 'over ROS': over_ros}


def measure(way: str, plan: TrainPlan) -> tuple[float, str]:
    """Train once; return frames/s and a digest of the networks."""
    from samg_ros.rl.training.checkpoint import load_checkpoint

    process = multiprocessing.get_context('spawn').Process(target=WAYS[way], args=(plan,))
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(f'training {way} failed')
    checkpoint = load_checkpoint(plan.run_dir)
    digest = hashlib.sha256()
    for part in ('encoder', 'actor', 'critic', 'critic_target'):
        if part not in checkpoint.agent:  # a clone has no critic
            continue
        for name, value in checkpoint.agent[part].items():
            digest.update(f'{part}.{name}'.encode() + value.numpy().tobytes())
    counters = checkpoint.counters
    return counters['steps'] / counters['seconds'], digest.hexdigest()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--task', default='cartpole_swingup')
    parser.add_argument('--preset', default='quick')
    parser.add_argument('--method', default='rl', choices=('rl', 'clone'))
    parser.add_argument('--steps', type=int, default=500, help='agent steps of a training')
    parser.add_argument('--turns', type=int, default=3, help='trainings of each kind')
    parser.add_argument('--temporal', default='off', choices=('off', 'prior'))
    parser.add_argument('--overrides', default='{"update_after": 50}',
                        help='other training settings, JSON')
    parser.add_argument('--json', type=Path, help='also write the figures there')
    args = parser.parse_args()
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    digests = set()
    with tempfile.TemporaryDirectory() as folder:
        reference: Any = ''
        print(f'{"turn":>4} {"direct":>9} {"over ROS":>9}   frames/s')
        for turn in range(args.turns):
            for way in list(WAYS)[::1 if turn % 2 == 0 else -1]:
                plan = make_plan(args.task, args.preset, method=args.method, steps=args.steps,
                                 reference=reference, overrides=args.overrides,
                                 temporal=args.temporal,
                                 run_dir=Path(folder) / f'{way}-{turn}')
                prepare_reference(plan)
                reference = plan.reference if plan.needs_reference else ''
                rate, digest = measure(way, plan)
                rates[way].append(rate)
                digests.add(digest)
            print(f'{turn + 1:4} {rates["direct"][-1]:9.1f} {rates["over ROS"][-1]:9.1f}',
                  flush=True)
    ratios = np.array(rates['over ROS']) / rates['direct']
    print(f'over ROS / direct: {np.median(ratios):.1%} ({ratios.min():.1%} to {ratios.max():.1%})')
    print(f'networks after {args.steps} steps: '
          f'{"equal to the bit" if len(digests) == 1 else "DIFFERENT"} in {2 * args.turns} runs')
    if args.json:
        args.json.write_text(json.dumps({
            'frames_per_s': rates, 'ratio': float(np.median(ratios)), 'digests': sorted(digests),
        }, indent=2) + '\n')
    sys.exit(len(digests) != 1)


if __name__ == '__main__':
    main()
