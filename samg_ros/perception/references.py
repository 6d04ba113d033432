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
            or run folder), which carries the one that it was trained with. A policy of several
            cameras carries one for each: CHECKPOINT/CAMERA is that of a further camera.

    Raises:
        ReferenceLoadError: if it cannot be read.
        CheckpointError: if it is a checkpoint that cannot be read, or has none.
    """
    path = Path(path)
    if _is_checkpoint(path):
        reference = load_checkpoint(path).reference
    elif not path.exists() and _is_checkpoint(path.parent):
        references = load_checkpoint(path.parent).more_references
        if path.name not in references:
            raise CheckpointError(
                f"the policy in '{path.parent}' carries no reference for a camera '{path.name}'; "
                f'it has {", ".join(references) or "none of further cameras"}')
        reference = references[path.name]
    else:
        return Reference.load(path)
    if reference is None:
        raise CheckpointError(f"the policy in '{path}' carries no reference: it was trained on "
                              'frames that nothing is cut out of; give a reference')
    return reference


def _is_checkpoint(path: Path) -> bool:
    return path.suffix == Path(CHECKPOINT_NAME).suffix or (path / CHECKPOINT_NAME).is_file()
