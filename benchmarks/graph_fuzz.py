# SPDX-License-Identifier: Apache-2.0
"""Nonsense on every subscription of perception, policy, bridge and trainer: none may die of it.

    python benchmarks/graph_fuzz.py --messages 20000
    python benchmarks/graph_fuzz.py --messages 2000 --nodes policy trainer

Each topic that a node subscribes gets so many messages, most of them good ones in which a few
fields are spoiled: numbers that are none or too large, other encodings, lists too short or too
long, stamps of another time. Every one must be on /diagnostics: counted by its topic as it came,
and by its cause if it was refused. After them the node must still do its work.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import Point, PointStamped
from graph_rig import (
    JOINTS,
    Rig,
    header,
    joint_state,
    picture,
    save_policy,
    save_reference,
    start_ros,
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
SPOILED = 0.8
"""Share of the messages that are not left as they are."""
TASK = 'cartpole_swingup'
WORDS = ('', 'rgb8', 'bgr8', 'mono8', 'mono16', 'rgba8', 'bayer_rggb8', 'yuv422', '32FC1', '8UC9',
         'jpeg', 'rgb8; jpeg compressed bgr8', 'action', 'frame_index', 'reward', 'shoulder',
         'x' * 300, '\u00fc')
FLOATS = (0.0, -1.0, 0.5, 1e-30, 1e30, float('nan'), float('inf'), float('-inf'))
_IGNORED = ('/parameter_events', '/clock')
_LOST_S = 2.0


class Fuzzer:
    """Spoils messages."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def spoil(self, message: Any) -> Any:
        """Change one to three fields, anywhere in it."""
        for _ in range(self.random.randint(1, 3)):
            owner, name, kind = self.random.choice(list(_fields(message)))
            setattr(owner, name, self._value(kind, getattr(owner, name)))
        return message

    def _value(self, kind: str, value: Any) -> Any:
        if kind.startswith('sequence<'):
            return self._sequence(kind[len('sequence<'):-1], value)
        if kind.endswith(']'):  # as many as before
            values = list(value)
            index = self.random.randrange(len(values))
            values[index] = self._value(kind.partition('[')[0], values[index])
            return values
        if kind == 'string':
            return self.random.choice(WORDS)
        if kind in ('double', 'float'):
            return self.random.choice(FLOATS)
        if kind == 'boolean':
            return not value
        if kind in ('octet', 'uint8', 'int8'):
            return self.random.randrange(128)
        bits = int(kind.lstrip('uint'))
        low = 0 if kind.startswith('u') else -2**(bits - 1)
        high = low + 2**bits - 1
        return self.random.choice((low, high, 0, 1, 15, 16, 17, SIDE, 3 * SIDE,
                                   self.random.randint(0, high)))

    def _sequence(self, kind: str, value: Any) -> Any:
        length = self.random.choice((0, 1, max(0, len(value) - 1), len(value) + 1,
                                     self.random.randrange(100)))
        if kind == 'uint8':
            return (bytes(value) + self.random.randbytes(100))[:length]
        values = list(value)[:length]
        if '/' not in kind:
            values += [self._value(kind, None if kind != 'boolean' else True)
                       for _ in range(min(length - len(values), 100))]
        return values


def _fields(message: Any) -> Any:
    """Every field of a message and of those in it: its owner, name and type."""
    for name, kind in message.get_fields_and_field_types().items():
        value = getattr(message, name)
        if hasattr(value, 'get_fields_and_field_types'):
            yield from _fields(value)
            continue
        yield message, name, kind
        if '/' in kind:
            for each in value:
                yield from _fields(each)


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
        topics['/time_step'] = (Float64MultiArray, _time_step)

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
        '/time_step': (Float64MultiArray, _time_step),
        '/camera/segmentation': (Image, lambda i: mask_to_image(mask, header(i))),
        '/masked/mask': (Image, lambda i: mask_to_image(mask, header(i))),
        '/masked/image_raw': (Image, lambda i: array_to_image(frame, header(i)))},
        ('trainer: time steps',), works)


def _time_step(index: int) -> Float64MultiArray:
    stamp = header(index).stamp
    return time_step.to_message(time_step.StepInfo(
        stamp_sec=stamp.sec, stamp_nanosec=stamp.nanosec, time_ns=index * 33_000_000, reward=0.5,
        discount=1.0, step_type=time_step.FIRST if index % 50 == 1 else time_step.MID,
        step_index=index % 50, frame_index=index))


SUBJECTS: dict[str, tuple[Callable[[Rig, Path], Subject], ...]] = {
    'perception': (lambda rig, folder: perception(rig, folder, 'raw'),
                   lambda rig, folder: perception(rig, folder, 'compressed')),
    'policy': (lambda rig, folder: policy(rig, folder, False),
               lambda rig, folder: policy(rig, folder, True)),
    'bridge': (lambda rig, folder: bridge(rig, folder, 'lockstep'),
               lambda rig, folder: bridge(rig, folder, 'realtime')),
    'trainer': (trainer,)}


def fuzz(rig: Rig, subject: Subject, messages: int, seed: int = 0) -> dict[str, Any]:
    """Send so many messages on every topic of a node.

    Returns:
        Figures of the node, and by topic what was sent and what /diagnostics counted.

    Raises:
        TimeoutError: if the node does nothing any more.
        Exception: what the node died of.
    """
    node, topics, fuzzer = subject.node, subject.topics, Fuzzer(seed)
    subscribed = {each.topic_name for each in node.subscriptions} - {*_IGNORED}
    if subscribed != set(topics):
        raise ValueError(f'{subject.name} subscribes {sorted(subscribed)}, known are '
                         f'{sorted(topics)}')
    publishers = {topic: rig.publisher(kind, topic) for topic, (kind, _) in topics.items()}
    received, sent = node.diagnostics.received, dict.fromkeys(topics, 0)
    moment = 0

    def send(topic: str, message: Any) -> None:
        """Send a message and wait until it has come, so that none overtakes another."""
        before, lost = received[topic], time.monotonic() + _LOST_S
        publishers[topic].publish(message)
        sent[topic] += 1
        rig.until(lambda: received[topic] > before or time.monotonic() > lost)

    def send_good() -> None:
        nonlocal moment
        moment += 1
        for topic, (_, make) in topics.items():
            send(topic, make(moment))

    began = time.monotonic()
    subject.works(send_good)
    for index in range(messages):
        moment += 1
        for topic, (_, make) in topics.items():
            message = make(moment)
            if fuzzer.random.random() < SPOILED:
                message = fuzzer.spoil(copy.deepcopy(message))  # a layout may be shared
            send(topic, message)
        if index % 20 == 0:
            subject.prepare(send_good)
    subject.prepare(send_good)
    subject.works(send_good)
    counted = {topic: int(rig.diagnosed(f'{node.get_name()}: connections')[topic])
               for topic in topics}
    refused: dict[str, int] = {}
    for status in subject.drops:
        values = rig.diagnosed(status)
        refused |= {cause: int(value) for cause, value in values.items()
                    if cause not in ('in', 'out', 'dropped', 'last') and value.isdigit()}
    return {'node': subject.name, 'sent': sent, 'counted': counted, 'refused': refused,
            'seconds': time.monotonic() - began}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--messages', type=int, default=20_000, metavar='N',
                        help='on each topic (20000)')
    parser.add_argument('--nodes', nargs='+', choices=SUBJECTS, default=list(SUBJECTS))
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--json', type=Path, metavar='PATH', help='write the figures there too')
    args = parser.parse_args()
    rows = []
    for name in args.nodes:
        for make in SUBJECTS[name]:
            start_ros()
            rclpy.logging.set_logger_level('', rclpy.logging.LoggingSeverity.FATAL)
            rig = Rig()
            with tempfile.TemporaryDirectory() as folder:
                row = fuzz(rig, make(rig, Path(folder)), args.messages, args.seed)
                rig.close()
            rclpy.try_shutdown()
            rows.append(row)
            _print(row)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + '\n')


def _print(row: dict[str, Any]) -> None:
    print(f'{row["node"]}: alive after {row["seconds"]:.0f} s', flush=True)
    for topic, count in row['sent'].items():
        print(f'    {topic:28} sent {count:6}, on /diagnostics {row["counted"][topic]:6}')
    total, refused = sum(row['sent'].values()), sum(row['refused'].values())
    causes = ', '.join(f'{cause} {count}' for cause, count in sorted(row['refused'].items()))
    print(f'    {total} = {total - refused} taken + {refused} refused ({causes or "none"})',
          flush=True)


if __name__ == '__main__':
    main()
