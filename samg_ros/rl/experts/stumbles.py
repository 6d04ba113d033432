# SPDX-License-Identifier: Apache-2.0
"""Stumbles: now and then random actions in place of the policy's, so that the body may fall."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_STEPS = 5, 40
"""Least and most agent steps of a stumble (0.1 to 0.8 s of the cheetah). That is enough to make a
running cheetah fall on its back."""


class Stumbles:
    """At random times one random action, held for some steps."""

    def __init__(self, every: int, actions: int, rng: np.random.Generator) -> None:
        """Begin without a stumble.

        Args:
            every: agent steps from the end of a stumble to the next one, on average; 0 for none.
            actions: numbers in an action.
            rng: source of times and actions; it is not asked where there are no stumbles.
        """
        self._every, self._actions, self._rng = every, actions, rng
        self._left, self._action = 0, np.zeros(actions, np.float32)

    def __call__(self) -> npt.NDArray[np.float32] | None:
        """Return the random action of this step, (A,) in [-1, 1]; None where the policy acts."""
        if self._every and not self._left and self._rng.random() < 1 / self._every:
            self._left = int(self._rng.integers(*_STEPS, endpoint=True))
            self._action = self._rng.uniform(-1, 1, self._actions).astype(np.float32)
        if not self._left:
            return None
        self._left -= 1
        return self._action
