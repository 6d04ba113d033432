# SPDX-License-Identifier: Apache-2.0
"""What the masker found, and what is made of it: one mask, a label image, a masked frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from samg_ros.errors import InvalidInputError
from samg_ros.masking.checks import checked_array
from samg_ros.masking.frames.decoder_passes import Prompts

Frames = TypeVar('Frames', npt.NDArray[np.uint8], Tensor)


@dataclass(frozen=True)
class Prediction:
    """Everything the masker found of O objects in N frames, as tensors on its device.

    Attributes:
        object_masks: (N, O, H, W) bool, in the order in which the objects were given.
        logits: (N, O, H, W) float, the decoder's, positive inside.
        predicted_iou: (N, O) float in 0 .. 1, what the model thinks of each mask that it drew.
        prompts: per object its point prompts: object, beside it, then parts and clicked points.
        similarity: (N, O, H, W) float in -1 .. 1, of each object the map in which its prompts are
            found.
    """

    object_masks: Tensor
    logits: Tensor
    predicted_iou: Tensor
    prompts: tuple[Prompts, ...]
    similarity: Tensor

    @property
    def masks(self) -> Tensor:
        """(N, H, W) bool: the pixels of any object."""
        if self.object_masks.shape[1] == 1:
            return self.object_masks[:, 0]
        return self.object_masks.any(dim=1)

    @property
    def labels(self) -> Tensor:
        """(N, H, W) uint8: 0 beside all objects, k + 1 on the k-th.

        Where masks overlap, the object with the highest logit.
        """
        logits = self.logits.masked_fill(~self.object_masks, float('-inf'))
        return ((logits.argmax(dim=1) + 1) * self.masks).to(torch.uint8)


def apply_mask(frames: Frames, masks: Any, fill: tuple[int, int, int] = (0, 0, 0)) -> Frames:
    """Keep the frame inside the mask, fill the rest.

    Args:
        frames: (..., H, W, 3) uint8 RGB, array or tensor.
        masks: (..., H, W) bool of the same kind.
        fill: RGB value outside the mask, three whole numbers from 0 to 255.

    Returns:
        A new (..., H, W, 3) uint8 of the same kind.

    Raises:
        InvalidInputError: if types, shapes or dtypes do not fit.
    """
    if not isinstance(frames, (np.ndarray, Tensor)) or type(masks) is not type(frames):
        raise InvalidInputError(
            f'frames {type(frames).__name__} and masks {type(masks).__name__}: expected two arrays '
            'or two tensors')
    if frames.ndim < 3 or frames.shape[-1] != 3 or frames.shape[:-1] != masks.shape \
            or masks.dtype not in (np.bool_, torch.bool) \
            or frames.dtype not in (np.uint8, torch.uint8):
        raise InvalidInputError(
            f'frames {tuple(frames.shape)} {frames.dtype} and masks {tuple(masks.shape)} '
            f'{masks.dtype}: expected (..., H, W, 3) uint8 and (..., H, W) bool')
    colour = checked_array(fill, 'fill')
    if colour.shape != (3,) or colour.dtype.kind not in 'iu' \
            or colour.min() < 0 or colour.max() > 255:
        raise InvalidInputError(f'fill {fill!r}: expected three whole numbers from 0 to 255')
    colour = colour.astype(np.uint8)
    if isinstance(frames, Tensor):
        return torch.where(masks[..., None], frames, torch.from_numpy(colour).to(frames.device))
    return _cut_out(frames, masks, colour)


def _cut_out(frames: npt.NDArray[np.uint8], masks: npt.NDArray[Any],
             colour: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """As np.where(masks[..., None], frames, colour), in a tenth of its time."""
    if frames.size == 0:
        return frames.copy()
    rows = np.ascontiguousarray(frames).reshape(-1, *frames.shape[-2:])
    inside = np.ascontiguousarray(masks).view(np.uint8).reshape(rows.shape[:2])
    found = cv2.bitwise_and(rows, rows, mask=inside)  # 0 outside, where OR then puts the colour
    if colour.any():
        outside = 1 - inside
        found = cv2.bitwise_or(found, cv2.merge([outside * value for value in colour]))
    return np.asarray(found, np.uint8).reshape(frames.shape)
