# SPDX-License-Identifier: Apache-2.0
"""A model that runs another one in its own way and looks like it."""

from __future__ import annotations

from torch import Tensor

from samg_ros.masking.models.base import VisionModel


class WrappedModel(VisionModel):
    """Has the sizes and the preprocessing of another model; subclasses run its networks.

    Attributes:
        model: the other one.
    """

    model: VisionModel

    def __init__(self, model: VisionModel) -> None:
        """Take over what the masker asks of a model."""
        super().__init__()
        self.model = model
        self.image_size, self.mask_size = model.image_size, model.mask_size
        self.grid_size, self.stretched = model.grid_size, model.stretched
        self.passes = model.passes
        self.similarity_prompt, self.guided = model.similarity_prompt, model.guided
        self.similarity_prompts = model.similarity_prompts
        self.similarity_gain = model.similarity_gain
        self.feature_maps = model.feature_maps

    @property
    def detail_size(self) -> int:
        """See VisionModel."""
        return self.model.detail_size

    def object_map(self, maps: Tensor) -> Tensor:
        """See VisionModel."""
        return self.model.object_map(maps)

    def prepare(self, frames: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """See VisionModel."""
        return self.model.prepare(frames)
