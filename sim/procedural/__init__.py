# SPDX-License-Identifier: Apache-2.0
"""Procedural MuJoCo scenes, for the training data of the masking model."""
