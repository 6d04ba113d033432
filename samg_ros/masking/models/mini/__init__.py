# SPDX-License-Identifier: Apache-2.0
"""The embedded models: `mini` for cameras, `mini-sim` for the simulator's clean renders."""
