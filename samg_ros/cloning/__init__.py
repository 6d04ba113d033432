# SPDX-License-Identifier: Apache-2.0
"""Behaviour cloning: from demonstrations to a policy that predicts chunks of actions."""
