# SPDX-License-Identifier: Apache-2.0
"""Parameters of the nodes that command an arm: unit of a command, limits, workspace, watchdog.

`policy` and `teleop` have the same ones, so a person who drives the arm is limited as a policy is;
`policy` has some of its own, which say which inputs are good.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from samg_ros.arm.joint_limits import load_joint_limits
from samg_ros.arm.settings import INTERFACES, SAFE_ACTIONS, ArmSettings
from samg_ros.arm.workspace import Workspace
from samg_ros.errors import ConfigError
from samg_ros.observation import ObservationSpec
from samg_ros.policy.mask_guard import MaskLimits
from samg_ros.policy.robot_clock import FASTEST
from samg_ros.policy.watchdog import CHECK_S, of_camera
from samg_ros.rl.config import TrainConfig
from samg_ros.ros.parameters import declare

if TYPE_CHECKING:
    from rclpy.node import Node

FRAME, QUALITY, MASK = 'frame', 'quality', 'mask'
"""What is monitored of each camera; `of_camera` gives the names in Deadlines."""
JOINTS, PAIR, CAMERAS = 'joints', 'pair', 'cameras'
"""What is monitored beside it."""
ARRAY, TRAJECTORY = 'array', 'trajectory'


@dataclass(frozen=True, kw_only=True)
class CommandParameters:
    """The values of the parameters; `declare_commands` says what each one means."""

    joints: tuple[str, ...]
    limits: str
    workspace: str
    action_interface: str
    command_interface: str
    output: str
    trajectory_reach_s: float
    max_lead: float
    timeout_s: float
    pairing_tolerance_s: float
    safe_action: str
    safe_pose: tuple[float, ...]
    lockstep: bool = False

    def arm_settings(self, actions: int, simulated_time: bool = False) -> ArmSettings:
        """Return how actions become commands.

        Args:
            actions: numbers in an action; 0 takes the number of joints.
            simulated_time: whether the arm moves in simulated time, which may run up to FASTEST
                times as fast as the watchdog's.

        Raises:
            ConfigError: if a file cannot be read, or the parameters contradict each other.
        """
        if self.output == TRAJECTORY and self.command_interface != 'position':
            raise ConfigError(f"output '{TRAJECTORY}' carries positions; set command_interface to "
                              "'position'")
        if len(set(self.joints)) < len(self.joints):
            raise ConfigError(f'joints: one is named twice in {", ".join(self.joints)}; name each '
                              'once')
        limits = load_joint_limits(self.limits, self.joints) if self.limits else ()
        joints = self.joints or tuple(limit.joint for limit in limits)
        if self.workspace and not joints:
            raise ConfigError("a workspace needs the names of the joints: set the parameter "
                              "'joints', or 'limits'")
        return ArmSettings(
            # In lockstep too, where no command lasts longer than a step: an arm that is tried in
            # simulation has the limits that it will have on hardware.
            size=actions or len(joints), joints=joints,
            max_command_age_s=(self.timeout_s + CHECK_S) * (FASTEST if simulated_time else 1.0),
            action_interface=self.action_interface, command_interface=self.command_interface,
            limits=limits,
            workspace=Workspace(self.workspace, joints) if self.workspace else None,
            safe_action=self.safe_action, safe_pose=self.safe_pose, max_lead=self.max_lead)


def declare_commands(node: Node) -> dict[str, Any]:
    """Declare the parameters on a node; return the values by the fields of CommandParameters.

    Raises:
        ConfigError: if one has another type or is out of range.
    """
    return {
        'joints': tuple(name for name in declare(
            node, 'joints', [''], 'Joints in the order of the command; empty takes those of the '
            'limits.') if name),
        'limits': declare(node, 'limits', '', 'YAML file of joint limits, in the format of '
                          'ros2_control and MoveIt; empty for none.'),
        'workspace': declare(node, 'workspace', '', 'YAML file of a box that the hand must not '
                             "leave, and of the arm's model; empty for none."),
        'action_interface': declare(node, 'action_interface', 'velocity', 'What actions are.',
                                    choices=INTERFACES),
        'command_interface': declare(
            node, 'command_interface', 'velocity', 'What the controller takes; velocities are '
            'integrated for a position controller.', choices=INTERFACES),
        'output': declare(
            node, 'output', ARRAY, 'array: Float64MultiArray for forward_command_controller. '
            'trajectory: JointTrajectory for joint_trajectory_controller, positions only.',
            choices=(ARRAY, TRAJECTORY)),
        'trajectory_reach_s': declare(node, 'trajectory_reach_s', 0.1, 'Seconds in which the '
                                      'positions of a trajectory are to be reached.',
                                      between=(0.001, 10.0)),
        'max_lead': declare(node, 'max_lead', 0.3, 'How far position commands may get ahead of the '
                            'joints, and a hold may be from the last command, rad or m.',
                            between=(0.0, 10.0)),
        'timeout_s': declare(node, 'timeout_s', 0.5, 'Seconds without good input or action after '
                             'which the safe action is sent.', between=(0.02, 60.0)),
        'pairing_tolerance_s': declare(
            node, 'pairing_tolerance_s', 0.05, 'Greatest difference in seconds between the stamps '
            'of a frame and of its joint positions.', between=(0.0, 1.0)),
        'safe_action': declare(node, 'safe_action', 'hold', 'hold: stay where the joints are. '
                               'zero: send zeros. pose: go to safe_pose.', choices=SAFE_ACTIONS),
        'safe_pose': tuple(declare(node, 'safe_pose', [0.0], 'Joint positions of the safe action '
                                   'pose, rad or m.'))}


@dataclass(frozen=True, kw_only=True)
class PolicyParameters(CommandParameters):
    """The values of the parameters; `declare` says what each one means."""

    checkpoint: str
    task: str
    device: str
    perception: str
    crop: tuple[int, int, int, int] | None
    min_mask_area: float
    mask_limits: MaskLimits

    @classmethod
    def declare(cls, node: Node) -> PolicyParameters:
        """Declare the parameters and read them.

        Raises:
            ConfigError: if one has another type or is out of range.
        """
        crop = tuple(declare(
            node, 'crop', [0, 0, 0, 0], 'Part of the frame that the policy sees: x, y, width, '
            "height in pixels; a width of 0 takes the checkpoint's."))
        if len(crop) != 4:
            raise ConfigError(f"parameter 'crop' of {node.get_name()} must be x, y, width, height, "
                              f'got {list(crop)}')
        return cls(
            crop=crop if crop[2] else None,
            checkpoint=declare(node, 'checkpoint', '', 'Checkpoint file of a trained policy, or '
                               'its run folder.'),
            task=declare(node, 'task', '', 'Task that the checkpoint must be of; empty takes any.'),
            device=declare(node, 'device', 'cpu', 'Torch device of the networks.'),
            perception=declare(node, 'perception', 'perception', 'Node that masks; its fill and '
                               "model are compared with those of the policy's training."),
            lockstep=declare(
                node, 'lockstep', False, 'Answer every frame of a simulator that waits for each '
                'command. DISABLES watchdog and safe action: never set it in front of an arm.'),
            min_mask_area=declare(node, 'min_mask_area', 0.0, 'A mask with no more than this share '
                                  'of the frame counts as empty.', between=(0.0, 1.0)),
            mask_limits=_declare_mask_limits(node), **declare_commands(node))


def _declare_mask_limits(node: Node) -> MaskLimits:
    return MaskLimits(
        declare(node, 'mask_max_speed', 0.0, 'A mask whose centroid moves faster is doubtful, '
                'frame widths per second; 0 for any.', between=(0.0, 1000.0)),
        declare(node, 'mask_max_growth', 0.0, 'A mask whose area changes faster is doubtful, '
                'change of the natural logarithm per second; 0 for any.', between=(0.0, 1000.0)),
        declare(node, 'mask_slow_down', 0.3, "Share of the policy's speed while the mask is "
                'doubtful.', between=(0.0, 1.0)),
        declare(node, 'mask_min_iou', 0.0, 'A mask for which perception predicts a lower IoU with '
                'the true one is doubtful; 0 for any.', between=(0.0, 1.0)))


@dataclass(frozen=True)
class InputSettings:
    """What a usable input is: crop, joints, and the bounds on age and mask."""

    config: TrainConfig
    """Of the policy's training."""
    spec: ObservationSpec
    """What the policy sees; its crop is that of the camera in use."""
    joints: tuple[str, ...]
    """Joints whose positions are needed for the commands; empty for none."""
    timeout_s: float
    """Age above which an input is late."""
    tolerance_s: float
    """Greatest difference between the stamps of a frame and of its joint positions."""
    min_mask_area: float
    """Share of the frame below which a mask counts as empty."""
    mask_limits: MaskLimits
    """When a mask is doubtful; not in lockstep."""
    lockstep: bool
    """Whether frames, joint states and time steps come with one stamp, and every one counts."""
    cameras: tuple[str, ...] = ('',)
    """Names of the cameras, the main one first; a single empty name for the only one."""

    @property
    def wants_quality(self) -> bool:
        """Whether masks are judged by what the masker thinks of them."""
        return self.mask_limits.min_iou > 0 and self.spec.source != 'raw' and not self.lockstep

    @property
    def needed_joints(self) -> tuple[str, ...]:
        """All joints whose positions are needed, for the policy or for the commands."""
        return tuple(dict.fromkeys((*self.spec.proprioception, *self.joints)))

    @property
    def deadlines(self) -> tuple[str, ...]:
        """What is monitored, causes before effects."""
        monitored = {FRAME: True, JOINTS: bool(self.needed_joints),
                     QUALITY: self.wants_quality, MASK: self.spec.source != 'raw',
                     CAMERAS: len(self.cameras) > 1, PAIR: bool(self.spec.proprioception)}
        per_camera = {FRAME, QUALITY, MASK}
        return tuple(of_camera(name, camera) for name, needed in monitored.items() if needed
                     for camera in (self.cameras if name in per_camera else ('',)))
