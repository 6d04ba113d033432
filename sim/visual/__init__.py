# SPDX-License-Identifier: Apache-2.0
"""The visual settings: colours, videos, nuisances."""
