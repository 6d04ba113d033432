# SPDX-License-Identifier: Apache-2.0
"""Step types of an episode, as in dm_env, and the time between two episodes."""

FIRST, MID, LAST = 0, 1, 2

BETWEEN_EPISODES_NS = 10**9
"""Simulation time that a reset takes. By such a gap between stamps whoever looks for an object
where it was in the frame before (`masking.tracker`) knows that this frame is of another scene."""
