# SPDX-License-Identifier: Apache-2.0
"""From a policy's actions to the commands that an arm is sent: units, limits, safe action.

The last step before the controller, so it does not rely on any check before it: every command that
is made here keeps joint limits and workspace, safe actions included.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

from samg_ros.arm.settings import ArmSettings
from samg_ros.errors import InvalidInputError

_MARGIN = 0.05
"""How far outside joints and hand may be when the policy is enabled, rad or m: arms sag."""
LONGEST_INTERVAL_S = 0.1
"""The most time that one command makes up for: after a pause the arm must not jump."""
_SHORTEST_INTERVAL_S = 1e-9
"""For two commands at the same time; with 0, a joint without limits would get inf * 0 = nan."""
_CHECKS = 8
"""Points at which the path of a velocity command is checked against the workspace."""

Vector = npt.NDArray[np.float64]


class ArmCommands:
    """Makes the commands; each depends on the one before."""

    def __init__(self, settings: ArmSettings) -> None:
        self.settings = settings
        self.interventions: Counter[str] = Counter()
        """How many commands a limit changed, by limit."""
        self.last: Vector | None = None
        """(A,) the last command; before the first, where the joints are (velocities: 0)."""
        self._hold: Vector | None = None  # target of the safe action `hold`

        def column(name: str, without: float) -> Vector:
            if not settings.limits:
                return np.full(settings.size, without)
            return np.array([getattr(limit, name) for limit in settings.limits])

        self._low, self._high = column('min_position', -np.inf), column('max_position', np.inf)
        self._speed = column('max_velocity', np.inf)
        self._acceleration = column('max_acceleration', np.inf)
        limited = np.isfinite(self._speed) | settings.integrates
        self._lead = np.where(limited, settings.max_lead, np.inf)

    def begin(self, positions: Vector | None) -> None:
        """Begin from where the arm is now; it may have been moved by others.

        A joint that is outside its range by less than a margin is led back at `max_velocity`.

        Args:
            positions: (A,) of the joints; None where they are not needed.
        """
        self._hold = None
        if self.settings.command_interface != 'position':
            self.last = np.zeros(self.settings.size)
        else:
            self.last = None if positions is None else np.array(positions, np.float64)

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
        """Continue after safe actions, from the last one sent."""
        self._hold = None

    def act(self, action: Vector, interval_s: float, positions: Vector | None,
            speed_share: float = 1.0) -> Vector:
        """Return the command for an action, within all limits.

        Args:
            action: (A,) finite.
            interval_s: seconds since the command before.
            positions: (A,) of the joints now; None where they are not needed.
            speed_share: 0 to 1, slows down velocity actions, and the limit on the speed of position
                actions; efforts become 0 below 1.

        Returns:
            (A,) float64.
        """
        if self.settings.action_interface == 'velocity':
            action = action * speed_share
        interval_s = min(max(interval_s, _SHORTEST_INTERVAL_S), LONGEST_INTERVAL_S)
        if self.settings.command_interface == 'position':
            share = 1.0 if self.settings.integrates else speed_share
            self.last = self._position_command(action, interval_s * share, positions)
        elif self.settings.command_interface == 'velocity':
            self.last = self._limit_velocities(action, interval_s, positions)
        else:
            self.last = action if speed_share == 1.0 else np.zeros_like(action)
        return self.last

    def safe(self, interval_s: float, positions: Vector | None, *, final: bool = False,
             ) -> Vector | None:
        """Return the safe action; call it again and again while the arm is to stay safe.

        Positions keep all limits, the workspace included: where the next one would leave it, the
        last one is returned again.

        Args:
            interval_s: seconds since the command before.
            positions: (A,) of the joints now; None if they are not known.
            final: no other command will follow. Then an arm under position control is sent at once
                to stay where its joints are, `pose` too, since nothing would bring it there.

        Returns:
            (A,) float64; None before `begin` with known positions: no command is safe then.
        """
        if self.settings.command_interface != 'position':
            self.last = np.zeros(self.settings.size)
            return self.last
        if self.last is None:
            return None
        if self._hold is None or final:
            self._hold = self.last if positions is None else self._near_last(positions)
        posed = self.settings.safe_action == 'pose' and not final
        target = np.array(self.settings.safe_pose) if posed else self._hold
        if not final:
            step = self._speed * min(max(interval_s, _SHORTEST_INTERVAL_S), LONGEST_INTERVAL_S)
            target = np.clip(target, self.last - step, self.last + step)
        if self._is_allowed(target, self.last):
            self.last = target
        return self.last

    def _near_last(self, target: Vector) -> Vector:
        """Clip positions to `max_lead` from the last command, and to the range of each joint.

        A joint that is commanded to a place outside its range may stay there.
        """
        assert self.last is not None
        lead = self.settings.max_lead
        near = np.clip(target, self.last - lead, self.last + lead)
        kept: Vector = np.clip(near, np.minimum(self._low, self.last),
                               np.maximum(self._high, self.last))
        return kept

    def _position_command(self, action: Vector, interval_s: float, positions: Vector | None,
                          ) -> Vector:
        if self.last is None:
            raise InvalidInputError('call begin() with the positions of the joints before act(): '
                                    'a position command has to begin where the arm is')
        command = action
        if self.settings.integrates:
            command = self.last + interval_s * self._clip('velocity', action, -self._speed,
                                                          self._speed)
        if positions is not None:
            # A command that is further ahead already stays where it is; it does not jump back.
            command = self._clip('lead', command, np.minimum(positions - self._lead, self.last),
                                 np.maximum(positions + self._lead, self.last))
        command = self._clip('position', command, self._low, self._high)
        step = self._speed * interval_s
        command = self._clip('velocity', command, self.last - step, self.last + step)
        return command if self._is_allowed(command, self.last) else self.last

    def _limit_velocities(self, command: Vector, interval_s: float, positions: Vector | None,
                          ) -> Vector:
        command = self._clip('velocity', command, -self._speed, self._speed)
        if self.last is not None:
            step = self._acceleration * interval_s
            command = self._clip('acceleration', command, self.last - step, self.last + step)
        if positions is not None:  # last, because leaving a joint's range is what breaks an arm
            command = self._clip('position', command, -self._approach(positions - self._low),
                                 self._approach(self._high - positions))
            command = command * self._share_inside(
                command * self.settings.max_command_age_s, positions)
        return command

    def _is_allowed(self, to: Vector, start: Vector) -> bool:
        workspace = self.settings.workspace
        inside = workspace is None or workspace.allows(to, start)
        self.interventions['workspace'] += not inside
        return inside

    def _share_inside(self, path: Vector, start: Vector) -> float:
        """Return how much of a path from `start` the hand can follow inside the box, 0 to 1."""
        for check in range(_CHECKS):
            if not self._is_allowed(start + path * (check + 1) / _CHECKS, start):
                return check / _CHECKS
        return 1.0

    def _approach(self, room: Vector) -> Vector:
        """Return the speed from which a joint can still stop within the distance that is left."""
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
