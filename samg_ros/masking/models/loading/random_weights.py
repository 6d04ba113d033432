# SPDX-License-Identifier: Apache-2.0
"""Random weights in which every branch of a network counts.

For comparing two implementations, and for timing one, where no checkpoint is at hand. A fresh
network will not do: many start with tokens of zero, position tables of zero, layer scales near
zero or biases of zero, and an error in what these multiply would not show.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)
TABLE_STD = 0.5  # of tokens, embeddings and position tables
SPREAD = 0.1  # of biases around 0 and of scales around 1

Model = TypeVar('Model', bound=nn.Module)


def randomize(model: Model, seed: int = 0) -> Model:
    """Overwrite every parameter and saved buffer such that activations keep about unit size.

    Args:
        model: changed in place; on the CPU.
        seed: of the random numbers.

    Returns:
        The model, in evaluation mode.
    """
    generator = torch.Generator().manual_seed(seed)
    saved = set(model.state_dict(keep_vars=True))
    with torch.no_grad():
        for prefix, module in model.named_modules():
            values = {**module._parameters, **module._buffers}
            for name, value in values.items():
                known = f'{prefix}.{name}'.lstrip('.') in saved
                if known and value is not None and value.is_floating_point():
                    noise = torch.empty(value.shape).normal_(generator=generator)
                    value.copy_(_scaled(module, name, noise))
    return model.eval()


def _scaled(module: nn.Module, name: str, noise: Tensor) -> Tensor:
    if name == 'running_var':
        return 1 + SPREAD * noise.abs()
    if name == 'running_mean' or name.endswith('bias'):
        return SPREAD * noise
    if isinstance(module, WEIGHTED):
        # ConvTranspose2d keeps its inputs first; here each output pixel has one tap.
        inputs = len(noise) if isinstance(module, nn.ConvTranspose2d) else noise[0].numel()
        return noise / inputs ** 0.5
    if noise.ndim == 1:  # of norms and layer scales
        return 1 + SPREAD * noise
    return TABLE_STD * noise


def settle_batch_norms(model: nn.Module, run: Callable[[], object]) -> None:
    """Give every batch norm the statistics of what reaches it, as training would have.

    Without, a deep network of residuals multiplies its activations by a thousand or more, and at
    that size activation functions cannot be told apart.

    Args:
        model: in evaluation mode; its running statistics are overwritten.
        run: calls the model with something like a picture.
    """
    norms = [module for module in model.modules()
             if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0  # this one batch counts, nothing before it
    with torch.no_grad():
        run()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval()
        norm.momentum = momentum
