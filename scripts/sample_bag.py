# SPDX-License-Identifier: Apache-2.0
"""Makes the bag that comes with the package out of demonstrations that were recorded.

    samg run arm --sim --teleop expert --episodes 24 --seed 77 --demonstrations bags
    python scripts/sample_bag.py bags --out samples/arm_reach.mcap

One file with one episode after the other, of the topics that an import reads: every third frame,
without loss, with the joint states, the time step and the command that belong to it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from samg_ros.bags.bag import open_bag
from samg_ros.bags.recording import METADATA, Recording, read_metadata
from samg_ros.bags.topics import labelled, stamp_ns
from samg_ros.demonstrations.bag_import import find_bags
from samg_ros.sim.tasks import COMMAND_TOPICS

IMAGE = '/camera/image_raw'
TIME_STEP, COMMAND = '/time_step', f'/{COMMAND_TOPICS["position"]}'
KEPT = (IMAGE, '/joint_states', TIME_STEP, COMMAND)


def main() -> None:
    """Write the bag and print its size."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('folder', type=Path, help='of the recorded bags')
    parser.add_argument('--out', type=Path, required=True, help='file to write')
    parser.add_argument('--every', type=int, default=3, help='keep every so many frames (3)')
    parser.add_argument('--episodes', type=int, default=10**9, help='keep the first so many')
    args = parser.parse_args()
    paths = find_bags([args.folder])[:args.episodes]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    recording = Recording(args.out)
    recording.describe(METADATA, read_metadata(paths[0]))
    for path in paths:
        bag = open_bag(path)
        stamps = [stamp_ns(each.message) for each in bag.messages([IMAGE])]
        kept = set(stamps[::args.every])
        answered = True
        for raw, decoded in zip(bag.serialized(KEPT), bag.messages(KEPT), strict=True):
            if raw.topic == COMMAND:
                wanted, answered = not answered, True
            elif raw.topic == TIME_STEP:
                said = labelled(decoded.message)
                wanted = round(said['stamp_sec']) * 10**9 + round(said['stamp_nanosec']) in kept
            else:
                wanted = stamp_ns(decoded.message) in kept
                answered &= not (wanted and raw.topic == IMAGE)
            if wanted:
                recording.add(raw.topic, raw.type, raw.log_time_ns, bytes(raw.data))
    recording.close()
    print(f'{len(paths)} episodes, {args.out.stat().st_size / 2**20:.2f} MiB: {args.out}')


if __name__ == '__main__':
    main()
