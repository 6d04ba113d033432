# SPDX-License-Identifier: Apache-2.0
"""The replay buffer and demonstrations."""
