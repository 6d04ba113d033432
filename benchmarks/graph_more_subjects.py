# SPDX-License-Identifier: Apache-2.0
"""The nodes around those of `graph_subjects.py`: guard, manager, people, recorders, evaluations."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from graph_rig import JOINTS, Rig, header, joint_state, picture, save_reference
from graph_subjects import (
    SIDE,
    Subject,
    Topics,
    bridge,
    good_time_step,
    perception,
    policy,
    trainer,
)
from lifecycle_msgs.msg import State, TransitionEvent
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, Image, JointState, Joy
from std_msgs.msg import Float64MultiArray, String
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from samg_ros.bags.bag import open_bag
from samg_ros.bags.recording import Recording
from samg_ros.errors import SamgError
from samg_ros.nodes.arm_episodes_node import ArmEpisodes
from samg_ros.nodes.bag_evaluator_node import BagEvaluator
from samg_ros.nodes.bag_player_node import BagPlayer
from samg_ros.nodes.command_guard_node import CommandGuard
from samg_ros.nodes.evaluator_node import Evaluator
from samg_ros.nodes.lifecycle_manager_node import LifecycleManager
from samg_ros.nodes.perception_node import Perception
from samg_ros.nodes.recorder_node import EpisodeRecorder
from samg_ros.nodes.teleop_node import Teleop
from samg_ros.ros.messages import command
from samg_ros.ros.messages.images import array_to_image, mask_to_image

_LIMITS = 'joint_limits:\n' + ''.join(
    f'  {name}: {{min_position: -1.0, max_position: 1.0, max_velocity: 0.5}}\n' for name in JOINTS)
_MANY = 10**6


def guard(rig: Rig, folder: Path) -> Subject:
    """What leaves it is finite and of the controller's size, whatever comes."""
    node = rig.add(CommandGuard, command_interface='velocity', size=len(JOINTS))
    passed: list[Float64MultiArray] = []
    rig.probe.create_subscription(Float64MultiArray, 'command', passed.append, 100)

    def works(send: Callable[[], None]) -> None:
        check(lambda: None)
        rig.until(lambda: (send(), passed)[1])

    def check(send: Callable[[], None]) -> None:
        assert all(len(each.data) == len(JOINTS) and np.isfinite(each.data).all()
                   for each in passed), 'a bad command was passed on'
        passed.clear()

    return Subject('command_guard', node, {'/command_raw': (
        Float64MultiArray, lambda i: command.to_message([0.1, -0.1]))},
        ('command_guard: dropped commands',), works, check)


def teleop(rig: Rig, folder: Path, source: str) -> Subject:
    """An operator drives; every command is within the limits."""
    (folder / 'limits.yaml').write_text(_LIMITS)
    node = rig.add(Teleop, source=source, limits=str(folder / 'limits.yaml'),
                   command_interface='position', axes=[0, 1], speed=0.2, max_offset=10.0)
    sent: list[Float64MultiArray] = []
    rig.probe.create_subscription(Float64MultiArray, 'command', sent.append, 100)
    operators: dict[str, Topics] = {
        'topic': {'/leader/joint_states': (JointState, joint_state),
                  '/leader/joint_trajectory': (JointTrajectory, lambda i: JointTrajectory(
                      header=header(i), joint_names=list(JOINTS),
                      points=[JointTrajectoryPoint(positions=[0.1, -0.1])]))},
        'joy': {'/joy': (Joy, lambda i: Joy(header=header(i), axes=[0.5, -0.5],
                                            buttons=[0, 0, 0, 0, 1, 0, 0, 0]))},
        'keyboard': {'/keys': (String, lambda i: String(data='qa'[i % 2]))}}
    topics: Topics = {'/joint_states': (JointState, joint_state), **operators[source]}

    def check(send: Callable[[], None]) -> None:
        assert all(len(each.data) == len(JOINTS) and np.abs(each.data).max() <= 1.0
                   for each in sent), 'a command was beyond the limits'
        sent.clear()
        if node.state == 'disabled':
            rig.call(SetBool, 'teleop/enable', SetBool.Request(data=True))

    def works(send: Callable[[], None]) -> None:
        def acts() -> bool:
            send()
            check(send)
            send()
            return bool(sent)

        rig.until(acts)

    return Subject(f'teleop, {source}', node, topics, ('teleop: inputs',), works, check)


def evaluator(rig: Rig, folder: Path) -> Subject:
    """Frames that were lost or come twice end it: the return would be wrong."""
    node = rig.add(Evaluator, episodes=_MANY, patience_s=3600.0)

    def works(send: Callable[[], None]) -> None:
        before = node._frames
        rig.until(lambda: (send(), node._frames > before)[1])

    def revive() -> None:
        node._frame_index = -1

    return Subject('evaluator', node, {'/time_step': (Float64MultiArray, good_time_step)},
                   ('evaluator: time_steps',), works, revive=revive)


def arm_episodes(rig: Rig, folder: Path) -> Subject:
    """Episodes of 50 steps; simulation and policy say yes to everything."""
    def yes(request: Any, response: Any) -> Any:
        response.success = True
        return response

    rig.probe.create_service(Trigger, 'mujoco_bridge/reset', yes)
    rig.probe.create_service(SetBool, 'policy/enable', yes)
    node = rig.add(ArmEpisodes, episodes=100_000, patience_s=3600.0)

    def works(send: Callable[[], None]) -> None:
        before = len(node._returns)
        rig.until(lambda: (send(), len(node._returns) > before)[1])

    def prepare(send: Callable[[], None]) -> None:
        rig.until(lambda: node._running)  # between episodes it does not listen

    return Subject('arm_episodes', node, {'/time_step': (Float64MultiArray, good_time_step)},
                   ('arm_episodes: time steps',), works, prepare)


def lifecycle_manager(rig: Rig, folder: Path) -> Subject:
    """Brings perception up, and hears of transitions that never were."""
    rig.add(Perception, reference=save_reference(folder, SIDE), fit_weights=False, autostart=False)
    node = rig.add(LifecycleManager, nodes=['perception'])
    rig.until(lambda: node.up)

    def works(send: Callable[[], None]) -> None:
        send()
        rig.until(lambda: rig.diagnosed('lifecycle_manager: graph')['perception'] == 'active')

    return Subject('lifecycle_manager', node, {'/perception/transition_event': (
        TransitionEvent, lambda i: TransitionEvent(
            timestamp=i, start_state=State(id=2, label='inactive'),
            goal_state=State(id=3, label='active')))}, (), works)


def recorder(rig: Rig, folder: Path) -> Subject:
    """Whatever it recorded can be read."""
    node = rig.add(EpisodeRecorder, folder=str(folder / 'bags'))
    frame, _ = picture(np.random.default_rng(0), SIDE)
    makers: dict[Any, Callable[[int], Any]] = {
        Image: lambda i: array_to_image(frame, header(i)), JointState: joint_state,
        CameraInfo: lambda i: CameraInfo(header=header(i)),
        Float64MultiArray: good_time_step,
        JointTrajectory: lambda i: JointTrajectory(header=header(i), joint_names=list(JOINTS))}
    topics: Topics = {node.resolve_topic_name(name): (kind, makers[kind])
                      for name, kind in node._topics.items()}

    def check(send: Callable[[], None]) -> None:
        if node._recording is not None:
            if node._tap.counts.total() == node._began_with:
                return  # a bag without a message is an error
            rig.call(Trigger, 'recorder/stop', Trigger.Request())
        assert rig.call(Trigger, 'recorder/start', Trigger.Request()).success

    def works(send: Callable[[], None]) -> None:
        check(send)
        send()

    def finish() -> None:
        rig.call(Trigger, 'recorder/stop', Trigger.Request())
        found = sum(sum(open_bag(path).counts.values())
                    for path in (folder / 'bags').glob('*.mcap'))
        assert found == node._tap.counts.total(), (found, node._tap.counts.total())

    return Subject('recorder', node, topics, (), works, check,
                   arrived=lambda topic: int(node._tap.counts[topic]), finish=finish)


def _bag(folder: Path) -> str:
    """Write a bag of three frames."""
    path = folder / 'played.mcap'
    recording, rng = Recording(path), np.random.default_rng(0)
    for index in range(3):
        image = array_to_image(picture(rng, SIDE)[0], header(index))
        recording.add('/camera/image_raw', 'sensor_msgs/msg/Image', index * 33_000_000,
                      serialize_message(image))
    recording.close()
    return str(path)


def bag_evaluator(rig: Rig, folder: Path) -> Subject:
    """What it recorded makes a page, or an error of one line."""
    node = rig.add(BagEvaluator, bag=_bag(folder), image='/camera/image_raw',
                   out=str(folder / 'out'), patience_s=3600.0)
    frame, mask = picture(np.random.default_rng(0), SIDE)
    topics: Topics = {
        '/camera/image_raw': (Image, lambda i: array_to_image(frame, header(i))),
        '/masked/mask': (Image, lambda i: mask_to_image(mask, header(i))),
        '/masked/image_raw': (Image, lambda i: array_to_image(frame, header(i))),
        '/command': (Float64MultiArray, lambda i: command.to_message([0.1]))}

    def works(send: Callable[[], None]) -> None:
        before = node._tap.counts.total()
        send()
        rig.until(lambda: node._tap.counts.total() == before + len(topics))

    def finish() -> None:
        rig.nodes.remove(node)
        rig.executor.remove_node(node)
        node.close()
        node.destroy_node()
        with open(os.devnull, 'w') as nothing, contextlib.redirect_stdout(nothing), \
                contextlib.suppress(SamgError):
            node.finish()

    return Subject('bag_evaluator', node, topics, (), works,
                   arrived=lambda topic: int(node._tap.counts[topic]), finish=finish)


def bag_player(rig: Rig, folder: Path) -> Subject:
    """It listens to nothing, and ends with its bag."""
    heard: list[Image] = []
    rig.probe.create_subscription(Image, '/camera/image_raw', heard.append, 10)
    node = rig.add(BagPlayer, bag=_bag(folder), topics=['/camera/image_raw'])

    def works(send: Callable[[], None]) -> None:
        rig.until(lambda: node.finished and len(heard) == 3)

    return Subject('bag_player', node, {}, (), works)


SUBJECTS: dict[str, tuple[Callable[[Rig, Path], Subject], ...]] = {
    'perception': (lambda rig, folder: perception(rig, folder, 'raw'),
                   lambda rig, folder: perception(rig, folder, 'compressed')),
    'policy': (lambda rig, folder: policy(rig, folder, False),
               lambda rig, folder: policy(rig, folder, True)),
    'mujoco_bridge': (lambda rig, folder: bridge(rig, folder, 'lockstep'),
                      lambda rig, folder: bridge(rig, folder, 'realtime')),
    'trainer': (trainer,), 'command_guard': (guard,),
    'teleop': (lambda rig, folder: teleop(rig, folder, 'topic'),
               lambda rig, folder: teleop(rig, folder, 'joy'),
               lambda rig, folder: teleop(rig, folder, 'keyboard')),
    'evaluator': (evaluator,), 'arm_episodes': (arm_episodes,),
    'lifecycle_manager': (lifecycle_manager,), 'recorder': (recorder,),
    'bag_evaluator': (bag_evaluator,), 'bag_player': (bag_player,)}
