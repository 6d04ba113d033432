# SPDX-License-Identifier: Apache-2.0
"""What a fitted masker keeps of its references: features to look for, weights to combine with.

All features of all objects lie in one table per encoder, so that a frame's similarities are one
matrix product. Objects that need equally many prompts are decoded as one batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from samg_ros.masking.frames.similarity import cell_mask, point_feature, region_feature
from samg_ros.masking.geometry import Geometry
from samg_ros.masking.models.base import Encoding, FeatureMap
from samg_ros.masking.references.reference import Reference
from samg_ros.masking.references.samples import Samples


@dataclass(frozen=True)
class FittedReference:
    """One reference with what was read off its image.

    Attributes:
        reference: image, mask, parts and points.
        maps: by encoder, (1, C, g, g): kept so that points can be clicked later.
        regions: by encoder, (1 + parts, C) float, the object's and the parts' features.
        samples: of the object, for guidance.
        points: by encoder, (K, C) float, the clicked points' features.
        geometry: of the image.
        weights: (3,) float, fitted to this reference.
        elsewhere: by encoder, (L, C) float, features of points clicked in other pictures.
    """

    reference: Reference
    maps: dict[str, FeatureMap]
    regions: dict[str, Tensor]
    samples: Samples
    points: dict[str, Tensor]
    geometry: Geometry
    weights: Tensor
    elsewhere: dict[str, Tensor]

    @classmethod
    def read(cls, reference: Reference, encoding: Encoding, names: tuple[str, ...],
             geometry: Geometry) -> FittedReference:
        """Read the features of a reference off the encoding of its image; each mask a third."""
        device = geometry.device
        masks = [torch.from_numpy(mask).to(device) for mask in (reference.mask, *reference.parts)]
        maps = {name: encoding.maps[name] for name in names}
        regions = {
            name: torch.stack([region_feature(one.maps[0], cell_mask(mask, one, geometry))
                               for mask in masks]) for name, one in maps.items()}
        samples = Samples.read(encoding, 0, names, masks[0], geometry)
        nothing = {name: one[:0] for name, one in regions.items()}
        points = point_features(maps, reference.points, geometry)
        thirds = torch.full((3,), 1 / 3, device=device)
        return cls(reference, maps, regions, samples, points, geometry, thirds, nothing)

    def with_points(self, points: npt.ArrayLike) -> FittedReference:
        """Return it with other clicked points, (K, 2) [x, y] pixels, and the same weights."""
        reference = self.reference.with_points(points)
        return replace(self, reference=reference,
                       points=point_features(self.maps, reference.points, self.geometry))

    def with_elsewhere(self, features: dict[str, Tensor]) -> FittedReference:
        """Return it with more features, by encoder (L, C), of points clicked in another picture."""
        return replace(self, elsewhere={name: torch.cat([one, features[name]])
                                        for name, one in self.elsewhere.items()})

    def without_points(self) -> FittedReference:
        """Return it without any clicked point."""
        nothing = {name: one[:0] for name, one in self.elsewhere.items()}
        return replace(self.with_points(np.zeros((0, 2))), elsewhere=nothing)

    @property
    def features(self) -> dict[str, Tensor]:
        """By encoder, (1 + parts + K + L, C) float: object, parts, clicked points."""
        return {name: torch.cat([self.regions[name], self.points[name], self.elsewhere[name]])
                for name in self.maps}


def point_features(maps: dict[str, FeatureMap], points: npt.NDArray[np.float64],
                   geometry: Geometry) -> dict[str, Tensor]:
    """Return by encoder the (K, C) float features at points of a picture.

    Args:
        maps: by encoder, (1, C, g, g), of the picture.
        points: (K, 2) [x, y] pixels; K may be 0.
        geometry: of the picture.
    """
    found = {}
    for name, one in maps.items():
        height, width = geometry.height, geometry.width
        if one.padded:
            height = width = max(height, width)
        cells = one.maps.shape[-1]
        rows = [point_feature(one.maps[0], cells * x / width, cells * y / height)
                for x, y in points.tolist()]
        found[name] = torch.stack(rows) if rows else one.maps.new_zeros(0, one.maps.shape[1])
    return found


@dataclass(frozen=True)
class Group:
    """Objects with equally many prompts.

    Attributes:
        objects: their places among all objects.
        maps: which of all similarity maps are theirs.
        counts: of each prompt of each object, how many references show it.
        samples: (R,) of all references of theirs.
        views: of each object, how many of these references are its own.
        weights: (objects, 3) float.
    """

    objects: tuple[int, ...]
    maps: slice
    counts: tuple[int, ...]
    samples: Samples
    views: tuple[int, ...]
    weights: Tensor


@dataclass(frozen=True)
class Targets:
    """Everything that is looked for in a frame.

    Attributes:
        features: by encoder, (F, C) float, of all references of all objects.
        weights: (O, 3) float, of each object.
        groups: which objects are decoded together.
    """

    features: dict[str, Tensor]
    weights: Tensor
    groups: tuple[Group, ...]

    @classmethod
    def gather(cls, objects: list[list[FittedReference]]) -> Targets:
        """Put the references of every object together.

        The k-th part, and the k-th clicked point, of every reference of an object mean the same
        place and make one prompt; a reference that has no k-th one does not take part in it.
        """
        weights = torch.stack([torch.stack([one.weights for one in references]).mean(dim=0)
                               for references in objects])
        prompts = [_prompts(references) for references in objects]
        lengths = sorted({len(one) for one in prompts})
        groups: list[Group] = []
        rows: list[dict[str, Tensor]] = []
        for length in lengths:
            members = tuple(i for i, one in enumerate(prompts) if len(one) == length)
            sources = [prompt for index in members for prompt in prompts[index]]
            references = [one for index in members for one in objects[index]]
            counts = tuple(len(one) for one in sources)
            groups.append(Group(
                members, slice(len(rows), len(rows) + sum(counts)), counts,
                Samples.stack([one.samples for one in references]),
                tuple(len(objects[index]) for index in members), weights[list(members)]))
            rows += [feature for prompt in sources for feature in prompt]
        features = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        return cls(features, weights, tuple(groups))


def _prompts(references: list[FittedReference]) -> list[list[dict[str, Tensor]]]:
    """Return for every prompt of an object its feature, by encoder, in each reference it is in."""
    prompts = []
    for kind in ('regions', 'points', 'elsewhere'):
        tables: list[dict[str, Tensor]] = [getattr(one, kind) for one in references]
        sizes = [len(next(iter(table.values()))) for table in tables]
        for place in range(max(sizes)):
            prompts.append([{name: rows[place] for name, rows in table.items()}
                            for table, size in zip(tables, sizes, strict=True) if place < size])
    return prompts
