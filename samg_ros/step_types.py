# SPDX-License-Identifier: Apache-2.0
"""Step types of an episode, as in dm_env, and the time between two episodes."""

FIRST, MID, LAST = 0, 1, 2

BETWEEN_EPISODES_NS = 2 * 10**9
"""Simulation time that a reset takes. The gap tells `masking.tracker` that the next frame shows
another scene, and `policy.robot_clock` that the clock has jumped."""
