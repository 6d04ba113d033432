# SPDX-License-Identifier: Apache-2.0
"""One file from which a run resumes and a policy runs anywhere.

It carries the observation spec, the reference and the masker's settings beside the networks, so
that no second configuration has to agree with it. It holds tensors and plain types only, so
that reading one can run no code.
"""

import io
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import cv2
import numpy as np
import torch
from msgspec import Meta, Struct
from numpy.typing import NDArray
from torch import Tensor

from samg_ros.device import usable_device
from samg_ros.errors import CheckpointError, ConfigError, InvalidInputError, OutputError, plain
from samg_ros.files.outputs import write_bytes
from samg_ros.files.pictures import decode_picture
from samg_ros.files.reading import parsing
from samg_ros.files.schema import convert, parse_json
from samg_ros.files.tensors import is_finite, read_torch
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.data.actions import action_limits

if TYPE_CHECKING:
    from samg_ros.masking import Reference

CHECKPOINT_NAME = 'checkpoint.pt'
"""Name of the checkpoint in a run folder."""

_FORMAT = 'samg_ros.policy'
_VERSION = 1
_ADVICE = 'restore the checkpoint, or start a new run in another folder'


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
    more_references: dict[str, 'Reference'] = field(default_factory=dict)
    """Further camera -> what its masker was fitted to."""
    masker: dict[str, Any] | None = None
    """`Masker.describe()`; None for a policy on raw frames."""
    replay: dict[str, Any] = field(default_factory=dict)
    """Count and random state of the replay."""
    counters: dict[str, Any] = field(default_factory=dict)
    """Agent steps, updates, episodes, seconds of training."""
    episode: dict[str, Any] = field(default_factory=dict)
    """The unfinished episode: what a resumed run needs to go on in it."""

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
    if not is_finite(checkpoint.agent):
        raise diverged(path)
    values = {
        'format': _FORMAT,
        'version': _VERSION,
        'config': json.dumps(checkpoint.config.to_dict()),
        'action_low': torch.tensor(np.asarray(checkpoint.action_low, dtype=np.float64)),
        'action_high': torch.tensor(np.asarray(checkpoint.action_high, dtype=np.float64)),
        'reference': _pack_reference(checkpoint.reference),
        'more_references': {camera: _pack_reference(reference) for camera, reference
                            in checkpoint.more_references.items()},
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


def resuming(run_dir: Path) -> AbstractContextManager[None]:
    """Turn errors of taking over a checkpoint's state, in the block, into one line."""
    return parsing(f'the run in {run_dir} cannot be resumed', CheckpointError, _ADVICE)


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
    if not path.exists():
        raise CheckpointError(f'there is no checkpoint {path}; train one, or check the path')
    values = read_torch(path, CheckpointError, _ADVICE, where)
    if not isinstance(values, Mapping) or values.get('format') != _FORMAT:
        raise CheckpointError(f'{path} is not a policy checkpoint of samg_ros')
    if values.get('version') != _VERSION:
        raise CheckpointError(
            f"the checkpoint {path} has format version {plain(values.get('version'), 20)}, this "
            f'package reads {_VERSION}; use the package version that wrote it'
        )
    found = convert(dict(values), _File, f'the checkpoint {path}', CheckpointError, finite=False)
    if not is_finite(found.agent):
        raise CheckpointError(
            f'the networks of {path} hold values that are not finite; {_ADVICE}'
        )
    try:
        return _checkpoint(found, path)
    except (ConfigError, InvalidInputError) as error:
        raise CheckpointError(
            f'the checkpoint {path} does not fit this package: {error}'
        ) from error


class _Reference(Struct):
    """A reference as the file holds it."""

    image: Tensor
    mask: Tensor
    parts: list[Tensor]
    points: Tensor
    source: str


Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0)]


class _Replay(TypedDict, total=False):
    """What the replay's files do not hold themselves."""

    count: Count
    rng: str


class _Counters(TypedDict, total=False):
    steps: Count
    updates: Count
    episodes: Count
    seconds: Seconds
    demonstrated: Count
    done: bool
    masks: str
    expert: str


_Episode = TypedDict('_Episode', {
    'begun': Count, 'action': Tensor | None, 'return': float, 'steps': Count,
    'returns': list[float]}, total=False)
"""Which of these there are depends on what was trained, and by which version."""


class _File(Struct):
    """The fields of a checkpoint file."""

    config: str
    action_low: Tensor
    action_high: Tensor
    agent: dict[str, Any]
    reference: _Reference | None
    masker: str | None
    replay: dict[str, Any]
    counters: dict[str, Any]
    episode: dict[str, Any] = {}  # older versions had none, nor the next one
    more_references: dict[str, _Reference] = {}


def _checkpoint(found: _File, path: Path) -> Checkpoint:
    """Check what the fields mean.

    Raises:
        ConfigError: if settings or action limits are not usable.
        InvalidInputError: if the reference is not.
        CheckpointError: if something else is not.
    """
    name = f'the checkpoint {path}'
    config = parse_json(found.config, dict[str, Any], f'config of {name}', CheckpointError)
    masker = None if found.masker is None else parse_json(
        found.masker, dict[str, Any], f'masker of {name}', CheckpointError)
    for what, values, kind in (('replay', found.replay, _Replay),
                               ('counters', found.counters, _Counters),
                               ('episode', found.episode, _Episode)):
        # Further ones are kept: which there are depends on what was trained.
        convert(values, kind, f'{what} of {name}', CheckpointError, finite=False)
    low, high = action_limits(_numbers(found.action_low), _numbers(found.action_high))
    action = found.episode.get('action')
    if found.action_low.ndim != 1 or found.action_high.ndim != 1 or (
            action is not None and (action.shape != low.shape or not is_finite(action))):
        raise CheckpointError(
            f'{name} has actions of another size than their limits; {_ADVICE}'
        )
    convert({**found.episode, 'action': None}, dict[str, Any], f'episode of {name}',
            CheckpointError)
    return Checkpoint(
        config=TrainConfig.from_dict(config),
        action_low=low,
        action_high=high,
        agent=found.agent,
        reference=None if found.reference is None else _unpack_reference(found.reference),
        more_references={camera: _unpack_reference(each)
                         for camera, each in found.more_references.items()},
        masker=masker,
        replay=found.replay,
        counters=convert(found.counters, dict[str, Any], f'counters of {name}', CheckpointError),
        episode=found.episode,
    )


def _numbers(tensor: Tensor) -> NDArray[Any]:
    numbers: NDArray[Any] = tensor.detach().cpu().numpy()
    return numbers


def _pack_reference(reference: 'Reference | None') -> dict[str, Any] | None:
    if reference is None:
        return None
    return {
        'image': _png(cv2.cvtColor(np.asarray(reference.image), cv2.COLOR_RGB2BGR)),
        'mask': _png(_grey(reference.mask)),
        'parts': [_png(_grey(part)) for part in reference.parts],
        'points': torch.tensor(np.asarray(reference.points)),
        'source': str(reference.source),
    }


def _unpack_reference(found: _Reference) -> 'Reference':
    from samg_ros.masking import Reference

    return Reference(
        image=_picture(found.image),
        mask=_mask(found.mask),
        parts=tuple(map(_mask, found.parts)),
        points=_numbers(found.points),
        source=found.source,
    )


def _png(picture: NDArray[np.uint8]) -> Tensor:
    """Return the bytes of a lossless picture: a tenth of the pixels' size."""
    return torch.from_numpy(cv2.imencode('.png', picture)[1].ravel())


def _grey(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.asarray(mask, np.uint8) * 255


def _picture(stored: Tensor) -> NDArray[Any]:
    """Return (H, W, 3) RGB of a PNG, or of the pixels that older versions wrote."""
    if stored.ndim != 1:
        return _numbers(stored)
    return cv2.cvtColor(decode_picture(_bytes(stored)), cv2.COLOR_BGR2RGB)


def _mask(stored: Tensor) -> NDArray[Any]:
    """Return (H, W) bool, likewise."""
    if stored.ndim != 1:
        return _numbers(stored)
    mask: NDArray[np.bool_] = decode_picture(_bytes(stored), cv2.IMREAD_GRAYSCALE) > 0
    return mask


def _bytes(stored: Tensor) -> bytes:
    return _numbers(stored.to(torch.uint8)).tobytes()
