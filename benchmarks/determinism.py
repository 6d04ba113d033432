# SPDX-License-Identifier: Apache-2.0
"""Whether the same seed gives the same trajectory, bit for bit: twice in a process, and in another.

Every task in every setting, frames and truth included. Prints a line for each.
"""

import argparse
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from samg_ros.sim.env import SimEnv
from samg_ros.sim.tasks import task_names
from samg_ros.sim.visual.settings import SETTINGS


def digest(task: str, setting: str, steps: int, seed: int) -> str:
    """Return a hash of everything that two episodes of random actions show."""
    env = SimEnv(task, setting, seed)
    rng = np.random.default_rng(seed)
    seen = hashlib.sha256()
    for _ in range(2):
        step = env.reset()
        for index in range(steps + 1):
            for array in (step.frame, step.parts, step.joint_positions, step.joint_velocities,
                          np.array([step.reward, step.discount, step.step_type, step.time_ns])):
                seen.update(np.ascontiguousarray(array).tobytes())
            if index < steps:
                step = env.step(rng.uniform(*env.action_spec))
    env.close()
    return seen.hexdigest()


def main() -> int:
    """Print the table; the exit status is 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--task', nargs='+', default=task_names())
    parser.add_argument('--setting', nargs='+', default=tuple(SETTINGS))
    parser.add_argument('--steps', type=int, default=20, help='in each of two episodes (20)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--json', type=Path, help='write the hashes there and print nothing')
    args = parser.parse_args()
    pairs = [(task, setting) for task in args.task for setting in args.setting]
    first = {' '.join(pair): digest(*pair, args.steps, args.seed) for pair in pairs}
    if args.json:
        args.json.write_text(json.dumps(first))
        return 0
    again = {' '.join(pair): digest(*pair, args.steps, args.seed) for pair in pairs}
    elsewhere = json.loads(subprocess.run(
        [sys.executable, __file__, *sys.argv[1:], '--json', '/dev/stdout'], check=True,
        capture_output=True, text=True).stdout)
    for name, value in first.items():
        same = ['same' if other[name] == value else 'DIFFERS' for other in (again, elsewhere)]
        print(f'{name:30} again {same[0]}, in another process {same[1]}, {value[:12]}')
    equal = sum(first[name] == again[name] == elsewhere[name] for name in first)
    print(f'{equal} of {len(first)} the same')
    return int(equal < len(first))


if __name__ == '__main__':
    sys.exit(main())
