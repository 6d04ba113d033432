# SPDX-License-Identifier: Apache-2.0
"""Stands in for a person who moves a leader arm: the scripted expert, over the same topic.

It sees the simulator's state, and publishes what a leader arm publishes: joint positions that the
arm is to follow. So what records, limits and learns from a person can be tried without one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from builtin_interfaces.msg import Time
from sensor_msgs.msg import JointState
from std_msgs.msg import Header

from samg_ros.ros import qos
from samg_ros.ros.parameters import declare
from samg_ros.sim.tasks.experts import make_scripted_operator

if TYPE_CHECKING:
    from rclpy.node import Node

    from samg_ros.sim.env import SimEnv
    from samg_ros.sim.sim_step import SimStep

_LEAD = 0.2
"""How far the leader gets ahead of the arm, rad: a person waits for an arm that lags behind."""
_REACHED_M = 0.02
"""Distance from the target at which the goal is reached."""
_TREMOR_S = 0.5
"""Time constant of the hand's tremor."""


class ScriptedOperator:
    """Publishes the leader's joint positions on `leader/joint_states`, one for each step."""

    def __init__(self, node: Node, env: SimEnv, publisher: Callable[[Any, str], Any]) -> None:
        """Declare the parameters, and the topic if there is an operator.

        Args:
            node: owns the parameters.
            env: of a task with a scripted expert, if the parameter `operator` is true.
            publisher: makes a publisher of a message type and a topic.

        Raises:
            ExpertError: if there is no scripted expert for the task.
        """
        wanted = declare(node, 'operator', False, 'Whether a scripted expert publishes joint '
                         'positions on leader/joint_states, as the leader arm of a person.')
        self._goal_s = declare(
            node, 'operator_goal_s', 0.0, 'Mean seconds until the target goes to another place, as '
            'it also does once it is reached: more goals in each recorded episode; 0 for one.',
            between=(0.0, 1000.0))
        self._tremor = declare(
            node, 'operator_tremor', 0.0, "Standard deviation of the operator's random motion, as "
            'a share of the greatest speed of each joint.', between=(0.0, 1.0))
        self._publisher: Any = None
        self._leader: npt.NDArray[np.float64] | None = None
        if not wanted:
            return
        self._expert = make_scripted_operator(env)
        self._publisher = publisher(JointState, 'leader/joint_states')
        self._env = env
        self._rng = np.random.default_rng(node.get_parameter('seed').value)
        self._period_s = env.control_period_ns * 1e-9

    def publish(self, step: SimStep, stamp: Time) -> None:
        """Publish where the leader is after a step."""
        if self._publisher is None or not qos.has_subscribers(self._publisher):
            self._leader = None
            return
        positions = step.joint_positions[:len(self._expert.highest)]
        if self._leader is None or step.first:
            self._leader, self._noise = positions.copy(), np.zeros_like(positions)
        if self._goal_s and (self._expert.distance < _REACHED_M
                             or self._rng.random() < self._period_s / self._goal_s):
            self._expert.vary(self._rng)
        decay = np.exp(-self._period_s / _TREMOR_S)
        self._noise = decay * self._noise + np.sqrt(1 - decay**2) * self._rng.standard_normal(
            positions.shape)
        speeds = self._expert.act()
        moving = speeds != 0  # fingers that are left alone do not tremble
        speeds = speeds + moving * self._tremor * self._noise * self._expert.highest
        leader = self._leader + self._period_s * speeds
        self._leader = np.clip(leader, positions - _LEAD, positions + _LEAD)
        self._publisher.publish(JointState(
            header=Header(stamp=stamp), name=list(step.joint_names[:len(positions)]),
            position=self._leader.tolist()))
