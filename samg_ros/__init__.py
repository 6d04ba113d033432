# SPDX-License-Identifier: Apache-2.0
"""SAM-G for ROS 2: visual policies that see only what matters."""

__version__ = '0.1.0'
