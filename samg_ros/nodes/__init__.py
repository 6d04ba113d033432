# SPDX-License-Identifier: Apache-2.0
"""The ROS nodes, one file each, and what they share. The only part that imports rclpy."""
