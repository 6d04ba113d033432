# SPDX-License-Identifier: Apache-2.0
"""Checks of arguments that several modules share: what does not fit is named and explained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from samg_ros.errors import InvalidInputError, first_line

MIN_SIDE = 16
MAX_ASPECT = 16
"""Of frames and references: beyond it the shorter side has less than a pixel of a model's input."""


def is_whole(value: object, low: int, high: float = float('inf')) -> bool:
    """Return whether a value is an int, not a bool, from low to high."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def check_size(name: str, height: int, width: int) -> None:
    """Raise InvalidInputError if a picture is too small or too long to be looked at."""
    if min(height, width) < MIN_SIDE or max(height, width) > MAX_ASPECT * min(height, width):
        raise InvalidInputError(
            f'{name}: {height} x {width} pixels; expected at least {MIN_SIDE} x {MIN_SIDE}, and '
            f'one side at most {MAX_ASPECT} times the other')


def checked_frames(frames: npt.NDArray[np.uint8] | Tensor) -> Tensor:
    """Return (N, H, W, 3) uint8 RGB frames as a tensor, on the device they are on.

    Raises:
        InvalidInputError: if they are anything else.
    """
    if not isinstance(frames, (np.ndarray, Tensor)):
        raise InvalidInputError(f'frames: {type(frames).__name__}; expected a numpy array or '
                                'torch tensor of (N, H, W, 3) uint8 RGB')
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype not in (np.uint8, torch.uint8):
        raise InvalidInputError(f'frames: shape {tuple(frames.shape)}, dtype {frames.dtype}; '
                                'expected (N, H, W, 3) uint8 RGB (one frame: frame[None])')
    check_size('frames', *frames.shape[1:3])
    if isinstance(frames, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(frames))
    return frames


def checked_array(value: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    """Return a value as an array; raise InvalidInputError if it cannot be one."""
    try:
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InvalidInputError(f'{name}: no array ({first_line(error)}); give one of numbers'
                                ) from error


def checked_path(value: str | Path, name: str) -> Path:
    """Return a path; raise InvalidInputError if the value cannot be one."""
    if not isinstance(value, (str, Path)) or '\0' in str(value):
        raise InvalidInputError(f'{name} {value!r}: expected a path')
    path = Path(value)
    try:
        path.exists()
    except OSError as error:
        raise InvalidInputError(f'{name}: no path can be so ({first_line(error)[:60]} ...); give '
                                'another') from error
    return path
