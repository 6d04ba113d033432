# SPDX-License-Identifier: Apache-2.0
"""Files of torch from elsewhere: no code runs, nothing is larger than the file, all is finite."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from samg_ros.errors import SamgError
from samg_ros.files.reading import check_readable, parsing

_DEEPEST = 32


def read_torch(path: Path, error: type[SamgError], advice: str,
               device: torch.device | str = 'cpu') -> Any:
    """Read a file of `torch.save` that holds tensors and plain types alone.

    Args:
        path: of the file.
        error: class to raise.
        advice: what the user should do if it cannot be used.
        device: of the tensors.

    Raises:
        error: if it cannot be read, is damaged, cut short or too large, needs code to be run, or a
            tensor is no plain one.
    """
    check_readable(path, error)
    with parsing(f'{path} is cut short or damaged', error, advice):
        is_archive = zipfile.is_zipfile(path)
        if is_archive:
            _check_archive(path)
        try:
            values = torch.load(path, map_location=device, weights_only=True)
        except UnpicklingError as problem:
            if not is_archive:
                raise
            raise error(f'{path} holds something else than tensors alone, which is not run; '
                        f'{advice}') from problem
        for tensor in tensors_of(values):
            _check_plain(tensor)
    return values


def tensors_of(values: Any, depth: int = 0) -> Iterator[Tensor]:
    """Yield every tensor of nested dictionaries, lists and tuples.

    Raises:
        ValueError: if they are nested too deep.
    """
    if depth > _DEEPEST:
        raise ValueError(f'it is nested more than {_DEEPEST} levels deep')
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, Mapping):
        for value in values.values():
            yield from tensors_of(value, depth + 1)
    elif isinstance(values, list | tuple):
        for value in values:
            yield from tensors_of(value, depth + 1)


def is_finite(values: Any) -> bool:
    """Whether every floating-point tensor of nested values is finite."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors_of(values)
               if tensor.is_floating_point())


def check_state(network: nn.Module, state: Any, name: str, error: type[SamgError], advice: str
                ) -> None:
    """Check that a state fits a network: names, shapes, numbers.

    Args:
        network: may be on torch's `meta` device, where its size costs nothing.
        state: what `load_state_dict` is to get.
        name: what it is, for the message.
        error: class to raise.
        advice: what the user should do if it does not fit.
    """
    wanted = network.state_dict()
    if not isinstance(state, Mapping) or not all(isinstance(each, Tensor)
                                                 for each in state.values()):
        raise error(f'{name} is no table of tensors; {advice}')
    if state.keys() != wanted.keys():
        key = sorted(map(str, state.keys() ^ wanted.keys()))[0]
        what = 'lacks' if key in wanted else 'has the unknown'
        raise error(f'{name} {what} {key}; {advice}')
    for key, tensor in state.items():
        if tensor.shape != wanted[key].shape \
                or tensor.is_floating_point() != wanted[key].is_floating_point():
            raise error(f'{name} does not fit: {key} must be {tuple(wanted[key].shape)} '
                        f'{wanted[key].dtype}, got {tuple(tensor.shape)} {tensor.dtype}; {advice}')
    if not is_finite(state):
        raise error(f'{name} holds numbers that are not finite; {advice}')


def _check_archive(path: Path) -> None:
    """Check sums, and that nothing is packed: torch packs nothing, and a bomb is."""
    with zipfile.ZipFile(path) as archive:
        if any(each.compress_type != zipfile.ZIP_STORED for each in archive.infolist()):
            raise ValueError('it is a compressed archive, which torch.save does not write')
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f'checksum of {damaged} is wrong')


def _check_plain(tensor: Tensor) -> None:
    """Check that a tensor is of ordinary memory, and no larger than what holds its numbers."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex() \
            or tensor.device.type == 'meta' or type(tensor) not in (Tensor, nn.Parameter):
        raise ValueError(f'it holds a tensor that is no plain one ({tensor.layout})')
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError('a tensor claims more numbers than the file has')
