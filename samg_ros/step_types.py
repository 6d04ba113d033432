# SPDX-License-Identifier: Apache-2.0
"""Step types of an episode, as in dm_env."""

FIRST, MID, LAST = 0, 1, 2
