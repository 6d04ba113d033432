# SPDX-License-Identifier: Apache-2.0
"""From a policy's actions to what an arm may be sent: units, limits, and the safe action.

The last thing before the controller, so it trusts nothing in front of it: a command that leaves
here keeps the joint limits, whatever the policy said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from samg_ros.arm.joint_limits import JointLimits
from samg_ros.arm.workspace import Workspace
from samg_ros.errors import ConfigError

INTERFACES = ('position', 'velocity', 'effort')
"""What a number of a command means, in ros2_control's words."""
SAFE_ACTIONS = ('hold', 'zero', 'pose')

_MARGIN = 0.05
"""How far out of range joints and hand may be to begin with, rad or m: they may sag."""
LONGEST_INTERVAL_S = 0.1
"""The most time that one command makes up for: after a pause the arm must not jump."""
_SHORTEST_INTERVAL_S = 1e-9
"""A joint without limits has none between two commands of one moment either, and inf * 0 is nan."""
_LOOKS = 8
"""On the way that a velocity may take the hand, this often it has to be in the workspace."""

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ArmSettings:
    """How actions become commands.

    Raises:
        ConfigError: if the settings contradict each other.
    """

    size: int
    """Numbers in an action, and in a command."""
    max_command_age_s: float = field(kw_only=True)
    """How long a command may stand with no other after it: until the watchdog's safe action."""
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
    pose: go to `safe_pose`. Positions change no faster than max_velocity then too; velocities
    become 0 at once."""
    safe_pose: tuple[float, ...] = ()
    """Joint positions, rad or m."""
    max_lead: float = 0.3
    """How far integrated positions may get ahead of the joints, rad or m, so that an arm that is
    held does not store up motion; and how far from the last command `hold` may be."""

    def __post_init__(self) -> None:
        if self.joints and len(self.joints) != self.size:
            raise ConfigError(
                f'the policy has {self.size} actions, but there are {len(self.joints)} joints '
                f'({", ".join(self.joints)}); name those of the command, one for each action, in '
                "the parameter 'joints'")
        if not self.joints and self.needs_positions:
            raise ConfigError(f'{self.command_interface} commands need the names of the joints: '
                              "set the parameter 'joints', or 'limits'")
        taken, wanted = self.action_interface, self.command_interface
        if taken != wanted and not self.integrates:
            raise ConfigError(f'actions that are {taken} cannot become {wanted} commands; only '
                              'velocities can, for a position controller')
        if wanted == 'position':
            self._check_position()
        elif self.safe_action == 'pose' or (self.safe_action, wanted) == ('hold', 'effort'):
            raise ConfigError(f"safe_action '{self.safe_action}' is not possible with {wanted} "
                              "commands; take 'zero'")
        if wanted == 'effort' and (self.limits or self.workspace is not None):
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
        if np.isfinite([limit.max_acceleration for limit in self.limits]).any():
            raise ConfigError('max_acceleration is not enforced for position commands; set '
                              'has_acceleration_limits to false and let the controller keep it')

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


class ArmCommands:
    """Makes one command after another; remembers the last one."""

    def __init__(self, settings: ArmSettings) -> None:
        self.settings = settings
        self.interventions: Counter[str] = Counter()
        """How many commands a limit changed, by limit."""
        self.last: Vector | None = None
        """(A,) the last command, or where to begin from."""
        self._hold: Vector | None = None

        def column(name: str, without: float) -> Vector:
            if not settings.limits:
                return np.full(settings.size, without)
            return np.array([getattr(limit, name) for limit in settings.limits])

        self._low, self._high = column('min_position', -np.inf), column('max_position', np.inf)
        self._speed = column('max_velocity', np.inf)
        self._acceleration = column('max_acceleration', np.inf)

    def begin(self, positions: Vector | None) -> None:
        """Begin from where the arm is; others may have moved it.

        Args:
            positions: (A,) of the joints; None where they are not needed.
        """
        self._hold = None
        if self.settings.command_interface != 'position':
            self.last = np.zeros(self.settings.size)
        else:
            self.last = None if positions is None else np.clip(positions, self._low, self._high)

    def outside(self, positions: Vector) -> str | None:
        """Say in one line what is not within position limits and workspace, else None."""
        workspace = self.settings.workspace
        if workspace is not None and workspace.distance(positions) > _MARGIN:
            hand = ', '.join(f'{value:.3f}' for value in workspace.hand(positions))
            return f'the hand is at ({hand}) m, outside the workspace; move it inside by hand'
        out = (positions < self._low - _MARGIN) | (positions > self._high + _MARGIN)
        if not out.any():
            return None
        i = int(out.argmax())
        return (f"joint '{self.settings.joints[i]}' is at {positions[i]:.4g}, outside its limits "
                f'{self._low[i]:.4g} to {self._high[i]:.4g}; move it there by hand')

    def resume(self) -> None:
        """Go on after safe actions, from the last of them."""
        self._hold = None

    def act(self, action: Vector, interval_s: float, positions: Vector | None) -> Vector:
        """Return the command for an action, within all limits.

        Args:
            action: (A,) finite.
            interval_s: seconds since the command before.
            positions: (A,) of the joints now; None where they are not needed.

        Returns:
            (A,) float64.
        """
        interval_s = min(max(interval_s, _SHORTEST_INTERVAL_S), LONGEST_INTERVAL_S)
        command = action
        if self.settings.integrates:
            assert self.last is not None and positions is not None
            lead = self.settings.max_lead
            velocity = self._clip('velocity', action, -self._speed, self._speed)
            command = self._clip(
                'lead', self.last + velocity * interval_s, np.minimum(positions - lead, self.last),
                np.maximum(positions + lead, self.last))  # further ahead it stays, and never jumps
        return self._limit(command, interval_s, positions)

    def safe(self, interval_s: float, positions: Vector | None, *, final: bool = False,
             ) -> Vector | None:
        """Return the safe action; call it again and again while the arm is to stay safe.

        Args:
            interval_s: seconds since the command before.
            positions: (A,) of the joints now; None if they are not known.
            final: nothing will be sent after this one, so a pose far away is no place to send
                the arm to: it holds.

        Returns:
            (A,) float64; None before `begin` with known positions: saying nothing is safe then.
        """
        if self.settings.command_interface != 'position':
            self.last = np.zeros(self.settings.size)
            return self.last
        if self.last is None:
            return None
        if self._hold is None:
            lead, here = self.settings.max_lead, self.last if positions is None else positions
            self._hold = np.clip(np.clip(here, self.last - lead, self.last + lead), self._low,
                                 self._high)
        posed = self.settings.safe_action == 'pose' and not final
        target = np.array(self.settings.safe_pose) if posed else self._hold
        step = self._speed * min(interval_s, LONGEST_INTERVAL_S)
        self.last = np.clip(target, self.last - step, self.last + step)
        return self.last

    def _limit(self, command: Vector, interval_s: float, positions: Vector | None) -> Vector:
        if self.settings.command_interface == 'position':
            self.last = self._limit_positions(command, interval_s)
        elif self.settings.command_interface == 'velocity':
            self.last = self._limit_velocities(command, interval_s, positions)
        else:
            self.last = command
        return self.last

    def _limit_positions(self, command: Vector, interval_s: float) -> Vector:
        command = self._clip('position', command, self._low, self._high)
        if self.last is None:
            return command
        step = self._speed * interval_s
        command = self._clip('velocity', command, self.last - step, self.last + step)
        return command if self._stays_inside(command, self.last) else self.last

    def _limit_velocities(self, command: Vector, interval_s: float, positions: Vector | None,
                          ) -> Vector:
        command = self._clip('velocity', command, -self._speed, self._speed)
        if self.last is not None:
            step = self._acceleration * interval_s
            command = self._clip('acceleration', command, self.last - step, self.last + step)
        if positions is not None:  # last, as the end of a joint's range is what breaks things
            command = self._clip('position', command, -self._approach(positions - self._low),
                                 self._approach(self._high - positions))
            command = command * self._share_inside(
                command * self.settings.max_command_age_s, positions)
        return command

    def _stays_inside(self, to: Vector, start: Vector) -> bool:
        workspace = self.settings.workspace
        inside = workspace is None or workspace.allows(to, start)
        self.interventions['workspace'] += not inside
        return inside

    def _share_inside(self, way: Vector, start: Vector) -> float:
        """How much of a way the hand can go and stay inside, 0 to 1."""
        for look in range(_LOOKS):
            if not self._stays_inside(start + way * (look + 1) / _LOOKS, start):
                return look / _LOOKS
        return 1.0

    def _approach(self, room: Vector) -> Vector:
        """The speed from which a joint can still stop within the room that is left."""
        room, wait = np.maximum(room, 0.0), self.settings.max_command_age_s
        limited = np.isfinite(self._acceleration) & np.isfinite(room)
        speed = room / wait
        # The greatest v with v * wait + v^2 / (2 a) <= room: no other command may come.
        a = self._acceleration[limited]
        speed[limited] = a * (np.sqrt(wait**2 + 2 * room[limited] / a) - wait)
        return speed

    def _clip(self, limit: str, command: Vector, low: Vector, high: Vector) -> Vector:
        clipped: Vector = np.clip(command, low, high)
        self.interventions[limit] += bool((clipped != command).any())
        return clipped


def joint_positions(names: Sequence[str], positions: Sequence[float], joints: Sequence[str],
                    ) -> Vector | None:
    """Pick joints out of a joint state.

    Args:
        names: as in sensor_msgs/JointState.
        positions: one per name.
        joints: which, in the order wanted.

    Returns:
        (A,) float64; None if one is missing or not finite.
    """
    found = dict(zip(names, positions, strict=False))
    values = np.array([found.get(joint, np.nan) for joint in joints], dtype=np.float64)
    return values if np.isfinite(values).all() else None
