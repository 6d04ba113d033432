# SPDX-License-Identifier: Apache-2.0
"""How a policy's actions become commands of an arm, and which combinations make no sense."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from samg_ros.arm.joint_limits import JointLimits
from samg_ros.arm.workspace import Workspace
from samg_ros.errors import ConfigError

INTERFACES = ('position', 'velocity', 'effort')
"""What a number of a command means, in ros2_control's words."""
KEEPS_MOVING = ('velocity', 'effort')
"""Interfaces of controllers that go on moving with their last command; one of positions stops."""
SAFE_ACTIONS = ('hold', 'zero', 'pose')
_STARTS, _MOST_TRIES, _POINTS = 200, 2000, 32
"""`approach_share`: start positions, random positions tried to find them, points on each path."""


@dataclass(frozen=True)
class ArmSettings:
    """How actions become commands.

    Raises:
        ConfigError: if the settings contradict each other.
    """

    size: int
    """Numbers in an action, and in a command."""
    max_command_age_s: float = field(kw_only=True)
    """Longest time for which a controller may follow one command, seconds: until the watchdog sends
    the safe action."""
    joints: tuple[str, ...] = ()
    """Their names, as in joint_states; empty where they have none."""
    action_interface: str = 'velocity'
    """What the policy's actions are, one of INTERFACES."""
    command_interface: str = 'velocity'
    """What the controller takes; velocities are integrated for a position controller."""
    limits: tuple[JointLimits, ...] = ()
    """In the order of the command; empty for none."""
    workspace: Workspace | None = None
    """Where the hand must stay; None for anywhere."""
    safe_action: str = 'hold'
    """One of SAFE_ACTIONS. hold: stay where the joints are (velocity 0); zero: send zeros;
    pose: go to `safe_pose`. Positions keep all limits then too; velocities become 0 at once."""
    safe_pose: tuple[float, ...] = ()
    """Joint positions, rad or m."""
    max_lead: float = 0.3
    """How far position commands may get ahead of the joints, rad or m, so that a blocked arm does
    not jump when it is released; and how far from the last command `hold` may be. Position actions
    of a joint without max_velocity are not limited by it."""

    def __post_init__(self) -> None:
        if self.joints and len(self.joints) != self.size:
            raise ConfigError(
                f'the policy has {self.size} actions, but there are {len(self.joints)} joints '
                f'({", ".join(self.joints)}); name those of the command, one for each action, in '
                "the parameter 'joints'")
        if not self.joints and self.needs_positions:
            raise ConfigError(f'{self.command_interface} commands need the names of the joints: '
                              "set the parameter 'joints', or 'limits'")
        if twice := {joint for joint in self.joints if self.joints.count(joint) > 1}:
            raise ConfigError(f"joint '{min(twice)}' is named twice; name each joint of the "
                              "command once, in the parameter 'joints'")
        action, command = self.action_interface, self.command_interface
        if action != command and not self.integrates:
            raise ConfigError(f'{action} actions cannot become {command} commands; only '
                              'velocities can, for a position controller')
        if command == 'position':
            self._check_position()
        elif self.safe_action == 'pose' or (self.safe_action, command) == ('hold', 'effort'):
            raise ConfigError(f"safe_action '{self.safe_action}' is not possible with {command} "
                              "commands; take 'zero'")
        if command == 'effort' and (self.limits or self.workspace is not None):
            raise ConfigError('limits are not enforced for effort commands; leave the parameters '
                              "'limits' and 'workspace' empty and let the controller keep them")

    def _check_position(self) -> None:
        if self.safe_action == 'zero':
            raise ConfigError("safe_action 'zero' would send an arm under position control to its "
                              "zero position; take 'hold', or 'pose' with that pose")
        if self.safe_action == 'pose':
            if len(self.safe_pose) != self.size:
                raise ConfigError(f'safe_pose must be {self.size} joint positions, got '
                                  f'{len(self.safe_pose)}')
            if not np.isfinite([limit.max_velocity for limit in self.limits]).all() \
                    or not self.limits:
                raise ConfigError("safe_action 'pose' needs max_velocity of every joint in the "
                                  "limits, or the arm would go there at once; take 'hold' else")
            low, high = np.transpose([(limit.min_position, limit.max_position)
                                      for limit in self.limits])
            if not ((low <= self.safe_pose) & (self.safe_pose <= high)).all():
                raise ConfigError(f'safe_pose {list(self.safe_pose)} is outside the position '
                                  'limits')
            if self.workspace is not None and self.workspace.distance(self.safe_pose):
                raise ConfigError(f'safe_pose {list(self.safe_pose)} is outside the workspace')
            if self.approach_share() == 0.0:
                raise ConfigError(f'safe_pose {list(self.safe_pose)} cannot be approached inside '
                                  'the workspace: every path to it leaves the box; choose another '
                                  "pose, or take safe_action 'hold'")
        if np.isfinite([limit.max_acceleration for limit in self.limits]).any():
            raise ConfigError('max_acceleration is not enforced for position commands; set '
                              'has_acceleration_limits to false and let the controller keep it')

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values; of the workspace whether there is one."""
        return {**asdict(replace(self, workspace=None)), 'workspace': self.workspace is not None}

    @property
    def integrates(self) -> bool:
        """Whether velocities become positions here."""
        return (self.action_interface, self.command_interface) == ('velocity', 'position')

    @property
    def endless(self) -> tuple[str, ...]:
        """Joints of the limits whose range is not limited at both ends."""
        return tuple(limit.joint for limit in self.limits
                     if not np.isfinite((limit.min_position, limit.max_position)).all())

    @property
    def needs_positions(self) -> bool:
        """Whether the positions of the joints must be known, beyond what the policy sees."""
        within = any(np.isfinite((limit.min_position, limit.max_position)).any()
                     for limit in self.limits)
        return self.command_interface == 'position' or within or self.workspace is not None

    def approach_share(self) -> float:
        """Return from how many of the positions in the workspace `safe_pose` can be approached.

        Every joint moves straight to its goal at its own greatest speed, as `ArmCommands.safe` has
        it; a path counts if no command on it would be withheld. The start positions are random,
        with a fixed seed: inside the joint limits (within pi of the pose where a range is open) and
        inside the box.

        Returns:
            0 to 1; 1 without a workspace or a pose.
        """
        workspace = self.workspace
        if workspace is None or self.safe_action != 'pose':
            return 1.0
        pose = np.array(self.safe_pose)
        low, high, speed = np.transpose([
            (limit.min_position, limit.max_position, limit.max_velocity) for limit in self.limits])
        low = np.where(np.isfinite(low), low, pose - np.pi)
        high = np.where(np.isfinite(high), high, pose + np.pi)
        tries = np.random.default_rng(0).uniform(low, high, (_MOST_TRIES, self.size))
        starts = [start for start in tries if not workspace.distance(start)][:_STARTS]
        reached = 0
        for start in starts:
            ends_s = np.max(np.abs(pose - start) / speed)
            steps = np.linspace(0.0, ends_s, _POINTS)[:, None] * speed
            path = start + np.clip(pose - start, -steps, steps)
            reached += all(workspace.allows(to, before)
                           for before, to in zip(path, path[1:], strict=False))
        return reached / len(starts) if starts else 1.0
