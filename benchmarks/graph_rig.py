# SPDX-License-Identifier: Apache-2.0
"""What graph_fuzz, graph_cycles and graph_soak share: nodes, someone outside, resources."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import JointState
from std_msgs.msg import Header

from samg_ros.masking import Reference
from samg_ros.observation import ObservationSpec
from samg_ros.rl.agents.drqv2 import DrQv2Agent
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.training.checkpoint import Checkpoint, save_checkpoint
from samg_ros.ros.compat import make_executor
from samg_ros.ros.domain import choose_domain
from samg_ros.ros.node import close
from samg_ros.ros.parameters import overrides

JOINTS = ('shoulder', 'elbow')
DEEP = QoSProfile(depth=100)
_PATIENCE_S = 300.0


@dataclass(frozen=True)
class Resources:
    """What a process holds."""

    resident_mib: float
    threads: int
    handles: int

    @classmethod
    def now(cls) -> Resources:
        """Return what this process holds."""
        pages = int(Path('/proc/self/statm').read_text().split()[1])
        return cls(pages * os.sysconf('SC_PAGE_SIZE') / 2**20, len(os.listdir('/proc/self/task')),
                   len(os.listdir('/proc/self/fd')))

    def __str__(self) -> str:
        return (f'{self.resident_mib:8.1f} MiB {self.threads:4} threads {self.handles:4} handles')


class Rig:
    """Nodes on one executor, and one more that publishes to them and reads /diagnostics."""

    def __init__(self) -> None:
        """Use the rclpy context that is there."""
        self.executor = make_executor()
        self.probe = rclpy.create_node('probe')
        self.executor.add_node(self.probe)
        self.nodes: list[Any] = []
        self._status: dict[str, dict[str, str]] = {}
        self.probe.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self._status[status.name] = {pair.key: pair.value for pair in status.values}

    def diagnosed(self, status: str) -> dict[str, str]:
        """Return the figures of a status from now on."""
        for _ in range(2):  # the next one may have been on its way already
            self._status.pop(status, None)
            self.until(lambda: status in self._status)
        return self._status[status]

    def add(self, node_class: Any, remapped: dict[str, str] | None = None,
            **parameters: Any) -> Any:
        """Start a node."""
        arguments = ['--ros-args', *(part for old, new in (remapped or {}).items()
                                     for part in ('-r', f'{old}:={new}'))]
        node = node_class(cli_args=arguments, parameter_overrides=overrides(
            {'diagnostics_period_s': 0.2, **parameters}))
        self.nodes.append(node)
        self.executor.add_node(node)
        node.start()
        return node

    def publisher(self, message_type: Any, topic: str) -> Any:
        """Create a publisher and wait for its reader."""
        made = self.probe.create_publisher(message_type, topic, DEEP)
        self.until(made.get_subscription_count)
        return made

    def until(self, condition: Callable[[], Any], patience_s: float = _PATIENCE_S) -> None:
        """Spin until the condition holds.

        Raises:
            TimeoutError: if it does not in time.
        """
        deadline = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f'it did not happen within {patience_s:g} s')
            self.executor.spin_once(timeout_sec=0.02)
            for node in self.nodes:
                if node.error is not None:
                    raise node.error

    def call(self, service_type: Any, name: str, request: Any) -> Any:
        """Call a service and return the answer."""
        client = self.probe.create_client(service_type, name)
        self.until(client.service_is_ready)
        future = client.call_async(request)
        self.until(future.done)
        self.probe.destroy_client(client)
        return future.result()

    def close(self) -> None:
        """End all nodes."""
        close(self.nodes)
        self.probe.destroy_node()
        self.executor.shutdown()


def start_ros() -> None:
    """Begin in a domain of its own."""
    choose_domain()
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)


def header(index: int) -> Header:
    """Return the header of the index-th of 30 frames a second."""
    return Header(stamp=Time(sec=index // 30, nanosec=index % 30 * 33_000_000),
                  frame_id='camera_optical')


def picture(rng: np.random.Generator, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (side, side, 3) uint8, a disc somewhere in front of noise, and where it is."""
    frame = rng.integers(1, 90, (side, side, 3), dtype=np.uint8)
    disc = np.zeros((side, side), np.uint8)
    centre = rng.integers(side // 4, 3 * side // 4, 2)
    cv2.circle(disc, (int(centre[0]), int(centre[1])), side // 5, 1, -1)
    frame[disc > 0] += np.array([140, 60, 0], np.uint8)
    return frame, disc > 0


def save_reference(folder: Path, side: int) -> str:
    """Write a reference of such a picture and return its folder."""
    frame, mask = picture(np.random.default_rng(0), side)
    return str(Reference(frame, mask).save(folder / 'reference'))


def save_policy(path: Path, side: int) -> str:
    """Write the checkpoint of an untrained policy of two joint velocities."""
    config = TrainConfig(
        task='arm_reach', camera_size=side, convolutions=((4, 3, 2),), feature_dim=8,
        hidden_dim=16, observation=ObservationSpec(size=16, proprioception=JOINTS))
    save_checkpoint(path, Checkpoint(config, np.full(2, -0.5), np.full(2, 0.5),
                                     DrQv2Agent(config, 2).state_dict()))
    return str(path)


def joint_state(index: int) -> JointState:
    """Return where the joints are at the index-th frame."""
    return JointState(header=header(index), name=list(JOINTS), position=[0.1, -0.1])
