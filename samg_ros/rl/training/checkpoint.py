# SPDX-License-Identifier: Apache-2.0
"""One file from which a run resumes and a policy runs anywhere.

It carries the observation spec, the reference and the masker's settings beside the networks, so
that no second configuration has to agree with it. It holds tensors and plain types only, so
that reading one can run no code.
"""

import io
import json
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from samg_ros.device import usable_device
from samg_ros.errors import CheckpointError, ConfigError, OutputError
from samg_ros.files.outputs import write_bytes
from samg_ros.rl.config import TrainConfig

if TYPE_CHECKING:
    from samg_ros.masking import Reference

CHECKPOINT_NAME = 'checkpoint.pt'
"""Name of the checkpoint in a run folder."""

_FORMAT = 'samg_ros.policy'
_VERSION = 1


@dataclass
class Checkpoint:
    """What a checkpoint holds."""

    config: TrainConfig
    """Settings of the run, the ObservationSpec among them."""
    action_low: NDArray[np.float64]
    """(A,) lower limits of the commands."""
    action_high: NDArray[np.float64]
    """(A,) upper limits of the commands."""
    agent: dict[str, Any]
    """Networks, optimisers and random state, from the agent's `state_dict`."""
    reference: 'Reference | None' = None
    """What the masker was fitted to; None for a policy on raw frames."""
    masker: dict[str, Any] | None = None
    """`Masker.describe()`; None for a policy on raw frames."""
    replay: dict[str, Any] = field(default_factory=dict)
    """Count and random state of the replay."""
    counters: dict[str, Any] = field(default_factory=dict)
    """Agent steps, updates, episodes, seconds of training."""
    episode: dict[str, Any] = field(default_factory=dict)
    """The episode under way, and what a resumed run needs to go on in it."""

    @property
    def episodes_begun(self) -> int:
        """Episodes that were entered, the present one among them.

        Checkpoints of older versions know only those that had ended.
        """
        begun: int = self.episode.get('begun', self.counters.get('episodes', 0))
        return begun


def save_checkpoint(path: Path | str, checkpoint: Checkpoint) -> None:
    """Write a checkpoint whole or not at all; an older one stays until the new one is safe.

    Raises:
        CheckpointError: if the file cannot be written, or the networks are no longer finite.
    """
    path = Path(path)
    if not _is_finite(checkpoint.agent):
        raise diverged(path)
    values = {
        'format': _FORMAT,
        'version': _VERSION,
        'config': json.dumps(checkpoint.config.to_dict()),
        'action_low': torch.tensor(np.asarray(checkpoint.action_low, dtype=np.float64)),
        'action_high': torch.tensor(np.asarray(checkpoint.action_high, dtype=np.float64)),
        'reference': _pack_reference(checkpoint.reference),
        'masker': None if checkpoint.masker is None else json.dumps(checkpoint.masker),
        'agent': checkpoint.agent,
        'replay': checkpoint.replay,
        'counters': checkpoint.counters,
        'episode': checkpoint.episode,
    }
    buffer = io.BytesIO()
    torch.save(values, buffer)
    try:
        write_bytes(path, buffer.getbuffer())
    except OutputError as error:
        raise CheckpointError(
            f'cannot write the checkpoint: {error}; the previous one, if any, is untouched'
        ) from error


def diverged(path: Path | str) -> CheckpointError:
    """Return the error that says that a run's networks are of no use any more."""
    return CheckpointError(
        'training diverged: the networks hold values that are not finite; an earlier checkpoint '
        f'{path}, if any, is untouched; train again with a lower learning_rate or reward_scale'
    )


def load_checkpoint(path: Path | str, device: str = 'cpu') -> Checkpoint:
    """Read a checkpoint.

    Args:
        path: the file, or the run folder that holds it.
        device: torch device of the tensors.

    Raises:
        CheckpointError: if there is none, or it is cut short, damaged or something else.
        ConfigError: if the device cannot be used.
    """
    where = usable_device(device)
    path = Path(path)
    if path.is_dir():
        path = path / CHECKPOINT_NAME
    if not path.is_file():
        raise CheckpointError(f'there is no checkpoint {path}; train one, or check the path')
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f'checksum of {damaged} is wrong')
        values = torch.load(path, map_location=where, weights_only=True)
    except (
        zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError
    ) as error:
        raise CheckpointError(
            f'the checkpoint {path} is cut short or damaged ({str(error).splitlines()[0]}); '
            'restore it, or start a new run in another folder'
        ) from error
    if not isinstance(values, Mapping) or values.get('format') != _FORMAT:
        raise CheckpointError(f'{path} is not a policy checkpoint of samg_ros')
    if values['version'] != _VERSION:
        raise CheckpointError(
            f"the checkpoint {path} has format version {values['version']}, this package reads "
            f'{_VERSION}; use the package version that wrote it'
        )
    try:
        config = TrainConfig.from_dict(json.loads(values['config']))
    except ConfigError as error:
        raise CheckpointError(
            f'the checkpoint {path} does not fit this package: {error}'
        ) from error
    return Checkpoint(
        config=config,
        action_low=values['action_low'].cpu().numpy(),
        action_high=values['action_high'].cpu().numpy(),
        agent=values['agent'],
        reference=_unpack_reference(values['reference']),
        masker=None if values['masker'] is None else json.loads(values['masker']),
        replay=values['replay'],
        counters=values['counters'],
        episode=values.get('episode', {}),  # checkpoints of older versions have none
    )


def _pack_reference(reference: 'Reference | None') -> dict[str, Any] | None:
    if reference is None:
        return None
    return {
        'image': torch.tensor(np.asarray(reference.image)),
        'mask': torch.tensor(np.asarray(reference.mask)),
        'parts': [torch.tensor(np.asarray(part)) for part in reference.parts],
        'points': torch.tensor(np.asarray(reference.points)),
        'source': str(reference.source),
    }


def _unpack_reference(values: dict[str, Any] | None) -> 'Reference | None':
    if values is None:
        return None
    from samg_ros.masking import Reference

    return Reference(
        image=values['image'].cpu().numpy(),
        mask=values['mask'].cpu().numpy(),
        parts=tuple(part.cpu().numpy() for part in values['parts']),
        points=values['points'].cpu().numpy(),
        source=values['source'],
    )


def _is_finite(state: Any) -> bool:
    """Whether every floating-point tensor of a nested state is finite."""
    if isinstance(state, dict):
        return all(_is_finite(value) for value in state.values())
    return not (isinstance(state, torch.Tensor) and state.is_floating_point()) or bool(
        torch.isfinite(state).all()
    )
