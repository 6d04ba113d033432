# SPDX-License-Identifier: Apache-2.0
"""The `command` for ros2_control's joint_trajectory_controller: a trajectory of one point."""

from __future__ import annotations

from collections.abc import Sequence

from builtin_interfaces.msg import Duration
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint


def to_trajectory(joints: Sequence[str], positions: Sequence[float], reach_s: float,
                  ) -> JointTrajectory:
    """Return a trajectory that begins when it comes and ends at the positions.

    Args:
        joints: names.
        positions: (A,) one per joint, rad or m.
        reach_s: seconds until the positions are to be reached.
    """
    seconds, rest = divmod(round(reach_s * 1e9), 10**9)
    point = JointTrajectoryPoint(
        positions=[float(value) for value in positions],
        time_from_start=Duration(sec=seconds, nanosec=rest))
    return JointTrajectory(joint_names=list(joints), points=[point])
