# SPDX-License-Identifier: Apache-2.0
"""`samg bench graph`: what a frame costs in `perception` beyond the masker itself.

A camera publishes one frame, `perception` masks and publishes it over DDS, and then the bare masker
is called on the same frame, so that whatever else the machine does falls on both. The node's own
latency is taken: from the frame's arrival in the middleware to the return of the last publication,
with taking, converting, masking, cutting out and publishing in it. The masker is called twice: how
far these times lie apart is what the machine itself makes uncertain.

With `--overload` frames follow ten times as fast as the masker can do; what comes out must not be
old, and what does not must be counted. `--peak` finds the highest rate that is kept up with.
"""

from __future__ import annotations

import argparse
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from tqdm import tqdm

from samg_ros.arguments import add_json, number, whole
from samg_ros.errors import ConfigError
from samg_ros.files.outputs import write_json
from samg_ros.graphs.commands.bench_peak import INPUT_FRAMES, Peak, find_peak
from samg_ros.masking import Masker, Reference
from samg_ros.nodes.perception_node import Perception
from samg_ros.ros.compat import make_executor
from samg_ros.ros.domain import choose_domain, init_ros, starting_ros
from samg_ros.ros.messages.images import array_to_image
from samg_ros.ros.node import close
from samg_ros.ros.parameters import overrides

MEDIAN_BAR_MS, P95_BAR_MS = 2.0, 5.0
FIRST_FRAME_BAR_S = 2.0
OVERLOAD = 10
LATENCY_BAR = 2.0
"""Greatest latency under overload, in calls of the masker."""
WARM_UP_FRAMES = 10
_PATIENCE_S = 60.0

Frame = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class NodeCost:
    """Frames one at a time; milliseconds."""

    frames: int
    latency_median_ms: float
    masker_median_ms: float
    cost_median_ms: float
    """Median over the frames of latency less the bare masker on the same frame."""
    cost_p95_ms: float
    beside_p95_ms: float
    """Percentile of latency less the masker's own part of it, in the same call."""
    noise_p95_ms: float
    """The same percentile of the difference between two calls of the bare masker on a frame."""
    stamps_changed: float
    """Share of frames that came out with another header than they went in with."""
    start_s: float
    """Seconds from the node's start to its being active: model loaded, reference fitted."""
    first_frame_s: float
    """Seconds from the first frame's arrival to its mask: networks compiled, or loaded from the
    cache."""


@dataclass(frozen=True)
class Overload:
    """Frames faster than they can be masked."""

    seconds: float
    sent: int
    masked: int
    dropped: int
    unaccounted: int
    """Frames sent that are neither: 0."""
    latency_median: float
    """In calls of the masker: over the time that the masker took for the frame itself."""
    latency_p95: float
    latency_max: float
    longest_silence_s: float
    """On /diagnostics, which speaks once a second: timers and services have their turn too."""
    resident_growth: float
    """Of the process's memory, from a tenth of the time on."""


class Bench:
    """A camera and a listener around a `perception` node, in one process on one executor."""

    def __init__(self, size: tuple[int, int], model: str, weights: str, device: str,
                 folder: Path) -> None:
        """Start the node with a reference of its own.

        Args:
            size: rows and columns of a frame.
            model: masking model.
            weights: its weight files; empty for the package's own.
            device: torch device.
            folder: for the reference.
        """
        self.rng = np.random.default_rng(0)
        self.size = size
        frame, mask = self.frame()
        reference = Reference(frame, mask).save(folder)
        self.executor = make_executor()
        with starting_ros():
            self.probe = rclpy.create_node('bench')
        self.node = Perception(parameter_overrides=overrides({
            'reference': str(reference), 'model': model, 'weights': weights, 'device': device,
            'wait_for_engine': True}))
        [self.stream] = self.node.cameras
        self.camera = self.probe.create_publisher(Image, 'image', 5)
        self.out: list[Header] = []
        self.came: list[tuple[int, float]] = []
        self.diagnosed_at: list[float] = []
        self.probe.create_subscription(
            DiagnosticArray, '/diagnostics',
            lambda message: self.diagnosed_at.append(time.monotonic()), 5)
        self.probe.create_subscription(Image, 'masked/image_raw', self._on_masked, 5)
        self.probe.create_subscription(Image, 'masked/mask', lambda message: None, 5)
        for node in (self.probe, self.node):
            self.executor.add_node(node)
        began = time.monotonic()
        self.node.start()
        self.start_s, self.first_frame_s = time.monotonic() - began, 0.0
        self.masker = Masker.load(model, None, device, weights or None)
        self.masker.fit(Reference.load(reference))
        self.until(lambda: self.camera.get_subscription_count()
                   and self.node.count_subscribers('masked/mask')
                   and self.node.count_subscribers('masked/image_raw'))
        self.sent = 0

    def _on_masked(self, message: Image) -> None:
        self.out.append(message.header)
        self.came.append((message.header.stamp.sec, time.monotonic()))

    def frame(self) -> tuple[Frame, npt.NDArray[np.bool_]]:
        """Return a disc somewhere in front of noise, and where it is."""
        height, width = self.size
        radius = min(height, width) // 5
        centre = (int(self.rng.integers(radius, width - radius)),
                  int(self.rng.integers(radius, height - radius)))
        frame = self.rng.integers(0, 90, (height, width, 3), dtype=np.uint8)
        mask = np.zeros((height, width), np.uint8)
        cv2.circle(mask, centre, radius, 1, -1)
        frame[mask > 0] += np.array([140, 60, 0], np.uint8)
        return frame, mask > 0

    def header(self) -> Header:
        """Return the next frame's header."""
        self.sent += 1
        return Header(stamp=Time(sec=self.sent, nanosec=self.sent), frame_id='camera_optical')

    def until(self, condition: Any) -> None:
        """Spin until the condition holds.

        Raises:
            ConfigError: if it does not within a minute.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while not condition():
            if time.monotonic() > deadline:
                raise ConfigError('perception did not answer within a minute; `samg doctor` says '
                                  'whether messages pass on this machine')
            self.executor.spin_once(timeout_sec=0.02)

    def measure(self, count: int) -> NodeCost:
        """Send frames one at a time and time the masker beside them."""
        latencies, beside, bare, changed = [], [], [], 0
        for index in tqdm(range(count + WARM_UP_FRAMES), desc='frames', leave=False):
            frame, _ = self.frame()
            message = array_to_image(frame, self.header())
            done, returned = self.stream.latency.count, len(self.out)
            self.camera.publish(message)
            self.until(lambda done=done, returned=returned: self.stream.latency.count > done
                       and len(self.out) > returned)
            self.first_frame_s = self.first_frame_s or self.stream.latency.last_s
            calls = [self._timed(frame), self._timed(frame)]
            if index >= WARM_UP_FRAMES:
                latencies.append(self.stream.latency.last_s)
                beside.append(1e3 * (self.stream.latency.last_s - self.stream.masking.last_s))
                bare.append(calls)
                changed += self.out[-1] != message.header
        first, second = 1e3 * np.array(bare).T
        cost = 1e3 * np.array(latencies) - first
        return NodeCost(count, 1e3 * float(np.median(latencies)), float(np.median(first)),
                        float(np.median(cost)), float(np.percentile(cost, 95)),
                        float(np.percentile(beside, 95)),
                        float(np.percentile(second - first, 95)), changed / count,
                        self.start_s, self.first_frame_s)

    def _timed(self, frame: Frame) -> float:
        began = time.perf_counter()
        self.masker(frame[None])
        return time.perf_counter() - began

    def overload(self, seconds: float, masker_ms: float) -> Overload:
        """Send frames ten times as fast as the masker can do."""
        period_s = masker_ms / 1e3 / OVERLOAD
        frame, _ = self.frame()
        message = array_to_image(frame, self.header())
        masked, dropped, counted = (self.stream.latency.count, self.stream.drops.total, 0)
        latencies: list[float] = []
        last = Header()
        ended = threading.Event()

        def publish() -> None:
            nonlocal last, counted
            due = begin = time.monotonic()
            while due - begin < seconds:
                message.header = last = self.header()
                self.camera.publish(message)
                counted += 1
                due += period_s
                time.sleep(max(0.0, due - time.monotonic()))
            ended.set()

        camera = threading.Thread(target=publish, daemon=True)
        early, begin = _resident_mib(), time.monotonic()
        settled = False
        camera.start()
        seen = masked
        while not (ended.is_set() and self.out and self.out[-1] == last):
            self.executor.spin_once(timeout_sec=0.02)
            if self.stream.latency.count > seen:
                seen = self.stream.latency.count
                latencies.append(self.stream.latency.last_s / self.stream.masking.last_s)
            passed = time.monotonic() - begin
            if not settled and passed > seconds / 10:
                early, settled = _resident_mib(), True
            if passed > seconds + _PATIENCE_S:
                raise ConfigError('the last frame sent did not come out within a minute')
        masked = self.stream.latency.count - masked
        dropped = self.stream.drops.total - dropped
        heard_at = [begin, *(at for at in self.diagnosed_at if at > begin), time.monotonic()]
        return Overload(seconds, counted, masked, dropped, counted - masked - dropped,
                        float(np.median(latencies)), float(np.percentile(latencies, 95)),
                        max(latencies), float(np.diff(heard_at).max()), _resident_mib() / early - 1)

    def peak(self, seconds: float, masker_ms: float) -> Peak:
        """Find the highest rate; see `bench_peak`."""
        def publish(message: Image) -> int:
            message.header = self.header()
            self.camera.publish(message)
            return int(message.header.stamp.sec)

        messages = [array_to_image(self.frame()[0], Header()) for _ in range(INPUT_FRAMES)]
        return find_peak(messages, publish, self.came,
                         lambda: self.executor.spin_once(timeout_sec=0.02),
                         3e3 / masker_ms, seconds)


def _resident_mib() -> float:
    status = Path('/proc/self/status').read_text()
    return int(status.partition('VmRSS:')[2].split()[0]) / 2**10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg bench graph`."""
    parser.add_argument('--frames', type=whole(1), default=200, metavar='N', help='timed (200)')
    parser.add_argument('--size', nargs=2, type=whole(40, 8192), default=[480, 640],
                        metavar=('ROWS', 'COLUMNS'), help='of a frame (480 640)')
    parser.add_argument('--model', default='mini', help='masking model (mini)')
    parser.add_argument('--weights', default='', metavar='FILE', help="its own (the package's)")
    parser.add_argument('--device', default='cpu', help='torch device (cpu)')
    parser.add_argument('--overload', type=number(0), default=0.0, metavar='SECONDS',
                        help=f'then send {OVERLOAD} times too many frames for so long (0)')
    parser.add_argument('--peak', type=number(0), default=0.0, metavar='SECONDS',
                        help='then find the highest input rate, in trials of so long (0)')
    add_json(parser)


def run(args: argparse.Namespace) -> None:
    """Run `samg bench graph`."""
    choose_domain()
    init_ros([])
    figures: dict[str, Any] = {}
    with TemporaryDirectory() as folder:
        bench = None
        try:
            bench = Bench(tuple(args.size), args.model, args.weights, args.device, Path(folder))
            cost = bench.measure(args.frames)
            figures['node'] = asdict(cost)
            print(f'{cost.frames} frames of {args.size[0]} x {args.size[1]}, {args.model} on '
                  f'{args.device}')
            print(f'latency in the node     median {cost.latency_median_ms:8.2f} ms')
            print(f'bare masker             median {cost.masker_median_ms:8.2f} ms')
            print(f'node cost               median {cost.cost_median_ms:8.2f} ms  '
                  f'(bar {MEDIAN_BAR_MS:.0f})   p95 {cost.cost_p95_ms:.2f} ms '
                  f'(bar {P95_BAR_MS:.0f})')
            print(f'all but its masker call     p95 {cost.beside_p95_ms:8.2f} ms')
            print(f'two bare calls differ by    p95 {cost.noise_p95_ms:8.2f} ms')
            print(f'frames with another stamp      {cost.stamps_changed:8.1%}     (bar 0 %)')
            print(f'start to active                {cost.start_s:8.2f} s     first frame after it '
                  f'{cost.first_frame_s:.2f} s (bar {FIRST_FRAME_BAR_S:.0f} with a warm cache)')
            if args.overload:
                load = bench.overload(args.overload, cost.masker_median_ms)
                figures['overload'] = asdict(load)
                print(f'overload, {load.seconds:.0f} s           sent {load.sent}, masked '
                      f'{load.masked}, dropped {load.dropped}, unaccounted {load.unaccounted}')
                print(f'latency in masker calls median {load.latency_median:8.2f}     p95 '
                      f'{load.latency_p95:.2f} (bar {LATENCY_BAR:.0f})   most '
                      f'{load.latency_max:.2f}')
                print(f'longest silence on /diagnostics {load.longest_silence_s:7.2f} s')
                print(f'growth of memory               {load.resident_growth:8.1%}')
            if args.peak:
                peak = bench.peak(args.peak, cost.masker_median_ms)
                figures['peak'] = asdict(peak)
                print('\n'.join(peak.lines))
        finally:
            if bench is not None:
                close([bench.node])
                bench.probe.destroy_node()
                bench.executor.shutdown()
            rclpy.try_shutdown()
    if args.json:
        write_json(args.json, figures)
