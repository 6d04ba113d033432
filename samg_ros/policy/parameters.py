# SPDX-License-Identifier: Apache-2.0
"""The parameters of `policy`, beside those of every node that commands an arm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from samg_ros.errors import ConfigError
from samg_ros.policy.command_parameters import CommandParameters, declare_commands
from samg_ros.policy.mask_guard import MaskLimits
from samg_ros.ros.parameters import declare

if TYPE_CHECKING:
    from rclpy.node import Node


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
