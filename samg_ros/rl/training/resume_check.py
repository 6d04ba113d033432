# SPDX-License-Identifier: Apache-2.0
"""Check that a run folder was made with the same settings, before training resumes in it.

A checkpoint that went on with other settings would mix two runs, and no file would show it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samg_ros.errors import CheckpointError
from samg_ros.masking.identity import differences
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.training.checkpoint import Checkpoint

if TYPE_CHECKING:
    from samg_ros.masking import Reference

_MAY_CHANGE = ('preset', 'steps')
"""Settings that a resumed run may have otherwise than its checkpoint."""


def check_same_run(
    run_dir: Path,
    checkpoint: Checkpoint,
    config: TrainConfig,
    action_low: NDArray[np.float64],
    action_high: NDArray[np.float64],
    reference: 'Reference | None',
    masker_description: dict[str, Any] | None,
    demonstrated: int,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Compare a checkpoint with what a run was started with.

    Args:
        run_dir: run folder, for the messages.
        checkpoint: what lies in it.
        config: settings of the run.
        action_low: (A,) lower limits of the commands.
        action_high: (A,) upper limits of the commands.
        reference: None takes the checkpoint's.
        masker_description: `Masker.describe()`; None takes the checkpoint's.
        demonstrated: time steps of demonstrations; 0 takes the checkpoint's.
        facts: more of what makes it this run, as the checkpoint's counters have it.

    Raises:
        CheckpointError: if they are not of one run; the message names what differs.
    """
    theirs = checkpoint.config
    if theirs.task != config.task:
        raise CheckpointError(
            f"{run_dir} holds a run of task '{theirs.task}', not '{config.task}'; choose another "
            'run folder'
        )
    before = theirs.to_dict()
    for name, value in config.to_dict().items():
        if before[name] != value and name not in _MAY_CHANGE:
            raise CheckpointError(
                f'{run_dir} holds a run with {name} {before[name]}, not {value}; keep the setting '
                'to resume it, or choose another run folder'
            )
    if not (
        np.array_equal(checkpoint.action_low, action_low)
        and np.array_equal(checkpoint.action_high, action_high)
    ):
        raise CheckpointError(
            f'{run_dir} holds a run with other action limits; choose another run folder'
        )
    true_masks = (facts or {}).get('masks') == 'truth'  # no masker had a part in it
    if masker_description is not None and not true_masks and (
            differing := differences(checkpoint.masker or {}, masker_description)):
        raise CheckpointError(
            f'{run_dir} holds a run with another masker: this one has {"; ".join(differing)}; '
            'choose another run folder'
        )
    for name, value in (facts or {}).items():
        if checkpoint.counters.get(name) != value:
            raise CheckpointError(
                f"{run_dir} holds a run with {name} '{checkpoint.counters.get(name)}', not "
                f"'{value}'; keep it to resume the run, or choose another run folder")
    known = checkpoint.counters.get('demonstrated', 0)
    if demonstrated not in (0, known):
        raise CheckpointError(
            f'{run_dir} holds a run that began with {known} demonstrated time steps, not '
            f'{demonstrated}; leave the demonstrations out to resume it, or choose another run '
            'folder'
        )
    if reference is not None:
        check_same_reference(run_dir, checkpoint.reference, reference)


def check_same_reference(
    run_dir: Path | str, theirs: 'Reference | None', ours: 'Reference'
) -> None:
    """Compare a checkpoint's reference with a given one.

    Args:
        run_dir: run folder, for the message.
        theirs: the checkpoint's, None if it has none.
        ours: the given one.

    Raises:
        CheckpointError: if they differ.
    """
    if theirs is None or not _is_same(ours, theirs):
        raise CheckpointError(
            f'{run_dir} holds a run with another reference; leave the reference out to take its '
            'own, or choose another run folder'
        )


def _is_same(ours: 'Reference', theirs: 'Reference') -> bool:
    if len(ours.parts) != len(theirs.parts):
        return False
    pairs = [(ours.image, theirs.image), (ours.mask, theirs.mask), (ours.points, theirs.points)]
    return all(
        np.array_equal(a, b) for a, b in [*pairs, *zip(ours.parts, theirs.parts, strict=True)]
    )
