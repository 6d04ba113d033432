# SPDX-License-Identifier: Apache-2.0
"""Whether the commands of a recording kept the joint limits.

`policy` limits what it sends. This looks at what arrived, with nothing but the recording and the
file of limits, so that the claim "no limit was ever exceeded" does not rest on who makes it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from samg_ros.arm.joint_limits import JointLimits
from samg_ros.bags.bag import Bag
from samg_ros.errors import BagError, ConfigError

INTERFACES = ('position', 'velocity')
"""What the numbers of a command mean, in ros2_control's words."""
ONE_COMMAND_S = 0.1
"""The most time that one command may make up for."""
_WINDOW_S = 1.0
_JITTER_S = 0.1
"""By how much the times of recording may differ from those of sending."""
_ROUNDING = 1e-9


def read_commands(bag: Bag, topic: str, joints: int,
                  ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Read the commands of a recording.

    Args:
        bag: with the topic.
        topic: Float64MultiArray, as for forward_command_controller.
        joints: values in a command.

    Returns:
        (N,) log times in seconds from the first, and (N, A) values.

    Raises:
        BagError: if there is no command, or one with another number of values.
    """
    if topic not in bag.topics:
        raise BagError(f"'{bag.path}' has no topic '{topic}'; it has "
                       f'{", ".join(sorted(bag.topics))}')
    times, values = [], []
    for _, log_time_ns, message in bag.messages([topic]):
        if len(message.data) != joints:
            raise BagError(f"a command on '{topic}' has {len(message.data)} values, the limits are "
                           f'of {joints} joints')
        times.append(log_time_ns)
        values.append(message.data)
    if not times:
        raise BagError(f"no command on '{topic}' of '{bag.path}' can be read")
    return (np.array(times) - times[0]) * 1e-9, np.array(values, np.float64)


def count_excesses(times: npt.NDArray[np.float64], commands: npt.NDArray[np.float64],
                   limits: Sequence[JointLimits], interface: str, pause_s: float = math.inf,
                   max_lead: float = 0.0) -> Counter[str]:
    """Count the commands that are beyond a limit.

    Positions have to be in range, change by no more than `max_velocity` allows in ONE_COMMAND_S,
    and over a second by no more than it allows in that time. Velocities have to be within
    `max_velocity`, and change by no more than `max_acceleration` allows in ONE_COMMAND_S, unless
    to 0, where the arm is stopped or a range ends.

    Args:
        times: (N,) when each was recorded, seconds.
        commands: (N, A) rad, rad/s, m or m/s.
        limits: A, in the order of the command.
        interface: one of INTERFACES.
        pause_s: a longer time without commands is a pause. The first command after it is not
            compared with the last one before: another program may have moved the arm meanwhile.
        max_lead: rad or m. The last position before a pause, and the last of the recording, may
            jump by so much more than `max_velocity` allows: it is a stop, which commands the arm to
            stay where its joints are, and the commands before may have been that far ahead.

    Returns:
        'joint: limit' -> number of commands; empty where all kept all limits.

    Raises:
        ConfigError: if the interface is another.
    """
    if interface not in INTERFACES:
        raise ConfigError(f"there are no limits for '{interface}' commands; expected one of "
                          f'{", ".join(INTERFACES)}')

    def column(name: str) -> npt.NDArray[np.float64]:
        return np.array([getattr(limit, name) for limit in limits]) + _ROUNDING

    speed, found = column('max_velocity'), {}
    follows = np.diff(times)[:, None] <= pause_s
    change = np.abs(np.diff(commands, axis=0))
    stop = max_lead * np.append(np.diff(times) > pause_s, True)[:, None]
    if interface == 'velocity':
        found['max_velocity'] = np.abs(commands) > speed
        found['max_acceleration'] = follows & (commands[1:] != 0) & (
            change > column('max_acceleration') * ONE_COMMAND_S)
    else:
        found['min_position'] = commands < column('min_position') - 2 * _ROUNDING
        found['max_position'] = commands > column('max_position')
        found['max_velocity'] = follows & (change > speed * ONE_COMMAND_S + stop[1:])
        found['max_velocity over a second'] = _too_fast(times, commands, speed, pause_s, stop)
    return Counter({f'{limit.joint}: {name}': int(beyond[:, joint].sum())
                    for name, beyond in found.items() for joint, limit in enumerate(limits)
                    if beyond[:, joint].any()})


def _too_fast(times: npt.NDArray[np.float64], positions: npt.NDArray[np.float64],
              speed: npt.NDArray[np.float64], pause_s: float, stop: npt.NDArray[np.float64],
              ) -> npt.NDArray[np.bool_]:
    """Return (M, A): whether a joint moved too far within _WINDOW_S, for each start of one."""
    ends = np.searchsorted(times, times + _WINDOW_S)
    starts = np.flatnonzero(ends < len(times))
    ends = ends[starts]
    pauses = np.concatenate([[0], np.cumsum(np.diff(times) > pause_s)])
    whole = pauses[ends] == pauses[starts]
    taken = (times[ends] - times[starts] + _JITTER_S)[:, None]
    result: npt.NDArray[np.bool_] = whole[:, None] & (
        np.abs(positions[ends] - positions[starts]) > speed * taken + stop[ends])
    return result
