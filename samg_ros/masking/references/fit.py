# SPDX-License-Identifier: Apache-2.0
"""Fitting how the first pass's three masks are combined (PerSAM-F, arXiv 2305.03048, 3.3)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from samg_ros.masking.frames.decoder_passes import Prompts, first_pass, pick_prompts
from samg_ros.masking.frames.guidance import guide, guided, working_geometry
from samg_ros.masking.frames.similarity import similarity_maps, to_frame
from samg_ros.masking.geometry import Geometry
from samg_ros.masking.models.base import Encoding, VisionModel
from samg_ros.masking.references.samples import Samples

LEARNING_RATE = 1e-3
EPSILON = 1e-4
BETA1, BETA2, WEIGHT_DECAY = 0.9, 0.999, 0.01  # torch.optim.AdamW's defaults
JITTER = 0.01
"""Length of the noise on a clicked point's unit feature: SAM-G's code divides the noise by its own
norm before this factor."""
FOCAL_ALPHA = 0.25
MAP_VALUES = 2_000_000
"""Most values of the similarity maps that are computed at once."""
DECODED_VALUES = 4_500_000
"""Most values of the embedding for which prompt sets are decoded at once: four sets of SAM, many of
`mini`. Larger portions leave a CPU's cache and take longer for each set."""
LONGEST_SIDE = 256
"""Of the picture on which is fitted. A larger reference is shrunk: its maps and logits come from
grids no finer than this, so that more pixels cost time and say the same."""

Array = npt.NDArray[np.floating]


def loss_gradient(logits: Array, target: npt.NDArray[np.bool_]) -> Array:
    """Return the gradient of dice + focal loss by the logits.

    Dice, smoothed by 1, is 1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1); focal (arXiv 1708.02002)
    has alpha 0.25, gamma 2 and is the mean over pixels. Both have short derivatives, which makes a
    step some array operations instead of a graph.

    Args:
        logits: (P,) float.
        target: (P,) bool.

    Returns:
        (P,) float.
    """
    towards = np.where(target, logits, -logits)
    small = np.exp(-np.abs(towards))
    right = np.where(towards >= 0, 1, small) / (1 + small)  # probability of the true class
    log_right = np.minimum(towards, 0) - np.log(1 + small)
    wrong = 1 - right
    # Focal: with r = right, d/dx -(1 - r)^2 log r = (1 - r)^2 (2 r log r - (1 - r)).
    balance = np.where(target, FOCAL_ALPHA, 1 - FOCAL_ALPHA) / len(logits)
    gradient = balance * wrong**2 * (2 * right * log_right - wrong)
    # Dice: by p it is (2 I + 1) / S^2 - 2 t / S; p's own slope is r (1 - r).
    inside = float(right[target].sum())
    size = inside + float(wrong[~target].sum()) + float(target.sum()) + 1
    overlap = (2 * inside + 1) / size**2
    gradient += right * wrong * np.where(target, overlap - 2 / size, -overlap)
    signed: Array = np.where(target, gradient, -gradient)
    return signed


def descend(logits: Array, target: npt.NDArray[np.bool_],
            of_step: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Return w1 and w2 after AdamW (arXiv 1711.05101; decay 0.01) with a cosine schedule.

    Args:
        logits: (S, 3, P) float, of each distinct prompt set.
        target: (P,) bool.
        of_step: (steps,) which prompt set each step uses.
    """
    base, slopes = logits[:, 0], logits[:, 1:] - logits[:, :1]
    weights, mean, square = np.full(2, 1 / 3), np.zeros(2), np.zeros(2)
    for step, index in enumerate(of_step):
        slope = slopes[index]
        by_logits = loss_gradient(base[index] + weights.astype(slope.dtype) @ slope, target)
        gradient = (slope @ by_logits).astype(np.float64)
        rate = LEARNING_RATE * (1 + np.cos(np.pi * step / len(of_step))) / 2
        mean = BETA1 * mean + (1 - BETA1) * gradient
        square = BETA2 * square + (1 - BETA2) * gradient**2
        scale = np.sqrt(square / (1 - BETA2 ** (step + 1))) + EPSILON
        weights = weights * (1 - rate * WEIGHT_DECAY) \
            - rate * mean / (1 - BETA1 ** (step + 1)) / scale
    return float(weights[0]), float(weights[1])


def _jittered_prompts(still: Prompts, encoding: Encoding, features: dict[str, Tensor],
                      geometry: Geometry, first_point: int, steps: int,
                      seed: int) -> tuple[Prompts, Tensor]:
    """Return the distinct prompt sets of all steps, and which of them each step uses.

    `still` are the prompts of the features as they are.
    """
    points = next(iter(features.values())).shape[0] - first_point
    if points == 0:
        return still, torch.zeros(steps, dtype=torch.long)
    generator = torch.Generator().manual_seed(seed)
    noise = {name: F.normalize(torch.randn(steps, points, feature.shape[1], generator=generator),
                               dim=-1) for name, feature in features.items()}
    unit = {name: F.normalize(encoding.maps[name].maps[0], dim=0) for name in features}
    chunk = max(1, MAP_VALUES // (points * geometry.height * geometry.width))
    found = []
    for start in range(0, steps, chunk):
        total = torch.zeros((), device=geometry.device)
        for name, feature in features.items():
            moved = feature[first_point:] \
                + JITTER * noise[name][start:start + chunk].to(feature.device)
            cosines = moved.flatten(0, 1) @ unit[name].flatten(1)
            total = total + to_frame(cosines.unflatten(1, unit[name].shape[1:]),
                                     encoding.maps[name].padded, geometry)
        found.append(total.flatten(1).argmax(dim=1).view(-1, points))
    places, of_step = torch.cat(found).unique(dim=0, return_inverse=True)
    fixed = still.points.shape[1] - points
    columns = torch.stack([places % geometry.width, places // geometry.width], dim=-1)
    sets = torch.cat([still.points[:, :fixed].expand(len(places), -1, -1), columns], dim=1)
    return Prompts(sets, still.labels.expand(len(places), -1)), of_step.cpu()


def _shrunk(geometry: Geometry, mask: Tensor, guidance: str) -> tuple[Geometry, Tensor]:
    """Return geometry and (H, W) bool mask of the picture at the size on which is fitted."""
    working = working_geometry(guidance, geometry)
    scale = min(1, LONGEST_SIDE / max(working.height, working.width))
    size = round(working.height * scale), round(working.width * scale)
    if size == (geometry.height, geometry.width):
        return geometry, mask
    cover = F.interpolate(mask[None, None].float(), size, mode='bilinear', antialias=True,
                          align_corners=False)[0, 0]
    inside = cover >= torch.clamp(cover.max() / 2, max=0.5)  # as thin as it may be, some is left
    return replace(geometry, height=size[0], width=size[1]), inside


def fit_weights(model: VisionModel, encoding: Encoding, features: dict[str, Tensor],
                geometry: Geometry, mask: Tensor, first_point: int, guidance: str, samples: Samples,
                steps: int = 1000, seed: int = 0) -> Tensor:
    """Fit the combination weights to the reference mask.

    AdamW at 1e-3 with cosine decay on dice + focal loss; each step jitters the clicked points'
    features by noise of length 0.01. The logits depend on the prompts alone, so each distinct
    prompt set is decoded once.

    Args:
        model: whose decoder is combined.
        encoding: of the reference image, N = 1.
        features: per encoder (R, C) float reference features.
        geometry: of the reference image.
        mask: (H, W) bool, the reference mask.
        first_point: index of the first clicked point among the R features.
        guidance: which of SIMILARITY_PROMPTS the first pass gets.
        samples: of the object.
        steps: optimiser steps.
        seed: seed of the jitter.

    Returns:
        (3,) float: 1 - w1 - w2, w1, w2.
    """
    geometry, mask = _shrunk(geometry, mask, guidance)
    with torch.no_grad():
        maps = similarity_maps(encoding, features, geometry)
        guides = guide(guidance, maps[:, 0], encoding, Samples.stack([samples]), features, geometry)
        still = pick_prompts(guided(model, maps, guides))
        prompts, of_step = _jittered_prompts(still, encoding, features, geometry, first_point,
                                             steps, seed)
        parts = []
        portion = max(1, DECODED_VALUES // sum(tensor.numel() for tensor in encoding.embedding))
        for points, labels in zip(prompts.points.split(portion),
                                  prompts.labels.split(portion), strict=True):
            count = len(points)
            found, _ = first_pass(model, encoding.repeated(count), geometry,
                                  Prompts(points, labels),
                                  None if guides is None else guides.expand(count, -1, -1, -1))
            parts.append(geometry.padded_to_frame(found).flatten(2))
        logits = torch.cat(parts)
    w1, w2 = descend(logits.float().cpu().numpy(), mask.flatten().cpu().numpy(), of_step.numpy())
    return torch.tensor([1 - w1 - w2, w1, w2], device=logits.device)
