# SPDX-License-Identifier: Apache-2.0
"""The trained policies that come with the package, by the name of their task."""

from __future__ import annotations

import difflib
from pathlib import Path

from samg_ros.errors import CheckpointError
from samg_ros.rl.training.checkpoint import load_checkpoint, save_checkpoint

FOLDER = Path(__file__).parents[1] / 'policies'
"""Holds TASK.pt."""

_ACTING = ('encoder', 'actor')
"""The networks that act; the critic, the optimisers and the random state are for learning on."""


def shipped_policies() -> tuple[str, ...]:
    """Return the tasks that the package has a policy for, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob('*.pt')))


def find_checkpoint(name: Path | str) -> Path:
    """Return the checkpoint that is meant.

    Args:
        name: a checkpoint file, a run folder, or the task of a shipped policy.

    Raises:
        CheckpointError: if it is none of them; the message names what there is.
    """
    if Path(name).exists():
        return Path(name)
    shipped = shipped_policies()
    if str(name) in shipped:
        return FOLDER / f'{name}.pt'
    close = difflib.get_close_matches(str(name), shipped, n=1, cutoff=0.5)
    known = f'; did you mean {close[0]}?' if close else \
        f'; the package has policies for {", ".join(shipped)}' if shipped else ''
    raise CheckpointError(f"there is no checkpoint '{name}'; give a checkpoint file or a run "
                          f'folder of `samg train policy`{known}')


def write_acting_policy(checkpoint: Path | str, path: Path | str) -> Path:
    """Write the part of a checkpoint that acts: a policy to take elsewhere, not to train on.

    Args:
        checkpoint: file or run folder.
        path: file to write.

    Raises:
        CheckpointError: if the checkpoint cannot be read, or the file not written.
    """
    whole = load_checkpoint(checkpoint)
    whole.agent = {name: whole.agent[name] for name in _ACTING}
    whole.replay = {}
    save_checkpoint(path, whole)
    return Path(path)
