# SPDX-License-Identifier: Apache-2.0
"""Training: settings, learner, rollouts, checkpoints."""
