# SPDX-License-Identifier: Apache-2.0
"""Networks in half precision, everything around them in float32.

The weights of linear and convolution layers are converted once, and autocast converts what flows
into them, so that no weight is cast per frame and normalisations keep float32. Features and logits
come out as float32: eight bits of a similarity would make ties of distinct pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from samg_ros.errors import ConfigError, first_line
from samg_ros.masking.models.base import Encoding, VisionModel
from samg_ros.masking.models.wrapped import WrappedModel

CONVERTED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


class HalfPrecision(WrappedModel):
    """A model whose networks compute in bfloat16 or float16.

    Attributes:
        model: the model itself, its weights converted.
        autocast: the context in which it must be called.
    """

    autocast: torch.autocast

    def __init__(self, model: VisionModel, dtype: torch.dtype, device: torch.device) -> None:
        """Convert a model that is already on its device; its weights are changed in place.

        Raises:
            ConfigError: if the device cannot compute in that type.
        """
        super().__init__(model)
        _try(dtype, device)
        for layer in model.modules():
            if isinstance(layer, CONVERTED):
                layer.to(dtype)
        self.autocast = torch.autocast(device.type, dtype, cache_enabled=False)

    def object_map(self, maps: Tensor) -> Tensor:
        """See VisionModel; float32."""
        with self.autocast:
            return self.model.object_map(maps).float()

    def run_encoders(self, *pictures: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """See VisionModel; the feature maps are float32."""
        with self.autocast:
            maps, embedding = self.model.run_encoders(*pictures)
        return tuple(one.float() for one in maps), embedding

    def decode(self, encoding: Encoding, points: Tensor, labels: Tensor,
               boxes: Tensor | None = None, mask_logits: Tensor | None = None,
               guide: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See VisionModel; logits and predicted IoU are float32."""
        with self.autocast:
            logits, predicted_iou = self.model.decode(encoding, points, labels, boxes, mask_logits,
                                                      guide)
        return logits.float(), predicted_iou.float()


def in_precision(model: VisionModel, dtype: str, device: torch.device) -> VisionModel:
    """Return a model that computes in 'float32' (itself), 'bfloat16' or 'float16'.

    Raises:
        ConfigError: if the device cannot compute in that type.
    """
    if dtype == 'float32':
        return model
    return HalfPrecision(model, getattr(torch, dtype), device)


def _try(dtype: torch.dtype, device: torch.device) -> None:
    """Run one layer of each kind, which is the only way to learn what a CPU's kernels can do."""
    try:
        with torch.no_grad(), torch.autocast(device.type, dtype):
            x = torch.ones(1, 8, 4, 4, device=device)
            for layer in (nn.Conv2d(8, 8, 1), nn.ConvTranspose2d(8, 8, 2, 2)):
                layer.to(device, dtype)(x)
            nn.Linear(4, 4).to(device, dtype)(x)
    except RuntimeError as error:
        name = str(dtype).removeprefix('torch.')
        raise ConfigError(f"dtype {name!r}: {device.type} cannot compute in it "
                          f"({first_line(error)}); use 'float32'") from error
