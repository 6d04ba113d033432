# SPDX-License-Identifier: Apache-2.0
"""A long run of perception and policy: whether memory, threads or file handles grow.

    python benchmarks/graph_soak.py --frames 100000      # as fast as it goes
    python benchmarks/graph_soak.py --rate 30 --hours 1  # as a camera would

Every frame goes through topics to the masker, on to the policy, and comes back as a command. As
fast as it goes, the next frame follows the command; at a rate, it follows the clock.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from graph_rig import (
    JOINTS,
    Resources,
    Rig,
    header,
    joint_state,
    picture,
    save_policy,
    save_reference,
    start_ros,
)
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool

from samg_ros.nodes.perception_node import Perception
from samg_ros.nodes.policy_node import PolicyNode
from samg_ros.ros.messages.images import array_to_image

SIDE = 84
PRINTED = 50
"""Lines on the way."""
SETTLE_S = 1.0
"""Without news for so long, no frame is on its way."""
SETTLED = 2
"""Of these lines, the one that growth is counted from."""


class Soak:
    """A camera and joints, perception, policy, and whoever takes the commands."""

    def __init__(self, rig: Rig, folder: Path, passes: int) -> None:
        self.rig = rig
        self.perception = rig.add(Perception, reference=save_reference(folder, SIDE),
                                  passes=passes, wait_for_engine=True)
        self.policy = rig.add(PolicyNode, checkpoint=save_policy(folder / 'policy.pt', SIDE),
                              joints=list(JOINTS), timeout_s=10.0)
        self._images = rig.publisher(Image, 'image')
        self._joints = rig.publisher(JointState, 'joint_states')
        self.commands = self.sent = 0
        rig.probe.create_subscription(Float64MultiArray, 'command', self._on_command, 10)
        rng = np.random.default_rng(1)
        self._frames = [picture(rng, SIDE)[0] for _ in range(100)]
        rig.until(lambda: self._show_and_see(lambda: self.policy._inputs.count))
        self._settle()
        answer = rig.call(SetBool, 'policy/enable', SetBool.Request(data=True))
        if not answer.success:
            raise RuntimeError(answer.message)

    def _settle(self) -> None:
        """Wait until no frame is on its way: one that is answered later is taken for the next."""
        [camera] = self.perception.cameras
        before, since = None, time.monotonic()
        while time.monotonic() - since < SETTLE_S:
            now = camera.latency.count, camera.drops.total, self.policy._inputs.count
            if now != before:
                before, since = now, time.monotonic()
            due = time.monotonic() + SETTLE_S / 10
            self.rig.until(lambda due=due: time.monotonic() >= due)

    def _on_command(self, message: Float64MultiArray) -> None:
        self.commands += 1

    def _show_and_see(self, condition: Any) -> Any:
        self.show()
        due = time.monotonic() + 1.0  # or the next frame overtakes it on a busy machine
        self.rig.until(lambda: condition() or time.monotonic() > due)
        return condition()

    def show(self) -> None:
        """Send a frame and a joint state."""
        self.sent += 1
        self._joints.publish(joint_state(self.sent))
        self._images.publish(array_to_image(self._frames[self.sent % len(self._frames)],
                                            header(self.sent)))

    def answer(self) -> None:
        """Send a frame and wait for its command."""
        before = self.commands
        self.show()
        self.rig.until(lambda: self.commands > before)

    def follow(self, seconds: float, rate_hz: float) -> None:
        """Send frames at a rate for a while."""
        due = time.monotonic()
        for _ in range(round(seconds * rate_hz)):
            self.show()
            due += 1 / rate_hz
            self.rig.until(lambda due=due: time.monotonic() >= due)


def soak(rig: Rig, folder: Path, frames: int, rate_hz: float = 0.0, passes: int = 0,
         ) -> dict[str, Any]:
    """Send the frames; return what the process held after each fiftieth of them."""
    soaked = Soak(rig, folder, passes)
    block = max(1, frames // PRINTED)
    [camera] = soaked.perception.cameras
    dropped_before = camera.drops.total  # while it warmed up
    held: list[Resources] = []
    began = time.monotonic()
    for index in range(1, PRINTED + 1):
        if rate_hz:
            soaked.follow(block / rate_hz, rate_hz)
        else:
            for _ in range(block):
                soaked.answer()
        held.append(Resources.now())
        print(f'{index * block:7} frames {time.monotonic() - began:7.0f} s {held[-1]}', flush=True)
    settled, later = held[SETTLED - 1], held[SETTLED:]
    return {'frames': PRINTED * block, 'seconds': time.monotonic() - began,
            'masked': camera.latency.count, 'dropped': camera.drops.total - dropped_before,
            'commands': soaked.commands, 'stops': soaked.policy._driver.stops,
            'settled': asdict(settled), 'ended': asdict(held[-1]),
            'most_growth': max(one.resident_mib for one in later) / settled.resident_mib - 1,
            'most_threads': max(one.threads for one in later),
            'most_handles': max(one.handles for one in later)}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--frames', type=int, default=100_000, metavar='N', help='(100000)')
    parser.add_argument('--rate', type=float, default=0.0, metavar='HZ',
                        help='frames per second; 0, as fast as it goes')
    parser.add_argument('--hours', type=float, default=0.0, help='in place of --frames, at a rate')
    parser.add_argument('--passes', type=int, default=0, help="of the decoder (the model's)")
    parser.add_argument('--json', type=Path, metavar='PATH', help='write the figures there too')
    args = parser.parse_args()
    frames = round(args.hours * 3600 * args.rate) or args.frames
    start_ros()
    rig = Rig()
    with tempfile.TemporaryDirectory() as folder:
        row = soak(rig, Path(folder), frames, args.rate, args.passes)
    rig.close()
    rclpy.try_shutdown()
    print(f'{row["frames"]} frames of {SIDE} x {SIDE} in {row["seconds"]:.0f} s: '
          f'{row["masked"]} masked, {row["dropped"]} dropped, {row["commands"]} commands, '
          f'{row["stops"]} stops')
    print(f'after {SETTLED} of {PRINTED} parts {Resources(**row["settled"])}')
    print(f'at the end           {Resources(**row["ended"])}')
    print(f'most on the way: memory {row["most_growth"]:+.1%}, {row["most_threads"]} threads, '
          f'{row["most_handles"]} handles')
    if args.json:
        args.json.write_text(json.dumps(row, indent=2) + '\n')


if __name__ == '__main__':
    main()
