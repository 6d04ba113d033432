# SPDX-License-Identifier: Apache-2.0
"""How `mini` is made: procedural scenes in, weights out."""
