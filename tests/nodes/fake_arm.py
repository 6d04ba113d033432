# SPDX-License-Identifier: Apache-2.0
"""An untrained policy of two joints, and the camera, joints and controller in front of it."""

import time

import numpy as np
import torch
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray, Header
from std_srvs.srv import SetBool

from samg_ros.nodes.policy_node import PolicyNode
from samg_ros.observation import ObservationSpec
from samg_ros.rl.agents.chunk_network import ChunkNetwork, ChunkSettings
from samg_ros.rl.agents.drqv2 import DrQv2Agent
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.evaluation.actors import CHUNKS, NETWORK
from samg_ros.rl.training.checkpoint import Checkpoint, save_checkpoint
from samg_ros.ros.messages import mask_quality
from samg_ros.ros.messages.images import array_to_image

JOINTS = ('shoulder', 'elbow')
CAMERAS = ('camera', 'side')
SIDE = 24
TIMEOUT_S = 0.5
GRACE_S = 0.1
CONFIG = TrainConfig(
    task='arm_reach', camera_size=SIDE, convolutions=((4, 3, 2),), feature_dim=8, hidden_dim=16,
    observation=ObservationSpec(size=16, proprioception=JOINTS))
LIMITS = """
joint_limits:
  shoulder: {min_position: -0.2, max_position: 0.2, max_velocity: 0.3}
  elbow: {min_position: -0.2, max_position: 0.2, max_velocity: 0.2}
"""


def save_untrained(path, config=CONFIG, actions=2, greatest=0.5):
    """Write the checkpoint of an untrained policy, as training would."""
    save_checkpoint(path, Checkpoint(config, np.full(actions, -greatest),
                                     np.full(actions, greatest),
                                     DrQv2Agent(config, actions).state_dict()))
    return path


def header(tick):
    """At 50 Hz, from 100 s on."""
    return Header(stamp=Time(sec=100 + tick // 50, nanosec=tick % 50 * 20_000_000))


def save_two_cameras(path, source='masked'):
    """Write the checkpoint of an untrained policy that sees two cameras and predicts chunks."""
    size = 16
    settings = ChunkSettings(CAMERAS, len(JOINTS), 2, chunk=2, period_s=0.02, channels=(4, 4),
                             hidden_dim=8, pixels=(3, size, size))
    torch.manual_seed(0)
    config = TrainConfig(task='arm_reach', camera_size=SIDE, observation=ObservationSpec(
        size=size, frame_stack=1, source=source, proprioception=JOINTS))
    save_checkpoint(path, Checkpoint(
        config, np.full(2, -0.5), np.full(2, 0.5),
        {CHUNKS: settings.to_json(), NETWORK: ChunkNetwork(settings).state_dict()}))
    return path


class Arm:
    """A camera, joint states, and a controller that remembers what it was sent."""

    def __init__(self, graph, message_type=Float64MultiArray):
        self.graph = graph
        self.images = graph.probe.create_publisher(Image, 'masked/image_raw', 5)
        self.joints = graph.probe.create_publisher(JointState, 'joint_states', 5)
        self.commands = []
        graph.probe.create_subscription(
            message_type, 'command',
            lambda message: self.commands.append((time.monotonic(), message)), 50)
        self.rng = np.random.default_rng(0)
        self.shape = (SIDE, SIDE, 3)
        self.names, self.positions = list(JOINTS), [0.1, -0.1]
        self.sends_frames = self.sends_joints = True
        self.empty = False
        self.columns = slice(None)  # that the mask leaves
        self.predicted_iou = None  # that perception publishes
        self.qualities = graph.probe.create_publisher(Float64MultiArray, mask_quality.TOPIC, 5)
        self.behind = 0  # frames' stamps, in ticks
        self.frame_at = 0.0
        self.frozen_stamp = None  # of joint states that a driver repeats
        self.ticks = 0
        self.timer = None

    def header(self):
        """The header of this tick."""
        return header(self.ticks)

    def tick(self):
        self.ticks += 1
        if self.sends_joints:
            stamped = self.header()
            stamped.stamp = self.frozen_stamp or stamped.stamp
            self.joints.publish(JointState(header=stamped, name=self.names,
                                           position=self.positions))
        frame = self.rng.integers(1, 256, self.shape, dtype=np.uint8)
        if self.empty:
            frame[:] = 0
        shown = np.zeros_like(frame)
        shown[:, self.columns] = frame[:, self.columns]
        frame = shown
        if self.sends_frames:
            self.frame_at = time.monotonic()
            stamped = header(self.ticks - self.behind)
            self.images.publish(array_to_image(frame, stamped))
            if self.predicted_iou is not None:
                self.qualities.publish(mask_quality.to_message(stamped, self.predicted_iou))
        return frame

    def run(self):
        """From now on frames and joint states come at 50 Hz."""
        self.timer = self.graph.probe.create_timer(0.02, self.tick)
        return self

    def enable(self, on=True):
        return self.graph.call(SetBool, 'policy/enable', SetBool.Request(data=on))

    def start(self, node):
        """Run until the policy acts."""
        self.run()
        self.graph.until(lambda: node._inputs.count)
        assert self.enable().success
        self.graph.until(lambda: len(self.commands) > 3)

    @property
    def last(self):
        return list(self.commands[-1][1].data)

    def is_still(self):
        return self.commands and not any(self.last)


class TwoCameras(Arm):
    """The fake arm with a second camera, whose frames may come later or not at all."""

    def __init__(self, graph, topic='masked/image_raw'):
        super().__init__(graph)
        self.images, self.side = (graph.probe.create_publisher(Image, f'{name}/{topic}', 5)
                                  for name in CAMERAS)
        self.shows_side, self.side_behind, self.side_shape = True, 0, self.shape
        self.side_every = 1  # ticks

    def tick(self):
        frame = super().tick()
        if self.ticks % self.side_every:
            return frame, None
        side = self.rng.integers(1, 256, self.side_shape, dtype=np.uint8)
        if self.shows_side:
            self.side.publish(array_to_image(side, header(self.ticks - self.side_behind)))
        return frame, side


def add(graph, run, **parameters):
    return graph.add(PolicyNode, {'checkpoint': str(run), 'joints': list(JOINTS),
                                  'timeout_s': TIMEOUT_S, **parameters})
