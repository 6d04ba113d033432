# SPDX-License-Identifier: Apache-2.0
"""Reading weight files, strictly: what does not fit is an error that names the keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from samg_ros.errors import WeightsError
from samg_ros.files.reading import parsing
from samg_ros.files.tensors import is_finite, read_torch

SHOWN_KEYS = 5


def listed_keys(keys: list[str]) -> str:
    """Return the first keys of a list and how many more there are, for a message."""
    more = f' and {len(keys) - SHOWN_KEYS} more' if len(keys) > SHOWN_KEYS else ''
    return ', '.join(sorted(keys)[:SHOWN_KEYS]) + more


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == '.safetensors':
        with parsing(f'weights {path}: not a readable safetensors file', WeightsError,
                     'fetch or write it again'):
            state: Any = load_file(path)
    else:
        state = read_torch(path, WeightsError, 'fetch or write the weights again')
    if isinstance(state, dict) and isinstance(state.get('state_dict'), dict):
        state = state['state_dict']  # what a training run saved, with more beside it
    if not isinstance(state, dict) or not all(
            isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()):
        raise WeightsError(f'weights {path}: holds no table of tensors; use an official file')
    return state


def weight_file(name: str, weights: str | Path | None) -> Path:
    """Return the path of a model's weight file.

    Raises:
        WeightsError: if none was given.
    """
    if weights is None:
        raise WeightsError(f'model {name}: needs a weight file; download the official one and '
                           f'give it as weights, {name}=/path/to/file.pth')
    return Path(weights)


def load_strict(model: nn.Module, path: Path, official_name: Callable[[str], str] = str,
                unused: tuple[str, ...] = (), optional: tuple[str, ...] = ()) -> None:
    """Fill a model from a file.

    Args:
        model: whose parameters and buffers are overwritten.
        path: .safetensors, or .pth or .pt of tensors alone, with exactly the model's keys and
            shapes.
        official_name: from the model's own keys to the file's; messages speak of the latter.
        unused: beginnings of keys that belong in the file but that the model has no use for.
        optional: endings of keys that the file may lack; the model keeps its own.

    Raises:
        WeightsError: if the file is missing, unreadable or does not fit; it names the keys.
    """
    if not path.is_file():
        raise WeightsError(f'weights {path}: no such file; give a file, or train one with '
                           '`samg train mini`')
    state = {key: value for key, value in _read(path).items() if not key.startswith(unused)}
    wanted = {official_name(key): value for key, value in model.state_dict().items()}
    faults = []
    if missing := [key for key in wanted
                   if key not in state and not key.endswith(optional)]:
        faults.append(f'missing {listed_keys(missing)}')
    if unexpected := [key for key in state if key not in wanted]:
        faults.append(f'unexpected {listed_keys(unexpected)}')
    if wrong := [key for key, value in state.items()
                 if key in wanted and value.shape != wanted[key].shape]:
        faults.append(f'of another shape {listed_keys(wrong)}')
    if broken := [key for key in wanted if key in state and not is_finite(state[key])]:
        faults.append(f'with numbers that are not finite {listed_keys(broken)}')
    if faults:
        raise WeightsError(f'weights {path} do not fit {type(model).__name__}: '
                           f'{"; ".join(faults)}; use a file made for this architecture')
    with torch.no_grad():
        for key in state:
            wanted[key].copy_(state[key])
