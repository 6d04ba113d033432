# SPDX-License-Identifier: Apache-2.0
"""Which nodes a graph has: launch files and `samg run` read the same lists."""
