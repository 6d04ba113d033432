# SPDX-License-Identifier: Apache-2.0
"""Fitting how the first pass's three masks are combined (PerSAM-F, arXiv 2305.03048, 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from samg_ros.masking.cascade import Prompts, first_pass, pick_prompts
from samg_ros.masking.geometry import Geometry
from samg_ros.masking.models.base import Encoding, VisionModel
from samg_ros.masking.similarity import similarity_maps

LEARNING_RATE = 1e-3
EPSILON = 1e-4
JITTER = 0.01
FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0
CHUNK = 100


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return 1 - the dice coefficient of (P,) logits and a (P,) float target, smoothed by 1."""
    probability = logits.sigmoid()
    return 1 - (2 * (probability * target).sum() + 1) / (probability.sum() + target.sum() + 1)


def focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the sigmoid focal loss (arXiv 1708.02002), alpha 0.25, gamma 2, mean over (P,)."""
    probability = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction='none')
    right = probability * target + (1 - probability) * (1 - target)
    balance = FOCAL_ALPHA * target + (1 - FOCAL_ALPHA) * (1 - target)
    return (balance * entropy * (1 - right) ** FOCAL_GAMMA).mean()


def combination(w1: Tensor, w2: Tensor) -> Tensor:
    """Return (3,): 1 - w1 - w2, w1, w2."""
    return torch.stack([1 - w1 - w2, w1, w2])


def _jittered_prompts(encoding: Encoding, features: dict[str, Tensor], geometry: Geometry,
                      first_point: int, steps: int, seed: int) -> tuple[Prompts, Tensor]:
    """Return the distinct prompt sets of all steps, and which of them each step uses."""
    maps = similarity_maps(encoding, {k: v[None] for k, v in features.items()}, geometry)
    still = pick_prompts(maps)
    points = next(iter(features.values())).shape[0] - first_point
    if points == 0:
        return still, torch.zeros(steps, dtype=torch.long)
    generator = torch.Generator().manual_seed(seed)
    found = []
    for start in range(0, steps, CHUNK):
        count = min(CHUNK, steps - start)
        moved = {}
        for name, feature in features.items():
            noise = torch.randn(count * points, feature.shape[1], generator=generator)
            moved[name] = (feature[first_point:].repeat(count, 1)
                           + JITTER * noise.to(feature.device))[None]
        places = similarity_maps(encoding, moved, geometry)[0].flatten(1).argmax(dim=1)
        found.append(places.view(count, points))
    places, of_step = torch.cat(found).unique(dim=0, return_inverse=True)
    fixed = still.points.shape[1] - points
    columns = torch.stack([places % geometry.width, places // geometry.width], dim=-1)
    sets = torch.cat([still.points[:, :fixed].expand(len(places), -1, -1), columns], dim=1)
    return Prompts(sets, still.labels.expand(len(places), -1)), of_step.cpu()


def fit_weights(model: VisionModel, encoding: Encoding, features: dict[str, Tensor],
                geometry: Geometry, mask: Tensor, first_point: int, similarity_prompt: bool,
                steps: int = 1000, seed: int = 0) -> Tensor:
    """Fit the combination weights to the reference mask.

    AdamW at 1e-3 with cosine decay on dice + focal loss; each step jitters the clicked points'
    features by unit noise x 0.01. The logits depend on the prompts alone, so each distinct prompt
    set is decoded once.

    Args:
        model: whose decoder is combined.
        encoding: of the reference image, N = 1.
        features: per encoder (R, C) float reference features.
        geometry: of the reference image.
        mask: (H, W) bool, the reference mask.
        first_point: index of the first clicked point among the R features.
        similarity_prompt: whether the first pass gets the similarity map as mask prompt.
        steps: optimiser steps.
        seed: seed of the jitter.

    Returns:
        (3,) float: 1 - w1 - w2, w1, w2.
    """
    with torch.no_grad():
        prompts, of_step = _jittered_prompts(encoding, features, geometry, first_point, steps, seed)
        count = len(prompts.points)
        guide = None
        if similarity_prompt:
            maps = similarity_maps(encoding, {k: v[None, :1] for k, v in features.items()},
                                   geometry)
            guide = maps[:, 0].expand(count, -1, -1)
        logits, _ = first_pass(model, encoding.repeated(count), geometry, prompts, guide)
        logits = geometry.padded_to_frame(logits).flatten(2)
    target = mask.flatten().to(logits.dtype)
    with torch.enable_grad():
        w1, w2 = (torch.full((), 1 / 3, device=logits.device, requires_grad=True)
                  for _ in range(2))
        optimiser = torch.optim.AdamW([w1, w2], lr=LEARNING_RATE, eps=EPSILON)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for index in of_step.tolist():
            combined = combination(w1, w2) @ logits[index]
            optimiser.zero_grad()
            (dice_loss(combined, target) + focal_loss(combined, target)).backward()
            optimiser.step()
            schedule.step()
    return combination(w1, w2).detach()
