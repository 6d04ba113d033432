# SPDX-License-Identifier: Apache-2.0
"""Reading weight files, strictly: what does not fit is an error that names the keys."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from samg_ros.errors import WeightsError, first_line

SHOWN_KEYS = 5


def listed_keys(keys: list[str]) -> str:
    """Return the first keys of a list and how many more there are, for a message."""
    more = f' and {len(keys) - SHOWN_KEYS} more' if len(keys) > SHOWN_KEYS else ''
    return ', '.join(sorted(keys)[:SHOWN_KEYS]) + more


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == '.safetensors':
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise WeightsError(f'weights {path}: not a readable safetensors file ({error}); '
                               'fetch or write it again') from error
    try:  # weights_only: a pickle with code in it is refused, not run
        state = torch.load(path, map_location='cpu', weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError, UnpicklingError) as error:
        raise WeightsError(f'weights {path}: not a readable file of tensors alone '
                           f'({first_line(error)}); fetch it again') from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f'weights {path}: holds no table of tensors; use an official file')
    return state


def load_strict(model: nn.Module, path: Path) -> None:
    """Fill a model from a file.

    Args:
        model: whose parameters and buffers are overwritten.
        path: .safetensors, or .pth of tensors alone, with exactly the model's keys and shapes.

    Raises:
        WeightsError: if the file is missing, unreadable or does not fit; it names the keys.
    """
    if not path.is_file():
        raise WeightsError(f'weights {path}: no such file; give a file, or train one with '
                           '`samg train mini`')
    state = _read(path)
    wanted = model.state_dict()
    faults = []
    if missing := [key for key in wanted if key not in state]:
        faults.append(f'missing {listed_keys(missing)}')
    if unexpected := [key for key in state if key not in wanted]:
        faults.append(f'unexpected {listed_keys(unexpected)}')
    if wrong := [key for key, value in state.items()
                 if key in wanted and value.shape != wanted[key].shape]:
        faults.append(f'of another shape {listed_keys(wrong)}')
    if faults:
        raise WeightsError(f'weights {path} do not fit {type(model).__name__}: '
                           f'{"; ".join(faults)}; use a file made for this architecture')
    with torch.no_grad():
        model.load_state_dict({key: value.to(wanted[key].dtype) for key, value in state.items()})
