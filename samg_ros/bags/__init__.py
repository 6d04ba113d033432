# SPDX-License-Identifier: Apache-2.0
"""Figures from recorded bags, without ROS: reading, also of damaged bags, masking, replaying."""
