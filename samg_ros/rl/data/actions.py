# SPDX-License-Identifier: Apache-2.0
"""Actions: from [-1, 1] to the limits of a task, and back."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samg_ros.errors import ConfigError


def scale_action(
    action: NDArray[np.float32], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Map an action in [-1, 1] onto the limits, (A,) float64."""
    result: NDArray[np.float64] = low + (action.astype(np.float64) + 1) / 2 * (high - low)
    return result


def unscale_action(
    action: ArrayLike, low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Map an action within the limits onto [-1, 1], (A,) float32; undoes `scale_action`."""
    result: NDArray[np.float32] = (
        (np.asarray(action, np.float64) - low) / (high - low) * 2 - 1
    ).astype(np.float32)
    return result


def action_limits(
    low: ArrayLike, high: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the limits as two (A,) float64 arrays.

    Raises:
        ConfigError: unless they are finite, equally many, and each low is below its high.
    """
    lows, highs = (np.array(each, dtype=np.float64).reshape(-1) for each in (low, high))
    if (lows.shape != highs.shape or not np.all(lows < highs)
            or not (np.isfinite(lows).all() and np.isfinite(highs).all())):
        raise ConfigError('action limits must be finite, low below high, and equally many')
    return lows, highs
