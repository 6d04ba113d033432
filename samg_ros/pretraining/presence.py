# SPDX-License-Identifier: Apache-2.0
"""Makes `mini`'s word on whether the object is there a probability (arXiv 1706.04599)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samg_ros.masking.models.mini.network import Mini
from samg_ros.pretraining.batches import BatchSource
from samg_ros.pretraining.losses import batch_losses

BINS = 10


@torch.no_grad()
def calibrate_presence(model: Mini, source: BatchSource, seed: int, device: torch.device,
                       batches: int = 60) -> float:
    """Scale and shift the presence output so that its sigmoid is how often the object is there.

    The two numbers are fitted on half of some held-out batches (Platt scaling) and folded into the
    output's layer.

    Returns:
        The expected calibration error on the other half, 10 bins.
    """
    rng = np.random.default_rng([seed, 9])
    logits, shown = [], []
    for index in range(batches):
        keep_share = (0.0, 0.3, 1.0)[index % 3]
        losses = batch_losses(model.eval(), source.draw(rng, 8, 4, keep_share), rng, device)
        logits.append(losses.presence)
        shown.append(losses.shown.float())
    fitted = torch.cat(logits[::2]), torch.cat(shown[::2])
    scale, shift = _platt(*fitted)
    last = model.presence[-1]
    assert isinstance(last, nn.Linear)
    last.weight.mul_(scale)
    last.bias.mul_(scale).add_(shift)
    return calibration_error((torch.cat(logits[1::2]) * scale + shift).sigmoid(),
                             torch.cat(shown[1::2]))


@torch.enable_grad()
def _platt(logits: Tensor, shown: Tensor) -> tuple[float, float]:
    line = torch.tensor([1.0, 0.0], device=logits.device, requires_grad=True)
    optimiser = torch.optim.LBFGS([line], max_iter=100)

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = F.binary_cross_entropy_with_logits(logits * line[0] + line[1], shown)
        value.backward()
        return value

    optimiser.step(loss)
    scale, shift = line.detach().tolist()
    return scale, shift


def calibration_error(probability: Tensor, truth: Tensor) -> float:
    """Return the expected calibration error: how far said probabilities are from what happens.

    The predictions are put into BINS by their probability. In each bin the mean probability is
    compared with the share that is true; the bins count by how many predictions they hold.
    """
    bins = (probability * BINS).long().clamp(max=BINS - 1)
    error = 0.0
    for index in range(BINS):
        inside = bins == index
        if inside.any():
            gap = probability[inside].mean() - truth[inside].mean()
            error += float(inside.float().mean() * gap.abs())
    return error
