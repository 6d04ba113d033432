# SPDX-License-Identifier: Apache-2.0
"""A simulated arm, perception and policy as processes, and a cable between them that can fail."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from builtin_interfaces.msg import Time
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool

from samg_ros.arm.joint_limits import load_joint_limits
from samg_ros.files.share import share_file
from samg_ros.ros import qos
from samg_ros.ros.messages.images import array_to_image, image_to_rgb
from samg_ros.sim.tasks import COMMAND_TOPICS

TIMEOUT_S = 0.5
"""Of the policy's watchdog, as in config/arm.yaml."""
GRACE_S = 0.1
"""How much longer than that an arm may be sent on."""
RATE_HZ, _REPEAT = 12.5, 2
STEP_S = 1 / RATE_HZ
"""Of the camera and of the arm, whose control steps take half as long."""
STANDS = 0.05
"""Speed of a joint below which it stands, rad/s."""
START_S = 300.0
"""Within which a process has started or ended, on a machine that may be busy otherwise."""
_LIMITS_FILE = share_file('config/jaco_limits.yaml')
LIMITS = load_joint_limits(_LIMITS_FILE)

MASK_LIMITS = {'mask_max_speed': 3.0, 'mask_max_growth': 10.0, 'mask_min_iou': 0.5}
"""As in config/arm.yaml."""
DISABLED, ACTING = 'disabled; ~/enable starts it', 'acting'
"""What the policy says of itself."""
SLOW_NETWORK = """
import os, time
from samg_ros.rl.evaluation import policy
act = policy.Policy.act
def slow(self, *observed):
    time.sleep(float(os.environ['NETWORK_S']))
    return act(self, *observed)
policy.Policy.act = slow
"""
"""Makes the policy's network of a process slower, without the interpreter's lock."""

Change = Callable[[Any], Any]
"""Gets a message, returns what comes out of the cable; None for nothing."""


def unchanged(message: Any) -> Any:
    """Let it pass."""
    return message


def lost(message: Any) -> None:
    """Let nothing pass."""


def repainted(paint: Callable[[np.ndarray], np.ndarray], encoding: str = 'rgb8') -> Change:
    """Let frames pass with other pixels."""
    def change(message: Image) -> Image:
        painted = array_to_image(np.ascontiguousarray(paint(image_to_rgb(message))),
                                 message.header)
        painted.encoding = encoding
        return painted
    return change


def mislabelled(message: Image) -> Image:
    """Let a frame pass as one of an encoding that is no picture."""
    message.encoding = '32FC1'
    return message


class Cable:
    """Passes frames and joint states on to the graph, with the clock that their stamps show."""

    def __init__(self, node: Any) -> None:
        self.image: Change = unchanged
        self.joints: Change = unchanged
        self.set_back_s = 0
        """How far the stamps are behind."""
        self.speed = 1.0
        """Of the stamps and of /clock, in seconds per second of the wall clock."""
        self._since: float | None = None
        self._images = node.create_publisher(Image, 'camera/image_raw', qos.reliable())
        self.joint_state = JointState()
        """The newest."""
        self._joints = node.create_publisher(JointState, 'joint_states', qos.reliable())
        self._clock = node.create_publisher(Clock, '/clock', qos.reliable())
        node.create_subscription(Image, 'cable/image_raw', self._on_image, qos.reliable())
        node.create_subscription(JointState, 'cable/joint_states', self._on_joints, qos.reliable())

    def mend(self) -> None:
        """Let everything pass again."""
        self.image = self.joints = unchanged
        self.set_back_s = 0
        self.speed, self._since = 1.0, None

    def _on_image(self, message: Image) -> None:
        self._pass(message, self.image, self._images)

    def _on_joints(self, message: JointState) -> None:
        self.joint_state = message
        self._pass(message, self.joints, self._joints)

    def _pass(self, message: Any, change: Change, publisher: Any) -> None:
        stamp = message.header.stamp
        wall_s = stamp.sec + stamp.nanosec * 1e-9
        self._since = self._since or wall_s
        moved_ns = round((self.speed - 1) * (wall_s - self._since) * 1e9)
        sec, nanosec = divmod(stamp.nanosec + moved_ns, 10**9)
        message.header.stamp = Time(sec=stamp.sec + sec - self.set_back_s, nanosec=nanosec)
        self._clock.publish(Clock(clock=message.header.stamp))
        passed = change(message)
        if passed is not None:
            publisher.publish(passed)


class Stop(NamedTuple):
    """How the arm was stopped."""

    after_s: float
    """Seconds from the fault to the first command of those that keep it at rest."""
    sent: str
    """That command in words."""


class FaultyArm:
    """The graph, and a controller that remembers what it was sent."""

    def __init__(self, graph: Any, run: Path) -> None:
        """Start the processes; nothing comes through the cable before it is plugged in.

        Args:
            graph: of the probe.
            run: folder with a checkpoint that carries its reference.
        """
        self.graph, self._run = graph, run
        self.commands: list[tuple[float, np.ndarray]] = []
        """When one came, and its values; of late."""
        self.history: list[tuple[float, np.ndarray]] = []
        """All that came."""
        self.cable: Cable | None = None
        self.rate_hz, self.network_s, self.topic = RATE_HZ, 0.0, 'command'
        self.interface = 'velocity'
        """What the controller takes, velocity or position; for processes that start from now on."""
        graph.probe.create_subscription(Float64MultiArray, 'command', self._on_command,
                                        qos.reliable(100))
        self._start = {'policy': self._policy, 'perception': self._perception,
                       'mujoco_bridge': self._bridge}
        self.processes: dict[str, subprocess.Popen[str]] = {
            name: start() for name, start in self._start.items()}

    def _bridge(self) -> subprocess.Popen[str]:
        control = 'position' if self.interface == 'position' else 'action'
        return self.graph.spawn(
            'mujoco_bridge', {'mode': 'realtime', 'task': 'arm_reach', 'control': control,
                              'rate_hz': self.rate_hz, 'action_repeat': _REPEAT},
            (('camera/image_raw', 'cable/image_raw'), ('joint_states', 'cable/joint_states'),
             (COMMAND_TOPICS['position'], 'command')))

    def _perception(self) -> subprocess.Popen[str]:
        return self.graph.spawn(
            'perception', {'reference': str(self._run), 'fit_weights': False,
                           'use_sim_time': True},
            (('image', 'camera/image_raw'), ('camera_info', 'camera/camera_info')))

    def _policy(self) -> subprocess.Popen[str]:
        return self.graph.spawn(
            'policy', {'checkpoint': str(self._run), 'timeout_s': TIMEOUT_S, 'use_sim_time': True,
                       'command_interface': self.interface, 'limits': str(_LIMITS_FILE),
                       **MASK_LIMITS},
            (('command', self.topic),),
            SLOW_NETWORK if self.network_s else '', NETWORK_S=str(self.network_s))

    def _on_command(self, message: Float64MultiArray) -> None:
        self.commands.append((time.monotonic(), np.array(message.data)))
        self.history.append(self.commands[-1])

    def end(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a process a signal."""
        self.processes[name].send_signal(number)

    def restart(self, name: str) -> None:
        """Start a process that has ended again."""
        self.processes[name].wait(START_S)
        self.graph.spin_for(0.5)  # what it said last is on its way
        self.graph.diagnostics.pop(f'{name}: {name}', None)
        self.processes[name] = self._start[name]()

    def plug(self) -> Cable:
        """Plug the cable in, if it is not."""
        self.cable = self.cable or Cable(self.graph.probe)
        return self.cable

    def cut(self, **faults: Any) -> Callable[[], None]:
        """Return a fault of the cable, by the names of its attributes."""
        def fault() -> None:
            for name, value in faults.items():
                setattr(self.plug(), name, value)
        return fault

    @property
    def said(self) -> str:
        """The policy's words on /diagnostics."""
        words: str = self.graph.said('policy: policy')
        return words

    def until(self, condition: Callable[[], Any]) -> None:
        """Spin until a condition holds, which may take until a process has started."""
        self.graph.until(condition, START_S)

    def enable(self) -> Any:
        """Ask the policy to act; return its answer.

        A question is lost if the client knows only the service of a policy that was killed, which
        stays in the graph for 20 s; it is then asked again.
        """
        client = self.graph.probe.create_client(SetBool, 'policy/enable')
        answers: list[Any] = []
        while not answers:
            self.until(client.service_is_ready)
            asked_at = time.monotonic()
            client.call_async(SetBool.Request(data=True)).add_done_callback(
                lambda future: answers.append(future.result()))
            self.until(lambda at=asked_at: answers or time.monotonic() - at > 3.0)
        return answers[0]

    def move(self) -> None:
        """See to it that the arm is sent on."""
        self.plug()
        self.until(lambda: self.said in (DISABLED, ACTING))
        self.until(lambda: self.said == ACTING or self.enable().success)
        self.until_it_moves()

    def until_it_moves(self) -> None:
        """Wait until the arm is sent on, without helping."""
        self.commands.clear()
        self.until(lambda: self.commands and self.commands[-1][1].any())

    def fail(self, fault: Callable[[], Any]) -> Stop:
        """Let something fail while the arm moves; return how it was stopped."""
        self.move()
        self.commands.clear()
        failed_at = time.monotonic()
        fault()
        self.until(lambda: self.commands and not self.commands[-1][1].any())
        self.graph.spin_for(0.2)
        moving = [at for at, values in self.commands if values.any()]
        safe_at = next(at for at, _ in self.commands if not moving or at > moving[-1])
        return Stop(safe_at - failed_at,
                    f'{self.interface} {np.abs(self.commands[-1][1]).max():g}')

    def until_it_holds(self, fault: Callable[[], Any]) -> float:
        """Let something fail; return when the safe action of a position controller began."""
        failed_at = time.monotonic()
        fault()
        self.until(lambda: "safe action 'hold'" in self.said)
        # From then on every command is as near to the one before as the watchdog's period is short.
        times = [at for at, _ in self.history if at > failed_at]
        gaps = np.diff(times) < STEP_S / 2
        first = len(gaps) - int(np.argmin(gaps[::-1])) if not gaps.all() else 0
        return times[first] - failed_at

    def seconds_until_it_stands(self) -> float:
        """Return when the last joint moved for the last time, by the arm's own time.

        It has to stand for a second. A busy machine simulates it slower than life.
        """
        joint_state, steps, moved_at = self.plug().joint_state, 0, 0

        def stands() -> bool:
            nonlocal joint_state, steps, moved_at
            newest = self.plug().joint_state
            steps, joint_state = steps + (newest is not joint_state), newest
            if self.speed > STANDS:
                moved_at = steps
            return (steps - moved_at) * STEP_S >= 1.0

        self.until(stands)
        return moved_at * STEP_S

    @property
    def speed(self) -> float:
        """Of the fastest joint, rad/s."""
        return float(np.abs(self.plug().joint_state.velocity).max())

    def is_left_alone(self) -> bool:
        """Whether the arm is sent nothing, for a while."""
        self.commands.clear()
        self.graph.spin_for(0.3)
        return not self.commands

    def longest_pause_s(self, seconds: float) -> float:
        """Let some time pass; return the longest in which the arm was not sent on."""
        self.commands.clear()
        times = [time.monotonic()]
        self.graph.spin_for(seconds)
        times += [at for at, values in self.commands if values.any()]
        return float(np.diff([*times, time.monotonic()]).max())
