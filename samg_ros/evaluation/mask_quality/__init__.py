# SPDX-License-Identifier: Apache-2.0
"""How good masks are: on rendered tasks and on recorded sequences with true masks."""
