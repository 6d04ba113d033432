# SPDX-License-Identifier: Apache-2.0
"""The bridge alone, over real DDS: its speed in lockstep, its memory, its punctuality.

A driver in the same process answers every frame with a random action; nothing is masked or learned.

    python benchmarks/bridge.py lockstep             # beside the Gymnasium environment
    python benchmarks/bridge.py soak --steps 100000  # resident memory over a long run
    python benchmarks/bridge.py realtime             # rate and jitter on the wall clock
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import rclpy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image
from std_msgs.msg import Float64MultiArray

import samg_ros.sim.gym_env  # noqa: F401  # registers the environments
from samg_ros.files.share import share_file
from samg_ros.nodes.mujoco_bridge_node import MujocoBridge
from samg_ros.ros import qos
from samg_ros.ros.compat import make_executor
from samg_ros.ros.domain import choose_domain
from samg_ros.ros.messages import command, time_step
from samg_ros.ros.node import close, spin
from samg_ros.ros.parameters import overrides

WARM_UP_STEPS = 100


class Driver:
    """Holds the bridge, sees what it publishes and answers each frame once."""

    def __init__(self, truth: bool, **parameters: Any) -> None:
        self.executor = make_executor()
        self.node = rclpy.create_node('driver')
        self.stamps_ns: list[int] = []
        self._goal = self._index = self._seen = 0
        listen = qos.reliable()
        self.node.create_subscription(Float64MultiArray, 'time_step', self._on_time_step, listen)
        self.node.create_subscription(Image, 'camera/image_raw', self._on_image, listen)
        if truth:
            self.node.create_subscription(Image, 'camera/segmentation', lambda message: None,
                                          listen)
        self._command = self.node.create_publisher(Float64MultiArray, 'command', listen)
        self.bridge = MujocoBridge(parameter_overrides=overrides(parameters))
        self._low, self._high = self.bridge._env.action_spec
        self._rng = np.random.default_rng(0)
        for node in (self.node, self.bridge):
            self.executor.add_node(node)
        self.bridge.start()
        self.spin_until(lambda: self._command.get_subscription_count() > 0 and self.stamps_ns)

    def _on_time_step(self, message: Float64MultiArray) -> None:
        self._index = time_step.from_message(message).frame_index

    def _on_image(self, message: Image) -> None:
        stamp = message.header.stamp
        self.stamps_ns.append(stamp.sec * 10**9 + stamp.nanosec)
        self._seen = self._index
        if self._seen < self._goal:
            self._answer()

    def _answer(self) -> None:
        action = self._rng.uniform(self._low, self._high)
        self._command.publish(command.to_message(action, self._index))

    def run(self, steps: int) -> float:
        """Take a number of lockstep steps; returns how long that took in seconds."""
        self._goal = self._seen + steps
        begun = time.perf_counter()
        self._answer()
        self.spin_until(lambda: self._seen >= self._goal)
        return time.perf_counter() - begun

    def spin_until(self, stop: Callable[[], Any]) -> None:
        """Work off messages until `stop` says so."""
        spin(self.executor, lambda: bool(stop()))

    def close(self) -> None:
        """End both nodes."""
        close([self.bridge])
        self.node.destroy_node()
        self.executor.shutdown()


class Alone:
    """The Gymnasium environment, driven likewise."""

    def __init__(self, task: str, setting: str, truth: bool, size: int) -> None:
        self._env = gymnasium.make(f'samg_ros/{task}-v0', setting=setting, height=size, width=size)
        self._env.unwrapped.sim.truth = truth
        self._env.reset(seed=0)
        self._rng = np.random.default_rng(0)

    def run(self, steps: int) -> float:
        """Take a number of steps; returns how long that took in seconds."""
        space = self._env.action_space
        begun = time.perf_counter()
        for _ in range(steps):
            _, _, terminated, truncated, _ = self._env.step(
                self._rng.uniform(space.low, space.high).astype(np.float32))
            if terminated or truncated:
                self._env.reset()
        return time.perf_counter() - begun

    def close(self) -> None:
        """Free the simulation."""
        self._env.close()


def lockstep(args: argparse.Namespace) -> dict[str, Any]:
    """Take turns of steps over ROS and without it; medians over the turns."""
    rows = {}
    for truth in (False, True):
        alone = Alone(args.task, args.setting, truth, args.size)
        driver = Driver(truth, **_parameters(args))
        block = max(1, args.steps // args.turns)
        for contender in (alone, driver):
            contender.run(WARM_UP_STEPS)
        times = np.array([[alone.run(block), driver.run(block)] for _ in range(args.turns)])
        driver.close()
        alone.close()
        gym_hz, ros_hz = block / np.median(times, axis=0)
        rows['truth' if truth else 'no truth'] = {
            'gymnasium_hz': gym_hz, 'ros_hz': ros_hz,
            'ratio': float(np.median(times[:, 0] / times[:, 1])), 'steps': block * args.turns}
        print(f'{args.task} {args.setting} {args.size} x {args.size}, truth {truth!s:5}: '
              f'Gymnasium {gym_hz:6.1f} steps/s, over ROS {ros_hz:6.1f} steps/s, '
              f'{rows["truth" if truth else "no truth"]["ratio"]:.1%}', flush=True)
    return rows


def soak(args: argparse.Namespace) -> dict[str, Any]:
    """Take many steps and print the resident memory on the way."""
    driver = Driver(True, **_parameters(args))
    block = max(1, args.steps // 50)
    driver.run(block)  # caches, arenas and the first episodes' videos are there
    samples = [_resident_mb()]
    begun = time.perf_counter()
    for index in range(1, 50):
        driver.run(block)
        driver.stamps_ns.clear()
        samples.append(_resident_mb())
        print(f'{(index + 1) * block:7} steps {time.perf_counter() - begun:7.0f} s '
              f'{samples[-1]:8.1f} MB', flush=True)
    row = {'steps': 50 * block, 'first_mb': samples[0], 'least_mb': min(samples),
           'most_mb': max(samples), 'last_mb': samples[-1],
           'dropped': driver.bridge.drops.total}
    driver.close()
    print(f'{args.task} {args.setting}: after {block} steps {samples[0]:.1f} MB, at the end '
          f'{samples[-1]:.1f} MB ({samples[-1] / samples[0] - 1:+.1%}), most {max(samples):.1f} MB '
          f'({max(samples) / samples[0] - 1:+.1%}), commands dropped {row["dropped"]}')
    return row


def realtime(args: argparse.Namespace) -> dict[str, Any]:
    """Watch the stamps of the frames on the wall clock."""
    driver = Driver(False, mode='realtime', rate_hz=args.rate, **_parameters(args))
    settled = time.monotonic() + 2
    driver.spin_until(lambda: time.monotonic() > settled)
    driver.stamps_ns.clear()
    end = time.monotonic() + args.seconds
    driver.spin_until(lambda: time.monotonic() > end)
    stamps = np.array(driver.stamps_ns) / 1e6
    driver.close()
    period_ms = 1e3 / args.rate
    jitter_ms = np.abs(np.diff(stamps) - period_ms)
    mean_hz = 1e3 * (len(stamps) - 1) / (stamps[-1] - stamps[0])
    row = {'frames': len(stamps), 'rate_hz': args.rate, 'mean_hz': mean_hz,
           'drift': mean_hz / args.rate - 1, 'jitter_p50_ms': float(np.median(jitter_ms)),
           'jitter_p95_ms': float(np.percentile(jitter_ms, 95)),
           'jitter_max_ms': float(jitter_ms.max()), 'load_average': os.getloadavg()[0]}
    print(f'{args.task} {args.setting}: {row["frames"]} frames in {args.seconds:.0f} s, '
          f'{mean_hz:.3f} Hz of {args.rate:g} (drift {row["drift"]:+.2%}), jitter median '
          f'{row["jitter_p50_ms"]:.2f}, p95 {row["jitter_p95_ms"]:.2f}, most '
          f'{row["jitter_max_ms"]:.2f} ms; load average {row["load_average"]:.1f} on '
          f'{os.cpu_count()} cores')
    return row


def _parameters(args: argparse.Namespace) -> dict[str, Any]:
    return {'task': args.task, 'setting': args.setting, 'height': args.size, 'width': args.size}


def _resident_mb() -> float:
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / 2**20


MODES = {'lockstep': lockstep, 'soak': soak, 'realtime': realtime}


def main() -> None:
    """Run one of the three and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('mode', choices=MODES)
    parser.add_argument('--task', default='walker_walk')
    parser.add_argument('--setting', default='train')
    parser.add_argument('--size', type=int, default=84, help='side of a frame in pixels (84)')
    parser.add_argument('--steps', type=int, default=2000, help='of lockstep and soak (2000)')
    parser.add_argument('--turns', type=int, default=20, help='of lockstep (20)')
    parser.add_argument('--rate', type=float, default=30.0, help='of realtime, in Hz (30)')
    parser.add_argument('--seconds', type=float, default=60.0, help='of realtime (60)')
    parser.add_argument('--json', type=Path, help='also write the figures there')
    args = parser.parse_args()
    choose_domain()
    rclpy.init(args=['--ros-args', '--params-file', str(share_file('config/sim_train.yaml'))],
               signal_handler_options=SignalHandlerOptions.NO)
    row = MODES[args.mode](args)
    rclpy.try_shutdown()
    if args.json:
        args.json.write_text(json.dumps(row, indent=2) + '\n')


if __name__ == '__main__':
    main()
