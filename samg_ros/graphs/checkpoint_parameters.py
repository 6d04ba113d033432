# SPDX-License-Identifier: Apache-2.0
"""What a policy's checkpoint says about the nodes before it, as their parameters.

A policy sees what it was trained on only if masker and simulated camera are those of its training,
and the checkpoint knows them.
"""

from __future__ import annotations

from typing import Any

from samg_ros.masking import MaskerSettings
from samg_ros.masking.identity import successor
from samg_ros.perception.parameters import as_parameters
from samg_ros.rl.training.checkpoint import Checkpoint


def of_perception(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the parameters of `perception`, but for its reference."""
    found: dict[str, Any] = {'fill': list(checkpoint.config.observation.fill)}
    if described := successor(checkpoint.masker):
        found |= {**as_parameters(MaskerSettings.from_dict(described['settings'])),
                  'model': described['model'], 'weights': described.get('weights') or ''}
    return found


def of_bridge(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the parameters of `mujoco_bridge` that shape frames and steps."""
    config = checkpoint.config
    return {'height': config.camera_size, 'width': config.camera_size,
            'action_repeat': config.action_repeat}
