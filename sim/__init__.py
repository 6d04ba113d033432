# SPDX-License-Identifier: Apache-2.0
"""MuJoCo side of samg_ros: tasks, visual settings, Gymnasium environment and bridge node."""
