# SPDX-License-Identifier: Apache-2.0
"""The parts of the node teleop: what a person drives an arm with."""
