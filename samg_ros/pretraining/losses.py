# SPDX-License-Identifier: Apache-2.0
"""What `mini` is trained for: to mask as the masker will ask it to, from prompts it finds itself.

The same functions as at run time compare the maps and pick the prompts, at the same resolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from samg_ros.masking.frames.decoder_passes import Prompts, mask_box, pick_prompts
from samg_ros.masking.frames.guidance import guide, guided
from samg_ros.masking.frames.similarity import (
    cell_mask,
    point_feature,
    region_feature,
    similarity_maps,
)
from samg_ros.masking.geometry import Geometry
from samg_ros.masking.models.base import Encoding, FeatureMap
from samg_ros.masking.models.mini.network import Mini
from samg_ros.masking.references.samples import Samples
from samg_ros.pretraining.batches import Batch

TEMPERATURE = 0.07
SIMILARITY_SLOPE, SIMILARITY_MIDDLE = 8.0, 0.5
REFERENCE_SAMPLES, TARGET_SAMPLES = 32, 192
GIVEN_PROMPT_SHARE = 0.2
WITHHELD = {0.25: (5,), 0.1: (5, 6), 0.06: (1, 2), 0.05: (3, 4), 0.04: (0, 1, 2, 3, 4)}
"""With which probability a batch lacks which of the seven maps of 'full' guidance: narrow colour,
all colour, the trunk's cells, its own cells, all features. No map is relied upon alone."""
SECOND_PASS_SHARE = 0.2  # the first pass is the one that `mini` is used with
SEEN_SHARE = 0.0005
"""Of a picture, the object covers more than this if it is there."""


@dataclass(frozen=True)
class Losses:
    """Loss and figures of one batch.

    Attributes:
        total: scalar to descend.
        iou: mean IoU of the last pass on targets that show the object.
        hit_rate: share of their object prompts that land on it.
        false_area: mean masked share of the frame where the object is absent.
        presence: (N,) float, logits that the object is there.
        shown: (N,) bool, whether it is.
    """

    total: Tensor
    iou: float
    hit_rate: float
    false_area: float
    presence: Tensor
    shown: Tensor


def _select(encoding: Encoding, part: slice) -> Encoding:
    maps = {name: FeatureMap(m.maps[part], m.padded) for name, m in encoding.maps.items()}
    return Encoding(maps, tuple(t[part] for t in encoding.embedding), encoding.colours[part])


def _reference_features(encoding: Encoding, batch: Batch, geometry: Geometry,
                        device: torch.device) -> dict[str, Tensor]:
    """Return per encoder (B, R, C): object, parts, clicked points."""
    masks = torch.from_numpy(batch.reference_labels > 0).to(device)
    features: dict[str, list[Tensor]] = {name: [] for name in encoding.maps}
    for index in range(len(masks)):
        regions = [masks[index]] + [torch.from_numpy(np.ascontiguousarray(part)).to(device)
                                    for part in batch.parts[index]]
        for name, feature_map in encoding.maps.items():
            maps = feature_map.maps[index]
            cells = maps.shape[-1] / geometry.width
            found = [region_feature(maps, cell_mask(region, feature_map, geometry))
                     for region in regions]
            found += [point_feature(maps, x * cells, y * cells)
                      for x, y in batch.points[index].tolist()]
            features[name].append(torch.stack(found))
    return {name: torch.stack(rows) for name, rows in features.items()}


def _samples(encoding: Encoding, batch: Batch, per: int, geometry: Geometry,
             device: torch.device) -> Samples:
    """Return the samples of each target's object, with leading axes (N, 1)."""
    masks = torch.from_numpy(batch.reference_labels > 0).to(device)
    found = [Samples.read(encoding, index, encoding.maps, mask, geometry)
             for index, mask in enumerate(masks)]
    return Samples.stack([Samples.stack([one]) for one in found for _ in range(per)])


def _similarity_loss(maps: Tensor, truth: Tensor) -> Tensor:
    """Return the cross entropy of (N, H, W) similarity, as if above the middle meant "object"."""
    balance = 0.5 / truth.mean(dim=(1, 2), keepdim=True).clamp(min=0.02)
    weight = torch.where(truth > 0, balance, torch.full_like(balance, 0.6))
    return F.binary_cross_entropy_with_logits(
        SIMILARITY_SLOPE * (maps - SIMILARITY_MIDDLE), truth, weight=weight)


def mask_losses(logits: Tensor, target: Tensor) -> Tensor:
    """Return (N, K) cross entropy + dice of logits (N, K, H, W) against (N, H, W) float."""
    wanted = target[:, None].expand_as(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction='none').mean((2, 3))
    probability = logits.sigmoid()
    overlap = (probability * wanted).sum((2, 3))
    size = probability.sum((2, 3)) + wanted.sum((2, 3))
    return 5 * entropy + 1 - (2 * overlap + 1) / (size + 1)


def true_iou(logits: Tensor, target: Tensor) -> Tensor:
    """Return (N, K) IoU of logits > 0 with (N, H, W) targets; 1 where both are empty."""
    found, wanted = logits > 0, target[:, None] > 0.5
    overlap = (found & wanted).sum((2, 3)).float()
    union = (found | wanted).sum((2, 3)).float()
    return torch.where(union > 0, overlap / union.clamp(min=1), torch.ones_like(union))


def _pass_loss(logits: Tensor, predicted_iou: Tensor, target: Tensor, shown: Tensor) -> Tensor:
    """Return the loss of three masks, of their mean, and of what they are said to be worth."""
    each = mask_losses(logits, target)
    loss = each.amin(dim=1).mean() + 0.3 * each.mean()
    loss = loss + mask_losses(logits.mean(dim=1, keepdim=True), target).mean()
    wrong = F.mse_loss(predicted_iou, true_iou(logits.detach(), target), reduction='none')
    return loss + (wrong * shown[:, None]).sum() / (3 * shown.sum()).clamp(min=1)


def _sample(maps: Tensor, places: Tensor, geometry: Geometry) -> Tensor:
    """Return (N, P, C) unit descriptors at (N, P, 2) frame pixels [x, y]."""
    grid = (places.float() + 0.5) / max(geometry.height, geometry.width) * 2 - 1
    found = F.grid_sample(maps, grid[:, :, None], align_corners=False)[..., 0]
    return F.normalize(found, dim=1).transpose(1, 2)


def _draw_places(rng: np.random.Generator, labels: npt.NDArray[np.uint8], on_object: int,
                 elsewhere: int) -> npt.NDArray[np.int64]:
    """Return (N, on_object + elsewhere, 2) [x, y]; anywhere where there is no object."""
    rows = []
    for one in labels:
        flat = one.ravel()
        inside, outside = np.flatnonzero(flat), np.flatnonzero(flat == 0)
        inside = inside if len(inside) else outside
        chosen = np.concatenate([rng.choice(inside, on_object), rng.choice(outside, elsewhere)])
        rows.append(np.stack([chosen % one.shape[1], chosen // one.shape[1]], axis=1))
    return np.stack(rows)


def correspondence_loss(reference: Tensor, target: Tensor, reference_labels: Tensor,
                        target_labels: Tensor) -> Tensor:
    """Return InfoNCE: the same part must look alike, everything else must not.

    Args:
        reference: (N, P, C) unit descriptors of object pixels in the reference.
        target: (N, Q, C) unit descriptors of pixels in the target.
        reference_labels: (N, P) part labels, none 0.
        target_labels: (N, Q) part labels, 0 off the object.
    """
    logits = reference @ target.transpose(1, 2) / TEMPERATURE
    same = reference_labels[:, :, None] == target_labels[:, None, :]
    seen = same.any(dim=2)
    positive = logits.masked_fill(~same, -1e4).logsumexp(dim=2)
    loss = logits.logsumexp(dim=2) - positive
    return (loss * seen).sum() / seen.sum().clamp(min=1)


def batch_losses(model: Mini, batch: Batch, rng: np.random.Generator,
                 device: torch.device) -> Losses:
    """Run one batch as the masker would and compare with the truth, at the masks' resolution.

    Args:
        model: in training or evaluation mode.
        batch: B references, T targets each.
        rng: source of sampled places and of given prompts.
        device: the model's.
    """
    count, per, height, width = batch.targets.shape[:4]
    geometry = model.geometry(height, width, None, device)
    working = geometry.of_mask
    frames = np.concatenate([batch.references, batch.targets.reshape(-1, height, width, 3)])
    encoding = model.encode(torch.from_numpy(frames).to(device)).on_grid(geometry.grid_size)
    reference, targets = _select(encoding, slice(0, count)), _select(encoding, slice(count, None))
    features = {name: value.repeat_interleave(per, 0) for name, value in
                _reference_features(reference, batch, geometry, device).items()}
    labels = batch.target_labels.reshape(count * per, height, width)
    there = torch.from_numpy(labels > 0).to(device).float()
    shown = there.mean(dim=(1, 2)) > SEEN_SHARE
    truth = geometry.frame_to_mask(there)[:, :working.height, :working.width]
    maps = similarity_maps(targets, features, working)
    guides = guide('full', maps[:, 0], targets, _samples(reference, batch, per, geometry, device),
                 targets.maps, working)
    assert guides is not None
    total = _similarity_loss(guides[:, 0], truth) + 0.5 * _similarity_loss(guides[:, 3], truth)
    if model.training:
        guides = _withheld(rng, guides)
    prompts = pick_prompts(guided(model, maps, guides).detach())
    at = prompts.points[:, 0]
    hit = truth[torch.arange(len(at), device=device), at[:, 1], at[:, 0]] > 0.5
    if model.training:
        prompts = _give_prompts(rng, prompts, (truth > 0.5).cpu().numpy())
    given = working.frame_to_mask(guides) * model.similarity_gain
    points = prompts.points * working.prompt_scale[:2]
    logits, predicted, presence = model.decode_with_presence(targets, points, prompts.labels, None,
                                                             None, given)
    assert presence is not None
    first = working.padded_to_frame(logits)
    total = total + _pass_loss(first, predicted, truth, shown) \
        + F.binary_cross_entropy_with_logits(presence, shown.float()) \
        + _evidence_loss(working.padded_to_frame(model.evidence_logits(given)), truth)
    if model.training and rng.random() < SECOND_PASS_SHARE:
        mean = first.mean(dim=1)
        boxes = mask_box(mean > 0) * working.prompt_scale
        again, predicted, _ = model.decode_with_presence(targets, points, prompts.labels, boxes,
                                                         logits.mean(dim=1).detach(), given)
        total = total + _pass_loss(working.padded_to_frame(again), predicted, truth, shown)
    total = total + _descriptor_loss(rng, reference, targets, batch, labels, per, geometry)
    found = first.mean(dim=1).detach()
    if not model.training:
        found = torch.where((presence > model.presence_threshold)[:, None, None], found, -1.0)
    iou = true_iou(found[:, None], truth)[:, 0]
    area = (found > 0).float().mean(dim=(1, 2))
    return Losses(total, float(iou[shown].mean()), float(hit[shown].float().mean()),
                  float(area[~shown].mean()) if bool((~shown).any()) else 0.0, presence.detach(),
                  shown)


def _evidence_loss(evidence: Tensor, truth: Tensor) -> Tensor:
    """Return the cross entropy of (N, 1, h, w) evidence, object and surroundings weighing alike."""
    share = truth.mean(dim=(1, 2), keepdim=True).clamp(min=0.02)
    weight = torch.where(truth > 0.5, 0.5 / share, torch.full_like(share, 0.6))
    return 0.5 * F.binary_cross_entropy_with_logits(evidence[:, 0], truth, weight=weight)


def _give_prompts(rng: np.random.Generator, prompts: Prompts,
                  inside_masks: npt.NDArray[np.bool_]) -> Prompts:
    """Replace some object prompts by true ones, so that a person's click works too."""
    points = prompts.points.clone()
    for index, one in enumerate(inside_masks):
        inside = np.flatnonzero(one)
        if len(inside) and rng.random() < GIVEN_PROMPT_SHARE:
            place = int(rng.choice(inside))
            points[index, 0, 0], points[index, 0, 1] = place % one.shape[1], place // one.shape[1]
    return Prompts(points, prompts.labels)


def _withheld(rng: np.random.Generator, guides: Tensor) -> Tensor:
    """Put zeros in the place of some of the maps."""
    guides = guides.clone()
    for odds, maps in WITHHELD.items():
        if rng.random() < odds:
            guides[:, list(maps)] = 0
    return guides


def _descriptor_loss(rng: np.random.Generator, reference: Encoding, targets: Encoding,
                     batch: Batch, labels: npt.NDArray[np.uint8], per: int,
                     geometry: Geometry) -> Tensor:
    device = geometry.device
    here = _draw_places(rng, batch.reference_labels, REFERENCE_SAMPLES, 0)
    there = _draw_places(rng, labels, TARGET_SAMPLES // 2, TARGET_SAMPLES // 2)
    rows = np.arange(len(here))[:, None]
    here_labels = torch.from_numpy(batch.reference_labels[rows, here[..., 1], here[..., 0]])
    rows = np.arange(len(there))[:, None]
    there_labels = torch.from_numpy(labels[rows, there[..., 1], there[..., 0]])
    source = _sample(reference.maps['sam'].maps, torch.from_numpy(here).to(device), geometry)
    goal = _sample(targets.maps['sam'].maps, torch.from_numpy(there).to(device), geometry)
    return 0.5 * correspondence_loss(
        source.repeat_interleave(per, 0), goal,
        here_labels.to(device).repeat_interleave(per, 0), there_labels.to(device))
