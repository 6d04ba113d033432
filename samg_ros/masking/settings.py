# SPDX-License-Identifier: Apache-2.0
"""The switches of the method. The defaults are the paper's."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from samg_ros.errors import InvalidInputError

FEATURES = ('dino', 'sam')


@dataclass(frozen=True)
class MaskerSettings:
    """What the masker does with a model.

    Attributes:
        features: which feature maps say where the object is: 'dino' (the descriptor encoder),
            'sam' (the segmenter's own embedding), or both, averaged.
        passes: decoder passes per frame, 1 to 3. None: what suits the model (SAM 3, as in the
            paper; `mini` 1, see docs/mini.md).
        fit_weights: fit the combination of the three masks to the reference (PerSAM-F); without,
            each counts a third.
        fit_steps: optimiser steps of that fit.
        similarity_prompt: give the object's similarity map to the first pass as its mask prompt
            (after PerSAM's guidance). None: as the model was trained (`mini` yes, SAM no).
        min_predicted_iou: a mask of which the model thinks less is empty. 0 keeps every mask.
        seed: seed of the jitter of clicked points while fitting.
    """

    features: tuple[str, ...] = FEATURES
    passes: int | None = None
    fit_weights: bool = True
    fit_steps: int = 1000
    similarity_prompt: bool | None = None
    min_predicted_iou: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, 'features', tuple(self.features))  # JSON gives lists
        if not self.features or set(self.features) - set(FEATURES):
            raise InvalidInputError(
                f"features {self.features}: expected 'dino', 'sam' or both; name one of them")
        if self.passes not in (None, 1, 2, 3):
            raise InvalidInputError(f'passes {self.passes}: expected 1, 2, 3 or None')
        if self.fit_steps < 1:
            raise InvalidInputError(f'fit_steps {self.fit_steps}: expected 1 or more')
        if not 0 <= self.min_predicted_iou <= 1:
            raise InvalidInputError(
                f'min_predicted_iou {self.min_predicted_iou}: expected a value in 0..1')

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, for a checkpoint."""
        return asdict(self) | {'features': list(self.features)}
