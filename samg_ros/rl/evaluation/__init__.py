# SPDX-License-Identifier: Apache-2.0
"""Trained policies and the episodes that measure them."""
