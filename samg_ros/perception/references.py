# SPDX-License-Identifier: Apache-2.0
"""Reads a reference from wherever there is one."""

from __future__ import annotations

from pathlib import Path

from samg_ros.errors import CheckpointError
from samg_ros.masking import Reference
from samg_ros.rl.training.checkpoint import CHECKPOINT_NAME, load_checkpoint


def load_reference(path: str | Path) -> Reference:
    """Load a reference.

    Args:
        path: folder of a reference, public SAM-G reference image, or checkpoint of a policy (file
            or run folder), which carries the one that it was trained with.

    Raises:
        ReferenceLoadError: if it cannot be read.
        CheckpointError: if it is a checkpoint that cannot be read, or has none.
    """
    path = Path(path)
    if path.suffix != Path(CHECKPOINT_NAME).suffix and not (path / CHECKPOINT_NAME).is_file():
        return Reference.load(path)
    reference = load_checkpoint(path).reference
    if reference is None:
        raise CheckpointError(f"the policy in '{path}' carries no reference: it was trained on "
                              'frames that nothing is cut out of; give a reference')
    return reference
