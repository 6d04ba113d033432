# SPDX-License-Identifier: Apache-2.0
"""Figures: how good masks and policies are, and the page that shows it."""
