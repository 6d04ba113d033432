# SPDX-License-Identifier: Apache-2.0
"""The commands of `samg` that train and evaluate policies."""
