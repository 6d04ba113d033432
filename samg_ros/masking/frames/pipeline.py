# SPDX-License-Identifier: Apache-2.0
"""From frames to masks, once through: encoders, similarity, prompts, decoder passes (DESIGN 4).

Everything happens on the frames' device, and nothing here asks for a value on the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from samg_ros.masking.frames.decoder_passes import Prompts, pick_prompts, run_cascade
from samg_ros.masking.frames.guidance import guide, guided, working_geometry
from samg_ros.masking.frames.prediction import Prediction
from samg_ros.masking.frames.similarity import combine_references, similarity_maps
from samg_ros.masking.geometry import Geometry
from samg_ros.masking.models.base import VisionModel
from samg_ros.masking.references.targets import Targets
from samg_ros.masking.settings import MaskerSettings


def find(model: VisionModel, frames: Tensor, geometry: Geometry, targets: Targets,
         settings: MaskerSettings) -> Prediction:
    """Find all objects in frames.

    Args:
        model: that encodes and decodes; one that an engine has compiled may have its own way to
            `find_tensors`.
        frames: (N, H, W, 3) uint8 RGB on the model's device, N at least 1.
        geometry: of the frames.
        targets: what is looked for.
        settings: switches of the method.
    """
    found = getattr(model, 'find_tensors', partial(find_tensors, model))
    masks, logits, scores, maps, *prompts = found(frames, geometry, targets, settings)
    if settings.min_predicted_iou > 0:
        masks = masks & (scores >= settings.min_predicted_iou)[..., None, None]
    asked = tuple(Prompts(*each) for each in zip(prompts[::2], prompts[1::2], strict=True))
    return Prediction(masks, logits, scores, asked, maps)


def find_tensors(model: VisionModel, frames: Tensor, geometry: Geometry, targets: Targets,
                 settings: MaskerSettings) -> tuple[Tensor, ...]:
    """Return what a Prediction holds, see `find_prepared`; arguments as for `find`."""
    return find_prepared(model, *model.prepare(frames), geometry, targets, settings)


def find_prepared(model: VisionModel, pictures: tuple[Tensor, ...], colours: Tensor,
                  geometry: Geometry, targets: Targets, settings: MaskerSettings,
                  ) -> tuple[Tensor, ...]:
    """Return what a Prediction holds; arguments as for `look`.

    Tensors in, tensors out, and no Python value that depends on them: an engine may compile it.

    Returns:
        Object masks (N, O, H, W), logits (N, O, H, W), predicted IoU (N, O), similarity
        (N, O, H, W), and of each object its prompts' points and labels.
    """
    chosen, scores, maps, *prompts = look(model, pictures, colours, geometry, targets, settings)
    logits = geometry.padded_to_frame(chosen)
    if working_geometry(similarity_prompt(model, settings), geometry) is not geometry:
        maps = geometry.padded_to_frame(geometry.of_mask.frame_to_mask(maps))
        prompts[::2] = [geometry.points_to_frame(points) for points in prompts[::2]]
    return (logits > 0, logits, scores, maps, *prompts)


def look(model: VisionModel, pictures: tuple[Tensor, ...], colours: Tensor, geometry: Geometry,
         targets: Targets, settings: MaskerSettings) -> tuple[Tensor, ...]:
    """Return what the networks find, tensors with N as their first axis.

    Tensors in, tensors out, and no Python value that depends on them: an engine may compile it.

    Args:
        model: that encodes and decodes.
        pictures: N frames as `VisionModel.prepare` gives them.
        colours: likewise.
        geometry: of the frames.
        targets: what is looked for, O objects.
        settings: switches of the method.

    Returns:
        Low-resolution logits (N, O, m, m); predicted IoU (N, O); maps in which the prompts are
        found, (N, O, h, w); and of each object its prompts' points and labels. Maps and points are
        in pixels of `working_geometry`.
    """
    kind = similarity_prompt(model, settings)
    geometry = working_geometry(kind, geometry)
    encoding = model.encoding(*model.run_encoders(*pictures), colours).on_grid(geometry.grid_size)
    similarity = similarity_maps(encoding, targets.features, geometry)
    found: dict[int, tuple[Tensor, ...]] = {}
    for group in targets.groups:
        count = len(group.objects)
        maps = combine_references(similarity[:, group.maps], group.counts,
                                  settings.combine_references).unflatten(1, (count, -1))
        rows = maps.flatten(0, 1)  # an object in a frame is a row of the decoder's batch
        of_rows = partial(_of_rows, group.views, settings)
        guides = guide(kind, rows[:, 0], encoding, group.samples,
                     settings.features, geometry, of_rows)
        rows = guided(model, rows, guides)
        prompts = pick_prompts(rows)
        last = run_cascade(model, encoding.repeated(count), geometry, rows[:, 0], prompts,
                           group.weights.repeat(len(colours), 1),
                           settings.passes or model.passes, guides)[-1]
        for place, index in enumerate(group.objects):
            its = slice(place, None, count)
            found[index] = (last.chosen[its], last.score[its], rows[its, 0],
                            prompts.points[its], prompts.labels[its])
    *values, points, labels = zip(*(found[i] for i in sorted(found)), strict=True)
    prompts_of = (each for pair in zip(points, labels, strict=True) for each in pair)
    return (*(_beside(each) for each in values), *prompts_of)


def find_nothing(frames: Tensor, geometry: Geometry, targets: Targets) -> Prediction:
    """Return the prediction of no frames, (0, H, W, 3)."""
    count = len(targets.weights)
    empty = torch.zeros(0, count, *frames.shape[1:3], device=geometry.device)
    points = torch.zeros(0, 2, 2, dtype=torch.long, device=geometry.device)
    prompts = (Prompts(points, points[..., 0]),) * count
    return Prediction(empty > 0, empty, empty[..., 0, 0], prompts, empty)


def similarity_prompt(model: VisionModel, settings: MaskerSettings) -> str:
    """Return which of SIMILARITY_PROMPTS the first pass gets."""
    return settings.similarity_prompt or model.similarity_prompt


def _of_rows(views: tuple[int, ...], settings: MaskerSettings, maps: Tensor) -> Tensor:
    """Make (N * objects, 1, H, W) of the (N, R, H, W) maps of all their references."""
    return combine_references(maps, views, settings.combine_references).flatten(0, 1)[:, None]


def _beside(items: Sequence[Tensor]) -> Tensor:
    """Stack along axis 1; one item is not copied."""
    return items[0][:, None] if len(items) == 1 else torch.stack(list(items), dim=1)
