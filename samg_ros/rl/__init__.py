# SPDX-License-Identifier: Apache-2.0
"""Learning on what the masker leaves: agents, replay, training loop, evaluation. No ROS."""
