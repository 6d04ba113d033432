# SPDX-License-Identifier: Apache-2.0
"""Whether a torch device is there, asked before anything else can fail because it is not."""

import torch

from samg_ros.errors import ConfigError, first_line


def usable_device(device: str | torch.device) -> torch.device:
    """Return a device on which a tensor could be made and read.

    Args:
        device: 'cpu', 'cuda', 'cuda:1', ...

    Raises:
        ConfigError: if there is no such device, or this machine or torch cannot use it.
    """
    try:
        found = torch.device(device)
        torch.zeros(1, device=found).item()  # `meta` makes tensors too, but without numbers
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        raise ConfigError(
            f"device '{device}' cannot be used ({first_line(error)}); take cpu"
        ) from error
    return found
