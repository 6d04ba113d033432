# SPDX-License-Identifier: Apache-2.0
"""Commands, joint limits and workspace of an arm. No ROS."""
