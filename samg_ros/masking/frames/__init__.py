# SPDX-License-Identifier: Apache-2.0
"""From a frame to its mask: similarity, prompts, decoder passes."""
