# SPDX-License-Identifier: Apache-2.0
"""Reading weight files, strictly: what does not fit is an error that names the keys."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from samg_ros.errors import WeightsError

SHOWN_KEYS = 5


def _listed(keys: list[str]) -> str:
    more = f' and {len(keys) - SHOWN_KEYS} more' if len(keys) > SHOWN_KEYS else ''
    return ', '.join(sorted(keys)[:SHOWN_KEYS]) + more


def load_strict(model: nn.Module, path: Path) -> None:
    """Fill a model from a safetensors file.

    Args:
        model: whose parameters and buffers are overwritten.
        path: a .safetensors file with exactly the model's keys and shapes.

    Raises:
        WeightsError: if the file is missing, unreadable or does not fit; it names the keys.
    """
    if not path.is_file():
        raise WeightsError(f'weights {path}: no such file; give a file, or train one with '
                           '`samg train mini`')
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f'weights {path}: not a readable safetensors file ({error}); '
                           'fetch or write it again') from error
    wanted = model.state_dict()
    faults = []
    if missing := [key for key in wanted if key not in state]:
        faults.append(f'missing {_listed(missing)}')
    if unexpected := [key for key in state if key not in wanted]:
        faults.append(f'unexpected {_listed(unexpected)}')
    if wrong := [key for key, value in state.items()
                 if key in wanted and value.shape != wanted[key].shape]:
        faults.append(f'of another shape {_listed(wrong)}')
    if faults:
        raise WeightsError(f'weights {path} do not fit {type(model).__name__}: '
                           f'{"; ".join(faults)}; use a file made for this architecture')
    with torch.no_grad():
        model.load_state_dict({key: value.to(wanted[key].dtype) for key, value in state.items()})
