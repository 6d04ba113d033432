# SPDX-License-Identifier: Apache-2.0
"""The commands of `samg` that start a graph in one process."""
