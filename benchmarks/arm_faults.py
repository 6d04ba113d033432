# SPDX-License-Identifier: Apache-2.0
"""Commands under fault injection: none beyond a limit or outside the workspace, and safe in time.

    python benchmarks/arm_faults.py --commands 100000

Some arms of two joints, each with a `policy` of its own under position control: joint limits, a
workspace, mask guard and watchdog as in config/arm.yaml. The policies see real frames and joint
states over DDS, 25 a second, and are restless: random velocities of more than the limits are added
to what their networks say. Again and again something fails for a while, chosen at random: inputs
stop, repeat themselves, come from another time or cannot be read; masks are empty, jump about, or
the masker is not sure of them; the network is slow or says nan; somebody disables the policy.

Every command is compared with limits and workspace. After each fault that has to stop the arm, and
lasts long enough, the time from the last good input to the first safe action is taken; it must be
at most `timeout_s` + 50 ms, on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from graph_rig import DEEP, JOINTS, Rig, save_policy, start_ros
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray, Header, String
from std_srvs.srv import SetBool

from samg_ros.arm.joint_limits import load_joint_limits
from samg_ros.arm.workspace import Workspace
from samg_ros.bags.limits import count_excesses
from samg_ros.nodes.policy_node import PolicyNode
from samg_ros.ros.messages import mask_quality
from samg_ros.ros.messages.images import array_to_image

SIDE, PERIOD_S = 24, 0.04
TIMEOUT_S, GRACE_S = 0.5, 0.05
MAX_LEAD = 0.3
MASKS = {'mask_max_speed': 3.0, 'mask_max_growth': 10.0, 'mask_min_iou': 0.5}
RESTLESS = 1.0
"""rad/s, standard deviation of what is added to the actions; the limits are 0.3 and 0.2."""
TURN_S = 0.5
"""Mean time until another velocity is added."""
GOOD_S, FAULT_S = (0.2, 1.0), (0.05, 1.5)
LIMITS = """
joint_limits:
  shoulder: {min_position: -0.6, max_position: 0.6, max_velocity: 0.3}
  elbow: {min_position: -0.9, max_position: 0.9, max_velocity: 0.2}
"""
MODEL = """
<mujoco><worldbody>
  <body name="upper"><joint name="shoulder" axis="0 0 1"/><geom size=".01"/>
    <body name="fore" pos=".5 0 0"><joint name="elbow" axis="0 0 1"/><geom size=".01"/>
      <body name="hand" pos=".3 0 0"><geom size=".01"/></body></body></body>
</worldbody></mujoco>"""
WORKSPACE = """
workspace: {model: arm.xml, body: hand, x: [0.65, 0.9], y: [-0.3, 0.3], z: [-0.1, 0.1]}
"""

Change = dict[str, Any]
STOPS: dict[str, Change] = {
    'frames stop': {'frames': False},
    'joint states stop': {'joints': False},
    'frames with one stamp': {'frame_frozen': True},
    'joint states with one stamp': {'joints_frozen': True},
    'frames of a second ago': {'frame_late_s': 1.0},
    'an unknown encoding': {'encoding': '32FC1'},
    'joints that are nan': {'position': math.nan},
    'a joint named twice': {'names': (JOINTS[0], JOINTS[0])},
    'empty masks': {'columns': (0, 0)},
    'masks that jump about': {'columns': None},
    'masks of which the masker is not sure': {'iou': 0.2},
    'nothing said of the masks': {'iou': None},
    'a network that takes 0.7 s': {'network_s': 0.7},
    'a network that says nan': {'nan': True}}
"""Faults that have to stop the arm, as changes of an Arm."""
OTHERS: dict[str, Change] = {
    'clock 100 s back': {'set_back_s': 100},
    'frames of twice the size': {'scale': 2},
    'frames out of proportion': {'rows': 12},
    'disabled by service': {'enabled': False}}


class Arm:
    """Camera, joints and controller of one arm, and what fails of them."""

    def __init__(self, rig: Rig, name: str, folder: Path, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.node = rig.add(
            PolicyNode, {'__ns': f'/{name}'}, checkpoint=str(folder / 'policy.pt'),
            limits=str(folder / 'limits.yaml'), workspace=str(folder / 'workspace.yaml'),
            command_interface='position', timeout_s=TIMEOUT_S, max_lead=MAX_LEAD, **MASKS)
        self.mend()
        self._restless()
        probe = rig.probe
        self._images = probe.create_publisher(Image, f'/{name}/masked/image_raw', DEEP)
        self._joints = probe.create_publisher(JointState, f'/{name}/joint_states', DEEP)
        self._qualities = probe.create_publisher(Float64MultiArray,
                                                 f'/{name}/{mask_quality.TOPIC}', DEEP)
        probe.create_subscription(Float64MultiArray, f'/{name}/command', self._on_command, DEEP)
        probe.create_subscription(String, f'/{name}/policy/trace', self._on_trace, DEEP)
        self._enable = probe.create_client(SetBool, f'/{name}/policy/enable')
        self._asked_at = 0.0
        self.positions, self.target = np.zeros(2), np.zeros(2)
        self.history: list[tuple[float, np.ndarray]] = []
        self.safe_after: dict[str, list[float]] = defaultdict(list)
        self.missed: Counter[str] = Counter()
        """Faults that were long enough and did not end in a safe action."""
        self.faults: Counter[str] = Counter()
        self.resumed = 0
        self._fault, self._began, self._until = '', 0.0, 0.0
        self._safe_at: float | None = None
        self._good_at = self._acted_at = 0.0
        self._newest: dict[str, Time] = {}
        probe.create_timer(PERIOD_S, self._tick)

    def mend(self) -> None:
        """Let everything be as it should."""
        self.frames = self.joints = self.enabled = True
        self.frame_frozen = self.joints_frozen = self.nan = False
        self.frame_late_s, self.set_back_s, self.network_s, self.scale = 0.0, 0, 0.0, 1
        self.encoding, self.rows, self.position = 'rgb8', SIDE, 0.0
        self.names, self.iou = JOINTS, 0.9
        self.columns: tuple[int, int] | None = (4, 14)

    def _restless(self) -> None:
        """Add random velocities to what the network says, which runs all the same."""
        act: Callable[..., np.ndarray] = self.node._policy.act
        extra, turned_at = np.zeros(2), 0.0

        def restless(*observed: Any) -> np.ndarray:
            nonlocal extra, turned_at
            if self.network_s:
                time.sleep(self.network_s)
            now = time.monotonic()
            if now > turned_at:
                extra, turned_at = RESTLESS * self.rng.normal(size=2), now + self.rng.exponential(
                    TURN_S)
            return np.full(2, np.nan) if self.nan else act(*observed) + extra

        self.node._policy.act = restless

    # What comes from the policy

    def _on_command(self, message: Float64MultiArray) -> None:
        self.target = np.array(message.data)
        self.history.append((time.monotonic(), self.target))

    def _on_trace(self, message: String) -> None:
        event = json.loads(message.data)
        if event['event'] == 'act':
            self._acted_at = time.monotonic()
            self.resumed += event['resumes']
        elif event['event'] == 'safe' and self._safe_at is None:
            self._safe_at = time.monotonic()

    # What goes to it

    def _tick(self) -> None:
        now = time.monotonic()
        if now > self._until:
            self._change(now)
        if self._fault != 'disabled by service' and self.node.state == 'disabled' \
                and not self._fault and now - self._asked_at > 0.3 \
                and self._enable.service_is_ready():
            self._asked_at = now
            self._enable.call_async(SetBool.Request(data=True))
        self.positions += np.clip(self.target - self.positions, -PERIOD_S, PERIOD_S)
        if not self._fault:
            self._good_at = now
        self._publish()

    def _change(self, now: float) -> None:
        """Go from a good time to a fault, or back."""
        if self._fault:
            self._note(now)
            self.mend()
            self._fault, self._until = '', now + self.rng.uniform(*GOOD_S)
            return
        if now - self._acted_at > 3 * PERIOD_S:  # not yet moving again
            self._until = now + PERIOD_S
            return
        faults = {**STOPS, **OTHERS}
        self._fault = str(self.rng.choice(list(faults)))
        self.faults[self._fault] += 1
        for name, value in faults[self._fault].items():
            setattr(self, name, value)
        if not self.enabled:
            self._enable.call_async(SetBool.Request(data=False))
        self._began, self._safe_at = self._good_at, None
        self._until = now + self.rng.uniform(*FAULT_S)

    def _note(self, now: float) -> None:
        """Take the time from the last good input to the first safe action."""
        if self._fault not in STOPS or now - self._began < TIMEOUT_S + 4 * GRACE_S:
            return
        if self._safe_at is None:
            self.missed[self._fault] += 1
        else:
            self.safe_after[self._fault].append(self._safe_at - self._began)

    def _stamp(self, of: str, late_s: float, frozen: bool) -> Time:
        if not frozen:
            at_ns = time.time_ns() - round((late_s + self.set_back_s) * 1e9)
            self._newest[of] = Time(sec=at_ns // 10**9, nanosec=at_ns % 10**9)
        return self._newest[of]

    def _publish(self) -> None:
        if self.joints:
            header = Header(stamp=self._stamp('joints', 0.0, self.joints_frozen))
            self._joints.publish(JointState(
                header=header, name=list(self.names),
                position=(self.positions + self.position).tolist()))
        if not self.frames:
            return
        first = int(self.rng.integers(0, 2) * 18)
        columns = self.columns or (first, first + 4)
        frame = np.zeros((self.rows * self.scale, SIDE * self.scale, 3), np.uint8)
        begin, end = (each * self.scale for each in columns)
        frame[:, begin:end] = self.rng.integers(1, 256, (len(frame), end - begin, 3))
        header = Header(stamp=self._stamp('frame', self.frame_late_s, self.frame_frozen))
        message = array_to_image(frame, header)
        message.encoding = self.encoding
        if self.iou is not None:
            self._qualities.publish(mask_quality.to_message(header, self.iou))
        self._images.publish(message)


def main() -> None:
    """Run until enough commands have come; print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--commands', type=int, default=100_000, help='to receive (100000)')
    parser.add_argument('--arms', type=int, default=3, help='at the same time (3)')
    parser.add_argument('--seed', type=int, default=0, help='of the faults (0)')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in (('limits.yaml', LIMITS), ('arm.xml', MODEL),
                           ('workspace.yaml', WORKSPACE)):
            (folder / file).write_text(text)
        save_policy(folder / 'policy.pt', SIDE)
        start_ros()
        rig = Rig()
        arms = [Arm(rig, f'arm{index}', folder, args.seed + index) for index in range(args.arms)]
        began = time.monotonic()
        rig.until(lambda: sum(len(arm.history) for arm in arms) >= args.commands, math.inf)
        seconds = time.monotonic() - began
        report(arms, folder, seconds)
        rig.close()


def report(arms: list[Arm], folder: Path, seconds: float) -> None:
    """Print what came of it."""
    print('| fault | times | long enough | safe after, median | greatest | later than '
          f'{TIMEOUT_S + GRACE_S:g} s | never |\n|---|---|---|---|---|---|---|')
    for fault in (*STOPS, *OTHERS):
        times = [each for arm in arms for each in arm.safe_after[fault]]
        late = sum(each > TIMEOUT_S + GRACE_S for each in times)
        never = sum(arm.missed[fault] for arm in arms)
        figures = f'{np.median(times):.3f} s | {max(times):.3f} s' if times else '- | -'
        print(f'| {fault} | {sum(arm.faults[fault] for arm in arms)} | {len(times) + never} | '
              f'{figures} | {late} | {never} |')
    limits = load_joint_limits(folder / 'limits.yaml')
    workspace = Workspace(folder / 'workspace.yaml', JOINTS)
    excesses: Counter[str] = Counter()
    outside = count = 0
    for arm in arms:
        times, commands = map(np.array, zip(*arm.history, strict=True))
        excesses += count_excesses(times, commands, limits, 'position', max_lead=MAX_LEAD)
        outside += sum(workspace.distance(values) > 1e-9 for values in commands)
        count += len(commands)
    print(f'\n{count} commands in {seconds:.0f} s; beyond a limit: {dict(excesses) or 0}; outside '
          f'the workspace: {outside}; went on after a fault {sum(arm.resumed for arm in arms)} '
          'times')


if __name__ == '__main__':
    main()
