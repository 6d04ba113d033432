# SPDX-License-Identifier: Apache-2.0
"""Demonstrations of an arm: from recorded bags to episodes, and LeRobot data sets."""
