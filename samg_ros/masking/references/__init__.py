# SPDX-License-Identifier: Apache-2.0
"""From a reference to what the masker searches for: features, samples, fitted weights."""
