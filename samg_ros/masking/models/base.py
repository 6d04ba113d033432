# SPDX-License-Identifier: Apache-2.0
"""What a model must offer to be used by the masker: encode a frame once, decode prompts often.

A model is either one network that plays both parts (`mini`) or a pair: an encoder whose descriptors
find the object (DINOv2) and a promptable segmenter that cuts it out (SAM).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samg_ros.masking.geometry import Geometry, resize_matrix, scaled_size
from samg_ros.masking.settings import GUIDANCE_MAPS, SIMILARITY_PROMPTS

IMAGENET_MEAN = (123.675, 116.28, 103.53)  # of values in 0 .. 255
IMAGENET_STD = (58.395, 57.12, 57.375)
COLOUR_SIDE = 128
"""Longer side of the pictures in which colours are compared, at most."""
DARK = 30.0  # sum of a pixel's values below which its colour counts for little


@dataclass(frozen=True)
class FeatureMap:
    """One encoder's features of N frames.

    Attributes:
        maps: (N, C, g, g) float, not normalised.
        padded: whether the grid covers the padded square of the model's input (SAM) or the frame
            itself, stretched to a square (DINO, SAM 2).
    """

    maps: Tensor
    padded: bool


@dataclass(frozen=True)
class Encoding:
    """All that is kept of N frames between encoding and decoding.

    Attributes:
        maps: feature maps by encoder name, 'dino' and 'sam'.
        embedding: what the mask decoder works on, tensors with N as their first axis.
        colours: (N, 3, h, w) float, `chromaticities` of the frames.
    """

    maps: dict[str, FeatureMap]
    embedding: tuple[Tensor, ...]
    colours: Tensor

    def repeated(self, count: int) -> Encoding:
        """Return this encoding for a decoder that is asked `count` things about every frame.

        Its embedding has N * count rows, those of one frame side by side; one frame, or a count of
        one, is not copied.
        """
        if count == 1:
            return self
        return replace(self, embedding=tuple(
            t[:, None].expand(-1, count, *t.shape[1:]).flatten(0, 1) for t in self.embedding))

    def on_grid(self, size: int) -> Encoding:
        """Return this encoding with its feature maps resampled to size x size, bilinear."""
        if all(one.maps.shape[-1] == size for one in self.maps.values()):
            return self
        return replace(self, maps={name: replace(one, maps=_resampled(one.maps, size))
                                   for name, one in self.maps.items()})


def chromaticities(frames: Tensor) -> Tensor:
    """Return (N, 3, h, w) float in 0 .. 1: each value's share of its pixel's sum.

    Light and shade hardly change it. Dark pixels, of which the shares are mostly noise, come out
    small. No resizing mixes colours unless the frame is larger than COLOUR_SIDE.

    Args:
        frames: (N, H, W, 3) uint8 RGB.
    """
    pictures = frames.permute(0, 3, 1, 2).float()
    sides = [int(side) for side in pictures.shape[2:]]  # while a network is traced, tensors
    if max(sides) > COLOUR_SIDE:
        rows, columns = (max(1, round(side * (COLOUR_SIDE / max(sides)))) for side in sides)
        pictures = scaled(pictures, rows, columns)
    return pictures / (pictures.sum(dim=1, keepdim=True) + DARK)


def _resampled(maps: Tensor, size: int) -> Tensor:
    if maps.shape[-1] == size:
        return maps
    return F.interpolate(maps, (size, size), mode='bilinear', align_corners=False)


class VisionModel(nn.Module, ABC):
    """A descriptor encoder and a promptable segmenter, seen as one.

    Attributes:
        image_size: side of the square input in pixels; prompts are in its coordinates.
        mask_size: side of the low-resolution logits.
        grid_size: side of the grid on which its features are compared.
        stretched: whether frames are stretched to the square input, or scaled by their longer
            side and padded.
        passes: decoder passes that give its best masks.
        fits_weights: whether fitting how its three masks are combined makes them better.
        second_look: whether a second look does.
        similarity_prompt: the guidance that the model was trained with, as in MaskerSettings.
        similarity_prompts: all that it can be given.
        guided: whether `decode` takes a guide.
        similarity_gain: factor from cosine similarity to the logits of that prompt.
        feature_maps: the names of its feature maps in their order, and of each whether it is
            `padded` (see FeatureMap).
    """

    image_size: int
    mask_size: int
    grid_size: int
    stretched: bool = False
    passes: int = 3
    fits_weights: bool = True
    second_look: bool = False
    similarity_prompt: str = 'off'
    similarity_prompts: tuple[str, ...] = SIMILARITY_PROMPTS
    guided: bool = False
    similarity_gain: float = 10.0
    feature_maps: dict[str, bool]

    def geometry(self, height: int, width: int, grid_size: int | None,
                 device: torch.device) -> Geometry:
        """Return how frames of a size lie in its input; without a grid size, on its own grid."""
        return Geometry(height, width, self.image_size, self.mask_size,
                        grid_size or self.grid_size, device, self.stretched)

    @property
    def detail_size(self) -> int:
        """Side in pixels of the largest picture that it takes, and of a second look's crops."""
        return self.image_size

    def object_map(self, maps: Tensor) -> Tensor:
        """Return (N, 1, H, W) float in -1 .. 1 of (N, C, H, W) guidance: where the object is.

        Its largest value is where the object's prompt goes, its least where the one beside it goes.
        The mean of the maps; of 'full' guidance the mean of the object's feature and of its cells,
        which count only where the reference's surroundings are less similar (Matcher, arXiv
        2305.13310, section 3.2).
        """
        if maps.shape[1] < GUIDANCE_MAPS['full']:
            return maps.mean(dim=1, keepdim=True)
        own, beside = maps[:, 1:-2:2], maps[:, 2:-2:2]
        dense = torch.where(own >= beside, own, 0).mean(dim=1, keepdim=True)
        return (maps[:, :1] + dense) / 2

    @abstractmethod
    def prepare(self, frames: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return what `run_encoders` takes, and the `colours` of an Encoding.

        The size of what is taken depends on the model alone, not on the frames' size.

        Args:
            frames: (N, H, W, 3) uint8 RGB.
        """

    @abstractmethod
    def run_encoders(self, *pictures: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return the feature maps, in the order of `feature_maps`, and the embedding.

        Tensors in, tensors out, and no Python value that depends on them: an engine may compile it.
        """

    def encode(self, frames: Tensor) -> Encoding:
        """Encode (N, H, W, 3) uint8 RGB frames."""
        pictures, colours = self.prepare(frames)
        return self.encoding(*self.run_encoders(*pictures), colours)

    def encoding(self, maps: tuple[Tensor, ...], embedding: tuple[Tensor, ...],
                 colours: Tensor) -> Encoding:
        """Return what `run_encoders` and `prepare` gave as an Encoding."""
        named = {name: FeatureMap(one, padded) for (name, padded), one
                 in zip(self.feature_maps.items(), maps, strict=True)}
        return Encoding(named, embedding, colours)

    @abstractmethod
    def decode(self, encoding: Encoding, points: Tensor, labels: Tensor,
               boxes: Tensor | None = None, mask_logits: Tensor | None = None,
               guide: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Turn prompts into masks.

        Args:
            encoding: of N frames.
            points: (N, K, 2) float [x, y] in input pixels.
            labels: (N, K) int, 1 on the object, 0 beside it.
            boxes: (N, 4) float x0, y0, x1, y1 in input pixels.
            mask_logits: (N, m, m) float, a first idea of the mask.
            guide: (N, C, m, m) float, maps of `guidance.guide`; only for a `guided` model.

        Returns:
            Logits (N, 3, m, m) and predicted IoU (N, 3), float.
        """


class FeatureEncoder(nn.Module, ABC):
    """An encoder whose descriptors say what is what, over the frame stretched to a square."""

    @abstractmethod
    def prepare(self, frames: Tensor) -> Tensor:
        """Return (N, 3, s, s) float, what the network takes, of (N, H, W, 3) uint8 RGB frames."""

    @abstractmethod
    def forward(self, pictures: Tensor) -> Tensor:
        """Return (N, C, h, h) float features of prepared frames."""

    def features(self, frames: Tensor) -> Tensor:
        """Return (N, C, h, h) float features of (N, H, W, 3) uint8 RGB frames."""
        return self.forward(self.prepare(frames))


class Segmenter(nn.Module, ABC):
    """A promptable segmenter.

    Attributes:
        image_size: side of the square prompts are given in, in pixels.
        mask_size: side of its low-resolution logits.
        stretched: whether frames are stretched to that square (SAM 2), or scaled by their longer
            side and padded (SAM).
    """

    image_size: int
    mask_size: int
    stretched: bool = False

    @abstractmethod
    def prepare(self, frames: Tensor) -> Tensor:
        """Return (N, 3, s, s) float, what the network takes, of (N, H, W, 3) uint8 RGB frames."""

    @abstractmethod
    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Return what `decode` works on, of prepared frames.

        Every tensor has N as its first axis. The first is the image embedding, (N, C, g, g) float
        over the whole input, in which the frame is looked for as well.
        """

    def embed(self, frames: Tensor) -> tuple[Tensor, ...]:
        """Return what `decode` works on, of (N, H, W, 3) uint8 RGB frames."""
        return self.forward(self.prepare(frames))

    @abstractmethod
    def decode(self, embedding: tuple[Tensor, ...], points: Tensor, labels: Tensor,
               boxes: Tensor | None, mask_logits: Tensor | None) -> tuple[Tensor, Tensor]:
        """See VisionModel.decode."""


class ModelPair(VisionModel):
    """A descriptor encoder and a segmenter side by side (SAM-G, section 3)."""

    def __init__(self, encoder: FeatureEncoder, segmenter: Segmenter) -> None:
        """Put two loaded models together."""
        super().__init__()
        self.encoder = encoder
        self.segmenter = segmenter
        self.image_size = segmenter.image_size
        self.mask_size = segmenter.mask_size
        self.stretched = segmenter.stretched
        self.grid_size = 64  # as in the paper
        self.feature_maps = {'dino': False, 'sam': not segmenter.stretched}

    def prepare(self, frames: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """See VisionModel; the encoder's picture and the segmenter's."""
        return (self.encoder.prepare(frames), self.segmenter.prepare(frames)), \
            chromaticities(frames)

    def run_encoders(self, *pictures: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """See VisionModel."""
        for_encoder, for_segmenter = pictures
        embedding = self.segmenter.forward(for_segmenter)
        return (self.encoder.forward(for_encoder), embedding[0]), embedding

    def decode(self, encoding: Encoding, points: Tensor, labels: Tensor,
               boxes: Tensor | None = None, mask_logits: Tensor | None = None,
               guide: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See VisionModel."""
        return self.segmenter.decode(encoding.embedding, points, labels, boxes, mask_logits)


def resized(frames: Tensor, rows: int, columns: int) -> Tensor:
    """Return (N, 3, rows, columns) float in 0 .. 255 of (N, H, W, 3) uint8: antialiased bilinear.

    Along the rows and then along the columns, each rounded to whole values: that is how Pillow
    resizes, through which the public code and the models' own predictors put their pictures.
    """
    x = frames.permute(0, 3, 1, 2).float()
    for size in ((int(x.shape[2]), columns), (rows, columns)):
        if tuple(x.shape[2:]) != size:
            x = scaled(x, *size)
            x = torch.clamp(torch.floor(x + 0.5), 0, 255)
    return x


def scaled(pictures: Tensor, rows: int, columns: int, antialias: bool = True) -> Tensor:
    """Return (N, C, rows, columns) of (N, C, H, W) float, bilinear.

    While a network is traced, as two matrix products: the same to rounding, and fast everywhere,
    which the resizing of other engines is not.
    """
    if not torch.jit.is_tracing():
        return F.interpolate(pictures, (rows, columns), mode='bilinear', antialias=antialias,
                             align_corners=False)
    down, across = (resize_matrix(int(side), size, antialias) for side, size in zip(
        pictures.shape[2:], (rows, columns), strict=True))
    return down @ pictures @ across.T


def resized_longer_side(frames: Tensor, side: int) -> Tensor:
    """Return frames as `resized` does, scaled so that the longer side has `side` pixels."""
    height, width = frames.shape[1:3]
    return resized(frames, *scaled_size(height, width, side))


class Normalization(nn.Module):
    """ImageNet's mean and deviation, which every model here but `mini` was trained with."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, values in (('mean', IMAGENET_MEAN), ('std', IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, 3, H, W) float in 0 .. 255."""
        return (x - self.mean) / self.std
