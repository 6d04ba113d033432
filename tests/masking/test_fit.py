# SPDX-License-Identifier: Apache-2.0
"""The fit of the mask combination, against autograd and torch's own optimiser."""

import numpy as np
import pytest
import torch
from plain_samg import persam_loss

from samg_ros.masking.references.fit import descend, loss_gradient


@pytest.fixture
def problem():
    """Three noisy versions of a disc's logits for two prompt sets, and the disc."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:40, :40]
    target = ((x - 18) ** 2 + (y - 22) ** 2 < 90).ravel()
    clean = np.where(target, 4, -6)
    noise = rng.normal(size=(2, 3, 1600)) * np.array([1, 4, 9])[:, None]
    return clean + noise, target


def test_the_gradient_is_autograd_s(problem):
    logits, target = problem
    for row in (logits[0, 0], logits[1, 2], 20 * logits[0, 1]):
        x = torch.tensor(row, requires_grad=True)
        persam_loss(x, torch.tensor(target).double()).backward()
        np.testing.assert_allclose(loss_gradient(row, target), x.grad, rtol=1e-9, atol=1e-15)


def test_descent_is_a_thousand_steps_of_torch_s_adamw(problem):
    logits, target = problem
    of_step = np.random.default_rng(1).integers(0, 2, 1000)
    w = torch.full((2,), 1 / 3, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.AdamW([w], lr=1e-3, eps=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 1000)
    wanted, sets = torch.tensor(target).double(), torch.tensor(logits)
    for index in of_step:
        combined = torch.stack([1 - w.sum(), w[0], w[1]]) @ sets[index]
        optimiser.zero_grad()
        persam_loss(combined, wanted).backward()
        optimiser.step()
        schedule.step()
    start = torch.full((3,), 1 / 3, dtype=torch.float64) @ sets[0]
    assert persam_loss(combined.detach(), wanted) < 0.9 * persam_loss(start, wanted)
    for dtype, close in ((np.float64, 1e-9), (np.float32, 1e-4)):
        assert descend(logits.astype(dtype), target, of_step) == \
            pytest.approx(w.tolist(), abs=close)


def test_logits_far_out_give_finite_weights(problem):
    logits, target = problem
    assert np.isfinite(descend((1e4 * logits).astype(np.float32), target,
                               np.zeros(50, int))).all()
