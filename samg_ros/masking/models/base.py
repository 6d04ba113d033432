# SPDX-License-Identifier: Apache-2.0
"""What a model must offer to be used by the masker: encode a frame once, decode prompts often."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

from torch import Tensor, nn


@dataclass(frozen=True)
class FeatureMap:
    """One encoder's features of N frames.

    Attributes:
        maps: (N, C, g, g) float, not normalised.
        padded: whether the grid covers the padded square of the model's input (SAM) or the frame
            itself, stretched to a square (DINO).
    """

    maps: Tensor
    padded: bool


@dataclass(frozen=True)
class Encoding:
    """All that is kept of N frames between encoding and decoding.

    Attributes:
        maps: feature maps by encoder name, 'dino' and 'sam'.
        embedding: what the mask decoder works on, tensors with N as their first axis.
    """

    maps: dict[str, FeatureMap]
    embedding: tuple[Tensor, ...]

    def repeated(self, count: int) -> Encoding:
        """Return the encoding of one frame as that of `count` equal frames, without copying."""
        return replace(self, embedding=tuple(t.expand(count, *t.shape[1:])
                                             for t in self.embedding))


class VisionModel(nn.Module, ABC):
    """A descriptor encoder and a promptable segmenter, seen as one.

    Attributes:
        image_size: side of the square input in pixels; prompts are in its coordinates.
        mask_size: side of the low-resolution logits.
        grid_size: side of both feature maps.
        similarity_prompt: whether the model was trained with a similarity map as mask prompt.
        similarity_gain: factor from cosine similarity to the logits of that prompt.
    """

    image_size: int
    mask_size: int
    grid_size: int
    similarity_prompt: bool = False
    similarity_gain: float = 10.0

    @abstractmethod
    def encode(self, frames: Tensor) -> Encoding:
        """Encode (N, H, W, 3) uint8 RGB frames."""

    @abstractmethod
    def decode(self, encoding: Encoding, points: Tensor, labels: Tensor,
               boxes: Tensor | None = None,
               mask_logits: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Turn prompts into masks.

        Args:
            encoding: of N frames.
            points: (N, K, 2) float [x, y] in input pixels.
            labels: (N, K) int, 1 on the object, 0 beside it.
            boxes: (N, 4) float x0, y0, x1, y1 in input pixels.
            mask_logits: (N, m, m) float, a first idea of the mask.

        Returns:
            Logits (N, 3, m, m) and predicted IoU (N, 3), float.
        """
