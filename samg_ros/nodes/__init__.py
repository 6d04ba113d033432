# SPDX-License-Identifier: Apache-2.0
"""The ROS nodes, one file each."""
