# SPDX-License-Identifier: Apache-2.0
"""A policy on the frames of a bag: its actions, and the commands that it sent."""
