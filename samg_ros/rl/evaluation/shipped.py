# SPDX-License-Identifier: Apache-2.0
"""The trained policies that come with the package, by the name of their task."""

from __future__ import annotations

import difflib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from samg_ros.errors import CheckpointError
from samg_ros.rl.evaluation.actors import CHUNKS, NETWORK
from samg_ros.rl.training.checkpoint import load_checkpoint, save_checkpoint

FOLDER = Path(__file__).parents[1] / 'policies'
"""Holds TASK.pt."""

_ACTING = ('encoder', 'actor')
"""The networks that act, of a policy without chunks; the critic, the optimisers and the random
state are for learning on."""


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


def write_acting_policy(checkpoint: Path | str, path: Path | str,
                        masker: dict[str, Any] | None = None) -> Path:
    """Write the part of a checkpoint that acts: a policy to take elsewhere, not to train on.

    Weights are stored in float16 and computed with in float32, which changes an action by some
    0.001 of its range.

    Args:
        checkpoint: file or run folder.
        path: file to write.
        masker: `Masker.describe()` of the masker to run it behind; None keeps the checkpoint's.
            For a policy that learned from true masks, which belongs to no masker yet.

    Raises:
        CheckpointError: if the checkpoint cannot be read, the file not written, or the policy was
            trained behind another masker.
    """
    whole = load_checkpoint(checkpoint)
    if masker is not None:
        if whole.counters.get('masks') != 'truth':
            raise CheckpointError(f'the policy {checkpoint} was trained behind a masker; it cannot '
                                  'be given another one')
        whole.masker = masker
    chunks = {CHUNKS: whole.agent[CHUNKS]} if CHUNKS in whole.agent else {}
    whole.agent = {**chunks, **{
        name: {key: _halved(value) for key, value in whole.agent[name].items()}
        for name in ((NETWORK,) if chunks else _ACTING)}}
    whole.replay, whole.episode = {}, {}
    whole.config = replace(whole.config, start='')  # a path of the machine that trained it
    save_checkpoint(path, whole)
    return Path(path)


def _halved(weights: torch.Tensor) -> torch.Tensor:
    return weights.half() if weights.is_floating_point() else weights
