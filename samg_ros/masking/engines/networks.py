# SPDX-License-Identifier: Apache-2.0
"""What an engine compiles of a model: modules with tensors as arguments and a tuple as result."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from samg_ros.masking.frames.pipeline import find_prepared, find_tensors
from samg_ros.masking.geometry import Geometry
from samg_ros.masking.models.base import Encoding, VisionModel
from samg_ros.masking.references.targets import Targets
from samg_ros.masking.settings import MaskerSettings


class Encoders(nn.Module):
    """A model's encoders, with a flat tuple as their result."""

    def __init__(self, model: VisionModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, *pictures: Tensor) -> tuple[Tensor, ...]:
        maps, embedding = self.model.run_encoders(*pictures)
        return (*maps, *embedding)


class Decoder(nn.Module):
    """A model's decoder for prompts of one kind, with a flat tuple of tensors as arguments."""

    def __init__(self, model: VisionModel, embedding: int, given: tuple[bool, bool, bool]) -> None:
        """Say how many tensors the embedding has, and whether box, mask and guide are given."""
        super().__init__()
        self.model = model
        self._embedding, self._given = embedding, given

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        embedding, (points, labels, *rest) = tensors[:self._embedding], tensors[self._embedding:]
        more = [rest.pop(0) if given else None for given in self._given]
        encoding = Encoding({}, embedding, points)
        return tuple(self.model.decode(encoding, points, labels, *more))


class Find(nn.Module):
    """All of `pipeline.find_tensors`, or what comes after preparing the frames.

    Attributes:
        pictures: how many of the tensors depend on the frame: 1, the frames themselves, or what
            `VisionModel.prepare` makes of them. The others are those of the targets.
    """

    def __init__(self, model: VisionModel, pictures: int, geometry: Geometry, targets: Targets,
                 settings: MaskerSettings) -> None:
        """Take what stays the same, and the targets without their tensors."""
        super().__init__()
        self.model, self.pictures = model, pictures
        self._geometry, self._targets, self._settings = geometry, targets, settings

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        given = iter(tensors[self.pictures:])
        fixed = self._geometry, with_tensors(self._targets, lambda _: next(given)), self._settings
        if self.pictures == 1:
            return find_tensors(self.model, tensors[0], *fixed)
        *pictures, colours = tensors[:self.pictures]
        return find_prepared(self.model, tuple(pictures), colours, *fixed)


def with_tensors(tree: Any, change: Callable[[Any], Any]) -> Any:
    """Return dataclasses, mappings and tuples with their tensors changed, in a fixed order.

    Args:
        tree: with tensors, or with None where they were taken out.
        change: makes what is in the result of a tensor or None.
    """
    if tree is None or isinstance(tree, Tensor):
        return change(tree)
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        return dataclasses.replace(tree, **{
            field.name: with_tensors(getattr(tree, field.name), change)
            for field in dataclasses.fields(tree)})
    if isinstance(tree, dict):
        return {name: with_tensors(one, change) for name, one in tree.items()}
    if isinstance(tree, tuple):
        return tuple(with_tensors(one, change) for one in tree)
    return tree
