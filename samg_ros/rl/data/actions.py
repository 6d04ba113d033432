# SPDX-License-Identifier: Apache-2.0
"""Actions: from [-1, 1] to the limits of a task, and back."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


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
