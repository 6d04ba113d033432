# SPDX-License-Identifier: Apache-2.0
"""A small network from a simulator's state to an action, as plain arrays in one `.npz` file.

The file is read without pickle. Arrays: `weight_i` (out, in) and `bias_i` (out,) of each layer,
`in_shift`, `in_scale`, `out_shift` and `out_scale`. A file of this package also has `description`,
JSON that says which task it is for and what its inputs and outputs mean; a file without it is read
as DAPG's policies are (tanh between the layers, arXiv 1709.10087), and only its sizes can be
checked.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from samg_ros.errors import ExpertError, OutputError
from samg_ros.files.arrays import ArraySpec, check_arrays, read_npz
from samg_ros.files.outputs import replacing
from samg_ros.files.schema import parse_json

_FORMAT = 'samg_ros.expert'
VERSION = 1
"""Of the file and of what its numbers mean; another one is refused."""

_ADVICE = 'train it again with `samg train expert`, or give another file'
_MOST_BYTES = 2**28

_LAYER_NORM_EPSILON = 1e-5
_DAPG_EPSILON = 1e-8
"""What the published policies add to the scale of their inputs."""
INPUT_LIMIT = 10.0
"""Standard deviations at which the inputs of the package's own experts are cut off."""

Array = npt.NDArray[np.float32]
Layout = tuple[tuple[str, int], ...]
"""Names and sizes of the parts of a state, in their order."""


@dataclass(frozen=True, eq=False)
class StatePolicy:
    """A deterministic policy on a state vector."""

    weights: tuple[Array, ...]
    """(out, in) float32, one per layer."""
    biases: tuple[Array, ...]
    """(out,) float32, one per layer."""
    in_shift: Array
    """(S,) float32, subtracted from the state."""
    in_scale: Array
    """(S,) float32, by which that is divided."""
    out_shift: Array
    """(A,) float32, added to the scaled output."""
    out_scale: Array
    """(A,) float32, factor of the output."""
    task: str = ''
    """Task that it was trained on; empty if the file does not say."""
    control: str = 'action'
    """What its actions mean, of `sim.tasks.COMMAND_TOPICS`."""
    state: Layout = ()
    """What the state is made of; empty if the file does not say."""
    action_repeat: int = 1
    """Control steps per action in training."""
    facts: dict[str, Any] = field(default_factory=dict)
    """How it was trained and what it reaches, for people."""

    @property
    def normalised(self) -> bool:
        """Whether it is one of the package's own networks: layer norm and relu, tanh at the end."""
        return bool(self.task)

    def __call__(self, state: npt.ArrayLike) -> Array:
        """Return the action for a state, (A,) float32, as the task counts it.

        Args:
            state: (S,) numbers.
        """
        x, _ = self.before_tanh(state)
        if self.normalised:
            x = np.tanh(x)
        result: Array = (self.out_scale * x + self.out_shift).astype(np.float32)
        return result

    def before_tanh(self, state: npt.ArrayLike) -> tuple[Array, Array]:
        """Return what the last layer makes of a state, (A,), and what goes into it, (H,)."""
        x = np.asarray(state, np.float32) - self.in_shift
        if self.normalised:
            x = np.clip(x / self.in_scale, -INPUT_LIMIT, INPUT_LIMIT)
        else:
            x = x / (self.in_scale + np.float32(_DAPG_EPSILON))
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = weight @ x + bias
            x = np.maximum(_layer_norm(x), 0) if self.normalised else np.tanh(x)
        return self.weights[-1] @ x + self.biases[-1], x

    def save(self, path: Path | str) -> None:
        """Write the file.

        Raises:
            ExpertError: if it cannot be written.
        """
        description = {'format': _FORMAT, 'version': VERSION, 'task': self.task,
                       'control': self.control, 'state': self.state,
                       'action_repeat': self.action_repeat, 'facts': self.facts}
        arrays = {name: getattr(self, name)
                  for name in ('in_shift', 'in_scale', 'out_shift', 'out_scale')}
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            arrays[f'weight_{i}'], arrays[f'bias_{i}'] = weight, bias
        try:
            with replacing(path) as temporary, temporary.open('wb') as file:
                np.savez(file, **{**arrays, 'description': np.array(json.dumps(description))})
        except OutputError as error:
            raise ExpertError(f'the expert is not written: {error}') from error

    @classmethod
    def load(cls, path: Path | str) -> StatePolicy:
        """Read a file of `save`, or one of arrays alone.

        Raises:
            ExpertError: if there is none, or it is damaged, something else, or of another version.
        """
        path = Path(path)
        if not path.exists():
            raise ExpertError(f'there is no expert {path}; train one with `samg train expert`, or '
                              'check the path')
        arrays = read_npz(path, {'description': ArraySpec('U', ())}, ExpertError, _ADVICE,
                          _MOST_BYTES)
        facts = _description(path, arrays.pop('description', None))
        layers = sum(name.startswith('weight_') for name in arrays)
        vectors = [f'bias_{i}' for i in range(layers)] + [
            'in_shift', 'in_scale', 'out_shift', 'out_scale']
        matrices = [f'weight_{i}' for i in range(layers)]
        if missing := sorted({*matrices, *vectors} - set(arrays)):
            raise ExpertError(f"the expert {path} is not whole: it lacks '{missing[0]}'; {_ADVICE}")
        check_arrays(arrays, {name: ArraySpec('fiu', (None,)) for name in vectors}
                     | {name: ArraySpec('fiu', (None, None)) for name in matrices},
                     f'the expert {path}', ExpertError, _ADVICE)
        found = {name: array.astype(np.float32) for name, array in arrays.items()}
        expert = cls(tuple(found[name] for name in matrices),
                     tuple(found[f'bias_{i}'] for i in range(layers)),
                     found['in_shift'], found['in_scale'], found['out_shift'],
                     found['out_scale'], **facts)
        if not expert._fits():
            raise ExpertError(f'the expert {path} is not whole: its layers do not fit one another; '
                              f'{_ADVICE}')
        return expert

    def _fits(self) -> bool:
        """Whether the layers fit one another, and what the state is made of."""
        sizes = [self.in_shift.size, *(weight.shape[0] for weight in self.weights)]
        fits = bool(self.weights) and self.in_scale.shape == self.in_shift.shape
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            fits &= weight.shape[1] == sizes[i] and bias.size == sizes[i + 1]
        fits &= self.out_shift.size == self.out_scale.size == sizes[-1]
        if self.state:
            fits &= sum(size for _, size in self.state) == sizes[0]
        return fits and min(sizes) > 0


class _Description(Struct):
    """What a file of this package says of itself."""

    format: Literal['samg_ros.expert']
    version: int
    task: str
    control: str
    action_repeat: Annotated[int, Meta(ge=1, le=10_000)]
    facts: dict[str, Any]
    state: tuple[tuple[str, Annotated[int, Meta(ge=1)]], ...]


def _description(path: Path, packed: npt.NDArray[Any] | None) -> dict[str, Any]:
    if packed is None:
        return {}
    found = parse_json(str(packed), _Description, f'the description of the expert {path}',
                       ExpertError)
    if found.version != VERSION:
        raise ExpertError(f'the expert {path} has version {found.version}, this package reads '
                          f'{VERSION}; train it again, or use the package version that wrote it')
    return {name: getattr(found, name)
            for name in ('task', 'control', 'action_repeat', 'facts', 'state')}


def _layer_norm(x: Array) -> Array:
    centred = x - x.mean()
    result: Array = centred / np.sqrt(np.square(centred).mean() + np.float32(_LAYER_NORM_EPSILON))
    return result
