# SPDX-License-Identifier: Apache-2.0
"""What `graph_fuzz.py` sends messages to: every node of the package, each at its work."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from geometry_msgs.msg import Point, PointStamped
from graph_rig import (
    JOINTS,
    Rig,
    header,
    joint_state,
    picture,
    save_policy,
    save_reference,
)
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool

from samg_ros.nodes.mujoco_bridge_node import MujocoBridge
from samg_ros.nodes.perception_node import Perception
from samg_ros.nodes.policy_node import PolicyNode
from samg_ros.nodes.trainer_node import Trainer
from samg_ros.ros.messages import command, time_step
from samg_ros.ros.messages.images import array_to_compressed, array_to_image, mask_to_image

SIDE = 24
TASK = 'cartpole_swingup'
Topics = dict[str, tuple[Any, Callable[[int], Any]]]


@dataclass
class Subject:
    """A node, what its topics carry, and whether it still works."""

    name: str
    """Of the node, with how it was set up."""
    node: Any
    topics: dict[str, tuple[Any, Callable[[int], Any]]]
    """Resolved name -> type and a good message for the index-th moment."""
    drops: tuple[str, ...]
    """Statuses on /diagnostics that count what was refused, by cause."""
    works: Callable[[Callable[[], None]], None]
    """Gets a function that sends one good moment; returns when the node has answered."""
    prepare: Callable[[Callable[[], None]], None] = lambda send: None
    """Likewise, called now and then, to bring it back to where it listens to everything."""
    arrived: Callable[[str], int] | None = None
    """Topic -> messages that came, where they are not on /diagnostics."""
    revive: Callable[[], None] | None = None
    """Lets the node go on after an error by which it is meant to end; None where none is."""
    finish: Callable[[], None] = lambda: None
    """Called when all is over and the node still there: what it made has to be usable."""


def perception(rig: Rig, folder: Path, transport: str) -> Subject:
    """A perception node in front of one camera."""
    rng = np.random.default_rng(0)
    frames = [picture(rng, SIDE)[0] for _ in range(20)]
    node = rig.add(Perception, reference=save_reference(folder, SIDE), fit_weights=False, passes=1,
                   image_transport=transport)
    for topic in ('mask', 'score', 'overlay', 'camera_info'):  # so that all of it is made
        rig.probe.create_subscription(CameraInfo if topic == 'camera_info' else Image,
                                      f'masked/{topic}', lambda message: None, 10)
    [camera] = node.cameras
    image: tuple[Any, Callable[[int], Any]] = \
        (CompressedImage, lambda i: array_to_compressed(frames[i % 20], header(i), 90)) \
        if transport == 'compressed' else \
        (Image, lambda i: array_to_image(frames[i % 20], header(i)))
    point = Point(x=SIDE / 2, y=SIDE / 2)
    topics: dict[str, tuple[Any, Callable[[int], Any]]] = {
        '/image/compressed' if transport == 'compressed' else '/image': image,
        '/camera_info': (CameraInfo, lambda i: CameraInfo(header=header(i))),
        '/clicked_point': (PointStamped, lambda i: PointStamped(header=header(i), point=Point(
            x=point.x, y=point.y))),
        '/image_mouse_left': (Point, lambda i: Point(x=point.x, y=point.y)),
        '/masked/overlay_mouse_left': (Point, lambda i: Point(x=point.x, y=point.y))}

    def works(send: Callable[[], None]) -> None:
        before = camera.latency.count
        send()
        rig.until(lambda: camera.latency.count > before)

    def prepare(send: Callable[[], None]) -> None:
        camera.clicks.clear()  # or every click but the first few were one too many

    return Subject(f'perception, {transport}', node, topics,
                   ('perception: frames', 'perception: clicks'), works, prepare)


def policy(rig: Rig, folder: Path, lockstep: bool) -> Subject:
    """A policy that acts, unless the last messages stopped it."""
    rng = np.random.default_rng(0)
    frames = [picture(rng, SIDE)[0] for _ in range(20)]
    node = rig.add(PolicyNode, checkpoint=save_policy(folder / 'policy.pt', SIDE),
                   joints=list(JOINTS), lockstep=lockstep)
    sent: list[Any] = []
    rig.probe.create_subscription(Float64MultiArray, 'command', sent.append, 10)
    topics: dict[str, tuple[Any, Callable[[int], Any]]] = {
        '/joint_states': (JointState, joint_state),
        '/masked/image_raw': (Image, lambda i: array_to_image(frames[i % 20], header(i)))}
    if lockstep:
        topics['/time_step'] = (Float64MultiArray, good_time_step)

    def enabled(send: Callable[[], None]) -> bool:
        send()
        return bool(rig.call(SetBool, 'policy/enable', SetBool.Request(data=True)).success)

    def prepare(send: Callable[[], None]) -> None:
        if node.state == 'disabled':
            enabled(send)

    def works(send: Callable[[], None]) -> None:
        rig.until(lambda: enabled(send))
        sent.clear()

        def answered() -> bool:
            send()
            return any(np.isfinite(message.data).all() for message in sent)

        rig.until(answered)

    return Subject(f'policy, {"lockstep" if lockstep else "realtime"}', node, topics,
                   ('policy: inputs',), works, prepare)


def bridge(rig: Rig, folder: Path, mode: str) -> Subject:
    """A simulation; its clock stands still between commands, or runs."""
    node = rig.add(MujocoBridge, task=TASK, mode=mode, height=SIDE, width=SIDE, rate_hz=20.0)

    def works(send: Callable[[], None]) -> None:
        before = node.frame_index
        send()
        rig.until(lambda: node.frame_index > before)

    return Subject(
        f'mujoco_bridge, {mode}', node,
        {'/command': (Float64MultiArray, lambda i: command.to_message([0.1], node.frame_index))},
        ('mujoco_bridge: commands',), works)


def trainer(rig: Rig, folder: Path) -> Subject:
    """A training that only acts; simulator and masker are there for what they know."""
    away = {topic: f'away/{topic}' for topic in (
        'command', 'time_step', 'joint_states', 'camera/image_raw', 'camera/segmentation')}
    side = 84
    reference = save_reference(folder, side)
    simulator = rig.add(MujocoBridge, away, task=TASK, height=side, width=side, action_repeat=8)
    rig.add(Perception, {'image': 'away/camera/image_raw', 'masked/image_raw': 'away/masked',
                         'masked/mask': 'away/mask'},
            reference=reference, fit_weights=False)
    settings = {'random_steps': 10**6, 'update_after': 10**6 + 1, 'checkpoint_every': 5000,
                'replay_capacity': 5000, 'action_repeat': 8, 'hidden_dim': 16}
    node = rig.add(Trainer, task=TASK, run_dir=str(folder / 'run'), reference=reference,
                   overrides=json.dumps(settings))
    rig.until(lambda: node.learner is not None)
    assert simulator.error is None
    frame, mask = picture(np.random.default_rng(0), side)

    def works(send: Callable[[], None]) -> None:
        before = node.answers
        send()
        rig.until(lambda: node.answers > before)

    return Subject('trainer', node, {
        '/time_step': (Float64MultiArray, good_time_step),
        '/camera/segmentation': (Image, lambda i: mask_to_image(mask, header(i))),
        '/masked/mask': (Image, lambda i: mask_to_image(mask, header(i))),
        '/masked/image_raw': (Image, lambda i: array_to_image(frame, header(i)))},
        ('trainer: time steps',), works)


def good_time_step(index: int) -> Float64MultiArray:
    """Return the index-th time step of episodes of 50."""
    stamp = header(index).stamp
    return time_step.to_message(time_step.StepInfo(
        stamp_sec=stamp.sec, stamp_nanosec=stamp.nanosec, time_ns=index * 33_000_000, reward=0.5,
        discount=1.0, step_type=time_step.FIRST if index % 50 == 1 else time_step.MID,
        step_index=index % 50, frame_index=index))
