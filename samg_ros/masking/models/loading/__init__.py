# SPDX-License-Identifier: Apache-2.0
"""Reading weight files, and making networks with random weights."""
