# SPDX-License-Identifier: Apache-2.0
"""From demonstrations to a moving arm, all through `samg` commands: how often the arm gets there.

    python benchmarks/arm_reach.py runs/arm --videos ../shared/data/dmcgb/video_hard

Four stages, each of which is left out if its result is there, and can be asked for alone by
`--only`:

record: the scripted expert stands in for a person and drives the simulated arm by the topic of a
leader arm, in real time, behind the limits and the watchdog of `teleop`; a bag for each episode.
Some of them are in front of procedural videos, so that masks have the errors that they have there.
A graph takes a third of a core, so several record at once, each with seeds of its own.
import: the bags become a LeRobot data set.
train: a policy of chunks of actions is cloned from it, behind the shipped masker.
evaluate: the policy drives the arm in real time through camera, perception, policy and watchdog.
An episode of arm_reach is solved if the hand comes within 5 cm of the target, dm_control's radius,
before its 10 s are over. Each setting is recorded, and every command in the recording is compared
with the arm's joint limits.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from samg_ros.arguments import names
from samg_ros.arm.joint_limits import load_joint_limits
from samg_ros.bags.bag import open_bag
from samg_ros.bags.limits import count_excesses, read_commands
from samg_ros.sim.tasks import COMMAND_TOPICS

ROOT = Path(__file__).parents[1]
LIMITS = ROOT / 'config/jaco_limits.yaml'
COMMANDS = '/' + COMMAND_TOPICS['position']
MAX_LEAD = 0.3
"""Of config/arm.yaml, rad: so far may the last command of an episode go back to the joints."""
PAUSE_S = 0.25
"""Less than what lies between two episodes, in which the simulation puts the arm elsewhere."""
STAGES = ('record', 'import', 'train', 'evaluate')
SIDE = 96
"""Pixels of each camera."""
SECOND = 'left_close'
"""A second camera, at the left: from the front alone, 5 cm of distance change the 20 pixels of a
ball that is 80 cm away by one. Without it 22 of 40 episodes were solved, with it 36, by policies
that were shown the true masks of the same 100 demonstrations (docs/results.md; by a script that is
not kept)."""
GOAL_S = 2.5
"""Mean seconds until the target goes elsewhere while demonstrations are recorded."""
TREMOR = 0.15
"""Of the operator's hand: so the arm is also shown on ways that are not the best ones."""
CHUNK, STEPS, SHIFT_PAD = 2, 7000, 4
"""Actions that are predicted at once, updates, and most pixels by which pictures are shifted. The
target goes elsewhere when it will, so what comes a second later cannot be known: with chunks of 8
the policy came to rest 5 cm from it, with 2 at 3 cm (15 episodes in front of the plain background,
true masks, seed 6000). With shifts of 2 pixels 46 of 50 episodes were solved so, with 4 48 (seed
7000)."""
RATE_HZ = 8.333
"""Samples per second of the data set, every third frame: what perception keeps up with on a core
that other nodes share."""
SEEDS = {'train': 1, 'video_hard': 2}
"""First seed of each setting's demonstrations; those of evaluations begin at 1000."""
APART = 30_000
"""From the first seed of one graph to that of the next."""


def main() -> None:
    """Run the stages and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('folder', type=Path, help='for bags, data set, policy and figures')
    parser.add_argument('--only', type=names, default=list(STAGES), metavar='STAGE[,STAGE]',
                        help=f'of {", ".join(STAGES)} (all)')
    parser.add_argument('--task', default='arm_reach', choices=('arm_reach', 'arm_reach_brick'),
                        help='what is demonstrated (%(default)s)')
    parser.add_argument('--demonstrations', type=int, nargs=2, default=(260, 180),
                        metavar=('TRAIN', 'VIDEO_HARD'), help='to record in each setting (260 180)')
    parser.add_argument('--at-once', type=int, default=3, help='graphs that record (3)')
    parser.add_argument('--policy', default='', help='to evaluate in place of FOLDER/policy')
    parser.add_argument('--setting', type=names, default=['train', 'video_hard'],
                        metavar='NAME[,NAME]', help='to evaluate in (train,video_hard)')
    parser.add_argument('--videos', default='', help='folder to evaluate with (procedural ones)')
    parser.add_argument('--episodes', type=int, default=100, help='in each setting (100)')
    parser.add_argument('--seed', type=int, default=1000, help='of the evaluated episodes (1000)')
    parser.add_argument('--steps', type=int, default=STEPS, help='of the training (%(default)s)')
    args = parser.parse_args()
    stages: dict[str, Any] = {'record': record, 'import': import_bags, 'train': train,
                              'evaluate': evaluate}
    for stage in args.only:
        if stage not in stages:
            parser.error(f"no stage '{stage}'; there are {', '.join(STAGES)}")
    for stage in STAGES:
        if stage in args.only:
            stages[stage](args)


def samg(*words: object) -> None:
    """Run a command of the package; ends this program if it fails."""
    subprocess.run([sys.executable, '-m', 'samg_ros', *map(str, words)], check=True,
                   stdout=sys.stderr)


def with_bridge(path: Path, **given: float) -> Path:
    """Write config/arm.yaml with other parameters of the simulation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    words = ', '.join(f'{name}: {value}' for name, value in given.items())
    path.write_text(f'{(ROOT / "config/arm.yaml").read_text()}\n'
                    f'/mujoco_bridge: {{ros__parameters: {{{words}}}}}\n')
    return path


def record(args: argparse.Namespace) -> None:
    """Record what is missing of the demonstrations."""
    parameters = with_bridge(args.folder / 'record.yaml', height=SIDE, width=SIDE,
                             operator_goal_s=GOAL_S, operator_tremor=TREMOR)

    def record_some(graph: int) -> None:
        for (setting, first), count in zip(SEEDS.items(), args.demonstrations, strict=True):
            folder = args.folder / 'bags' / f'{setting}_{graph}'
            there = len(list(folder.glob('*.mcap')))
            wanted = len(range(graph, count, args.at_once))
            if there < wanted:
                # Another seed for what is added, or the first episodes would come again.
                seed = first + APART * graph + 10 * there
                samg('run', 'arm', '--sim', '--teleop', 'expert', '--task', args.task,
                     '--setting', setting, '--seed', seed, '--episodes', wanted - there,
                     '--params-file', parameters, '--demonstrations', folder,
                     '--more-cameras', SECOND)

    with ThreadPoolExecutor(args.at_once) as pool:
        list(pool.map(record_some, range(args.at_once)))


def import_bags(args: argparse.Namespace) -> None:
    """Turn the bags into a data set."""
    out = args.folder / 'data'
    if out.is_dir():
        return
    contract = args.folder / 'contract.yaml'
    contract.write_text(f'rate_hz: {RATE_HZ}\naction: {COMMANDS}\n'
                        f'cameras: {{camera: /camera/image_raw, {SECOND}: /{SECOND}/image_raw}}\n')
    samg('demonstrations', 'import', *sorted((args.folder / 'bags').iterdir()), '--task',
         args.task, '--contract', contract, '--out', out)


def train(args: argparse.Namespace) -> None:
    """Clone a policy; one that was interrupted goes on."""
    front, second = (args.folder / f'reference{suffix}' for suffix in ('', f'_{SECOND}'))
    for reference, camera in ((front, ()), (second, ('--camera', SECOND))):
        if not reference.is_dir():
            samg('reference', 'render', '--task', args.task, '--size', SIDE, *camera,
                 '--out', reference)
    samg('train', 'clone', '--demonstrations', args.folder / 'data', '--reference', front,
         '--camera-reference', f'{SECOND}={second}', '--run-dir', args.folder / 'policy',
         '--chunk', CHUNK, '--set', f'observation={{"size": {SIDE}}}', '--steps', args.steps,
         '--set', f'shift_pad={SHIFT_PAD}')


def evaluate(args: argparse.Namespace) -> None:
    """Print the table."""
    limits = load_joint_limits(LIMITS)
    # All of the camera's frames: chunks are read by stamps, whatever the rate of the data set.
    parameters = with_bridge(args.folder / 'evaluate.yaml', action_repeat=1)
    print('| setting | solved | 95 % interval | return | frames/s | commands | beyond a limit |\n'
          '|---|---|---|---|---|---|---|')
    for setting in args.setting:
        recording, figures = (args.folder / f'{setting}.{suffix}' for suffix in ('mcap', 'json'))
        videos = ('--videos', args.videos) \
            if args.videos and setting.startswith('video') else ()
        samg('run', 'arm', '--sim', '--policy', args.policy or args.folder / 'policy',
             '--setting', setting, '--seed', args.seed, '--episodes', args.episodes,
             '--limits', LIMITS, '--params-file', parameters, '--json', figures,
             '--record', recording, '--overwrite', *videos)
        found = json.loads(figures.read_text())
        times, commands = read_commands(open_bag(recording), COMMANDS, len(limits))
        excesses = count_excesses(times, commands, limits, 'position', PAUSE_S, MAX_LEAD)
        low, high = found['success_interval']
        print(f'| {setting} | {found["success_rate"] * args.episodes:.0f} of {args.episodes} | '
              f'{low:.0%} to {high:.0%} | {found["mean_return"]:.1f} | '
              f'{found["frames_per_s"]:.1f} | {len(commands)} | {dict(excesses) or 0} |',
              flush=True)


if __name__ == '__main__':
    main()
