# SPDX-License-Identifier: Apache-2.0
"""The models by name. A new family is a file beside this one and a line in MODELS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from samg_ros.errors import UnknownModelError
from samg_ros.masking.models.base import VisionModel
from samg_ros.masking.models.mini import load_mini

MODELS: dict[str, Callable[[str | Path | None], VisionModel]] = {'mini': load_mini}


def load_model(name: str, weights: str | Path | None = None) -> VisionModel:
    """Return a model with its weights, in evaluation mode.

    Args:
        name: a key of MODELS.
        weights: a weight file; None takes what the package ships.

    Raises:
        UnknownModelError: if there is no model of that name.
        WeightsError: if the weights cannot be loaded.
    """
    if name not in MODELS:
        raise UnknownModelError(f'model {name!r}: not known; choose from {", ".join(MODELS)}')
    return MODELS[name](weights)
