# SPDX-License-Identifier: Apache-2.0
"""Prints how often a policy solves its task on the simulated arm, through `samg run arm`'s graph.

Camera, perception, policy with its watchdog, and arm run on the wall clock. Each setting's session
is recorded, and every command in the recording is compared with the arm's joint limits. An episode
of arm_reach is solved if the hand comes within 5 cm of the target, dm_control's radius, before its
10 s are over.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from samg_ros.arguments import names
from samg_ros.arm.joint_limits import load_joint_limits
from samg_ros.bags.bag import open_bag
from samg_ros.bags.limits import count_excesses, read_commands
from samg_ros.sim.tasks import COMMAND_TOPICS

LIMITS = Path(__file__).parents[1] / 'config/jaco_limits.yaml'
COMMANDS = '/' + COMMAND_TOPICS['position']
MAX_LEAD = 0.3
"""Of config/arm.yaml, rad: so far may the last command of an episode go back to the joints."""
PAUSE_S = 0.25
"""Less than what lies between two episodes, in which the simulation puts the arm elsewhere."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('policy', help='checkpoint, run folder or shipped policy')
    parser.add_argument('--setting', type=names, default=['train', 'video_hard'],
                        metavar='NAME[,NAME]')
    parser.add_argument('--videos', default='', help='folder (painted ones)')
    parser.add_argument('--episodes', type=int, default=20, help='in each setting (20)')
    parser.add_argument('--seed', type=int, default=1000, help='of the episodes (1000)')
    parser.add_argument('--out', type=Path, default=Path('arm_reach'), metavar='DIR',
                        help='for recordings and figures (arm_reach)')
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    limits = load_joint_limits(LIMITS)
    print('| setting | solved | return | frames/s | commands | beyond a limit |\n'
          '|---|---|---|---|---|---|')
    for setting in args.setting:
        recording, figures = (args.out / f'{setting}.{suffix}' for suffix in ('mcap', 'json'))
        recording.unlink(missing_ok=True)
        command = [sys.executable, '-m', 'samg_ros', 'run', 'arm', '--sim',
                   '--policy', args.policy, '--setting', setting, '--seed', str(args.seed),
                   '--episodes', str(args.episodes), '--limits', str(LIMITS),
                   '--json', str(figures), '--record', str(recording)]
        if args.videos and setting.startswith('video'):
            command += ['--videos', args.videos]
        subprocess.run(command, check=True, stdout=sys.stderr)
        found = json.loads(figures.read_text())
        times, commands = read_commands(open_bag(recording), COMMANDS, len(limits))
        excesses = count_excesses(times, commands, limits, 'position', PAUSE_S, MAX_LEAD)
        print(f'| {setting} | {found["success_rate"]:.0%} of {args.episodes} | '
              f'{found["mean_return"]:.1f} | {found["frames_per_s"]:.1f} | {len(commands)} | '
              f'{dict(excesses) or 0} |', flush=True)


if __name__ == '__main__':
    main()
