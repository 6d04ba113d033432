# SPDX-License-Identifier: Apache-2.0
"""One demonstration of an arm, as it is stored in a data set and learned from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from samg_ros.errors import DemonstrationError


@dataclass(frozen=True, eq=False)
class ArmEpisode:
    """T samples: what the cameras and joints showed, and what the arm was commanded to do."""

    stamps: npt.NDArray[np.int64]
    """(T,) ns, of the first camera's frames, as recorded."""
    frames: dict[str, npt.NDArray[np.uint8]]
    """Camera -> (T, H, W, 3) RGB, unmasked."""
    joints: npt.NDArray[np.float64]
    """(T, J) rad or m."""
    actions: npt.NDArray[np.float64]
    """(T, A)."""
    masks: dict[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    """Camera -> (T, H, W), true on the object; may be empty."""
    success: bool | None = None
    """Whether the operator marked the episode as a success; None if it was not marked."""
    source: str = ''
    """Where it comes from: the path of the bag."""

    def __post_init__(self) -> None:
        """Check that the arrays fit together.

        Raises:
            DemonstrationError: if they do not.
        """
        count = len(self.stamps)
        lengths = {'joints': len(self.joints), 'actions': len(self.actions),
                   **{f'frames of {name}': len(each) for name, each in self.frames.items()},
                   **{f'masks of {name}': len(each) for name, each in self.masks.items()}}
        for name, length in lengths.items():
            if length != count:
                raise DemonstrationError(f'{self.source}: {length} {name} for {count} stamps')
        if not (np.isfinite(self.joints).all() and np.isfinite(self.actions).all()):
            raise DemonstrationError(f'{self.source}: joints and actions must be finite')
