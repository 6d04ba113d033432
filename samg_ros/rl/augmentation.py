# SPDX-License-Identifier: Apache-2.0
"""The random shift of DrQ-v2, as the integer crop that it is.

DrQ-v2 pads an image by repeating its border and samples it at a randomly shifted grid with
bilinear interpolation. The shift is a whole number of pixels, so the interpolation only ever
reads one pixel: gathering at an index gives the same values for a copy's price.
"""

import torch
from torch import Tensor

from samg_ros.errors import InvalidInputError


def shift_offsets(count: int, pad: int, generator: torch.Generator) -> Tensor:
    """Draw one crop position per image.

    Args:
        count: number of images.
        pad: largest shift in pixels.
        generator: source of randomness; the result lies on its device.

    Returns:
        (count, 2) int64 in [0, 2 * pad]: row and column of the crop in the padded image;
        (pad, pad) shifts nothing.
    """
    return torch.randint(
        0, 2 * pad + 1, (count, 2), generator=generator, device=generator.device
    )


def shift(pixels: Tensor, offsets: Tensor, pad: int) -> Tensor:
    """Shift every image of a batch by its own whole number of pixels.

    Equal to padding each image by `pad` repeated border pixels and cropping at its offset.

    Args:
        pixels: (N, C, H, W) of any dtype, contiguous.
        offsets: (N, 2) int64 in [0, 2 * pad]: row and column of the crop.
        pad: width of the repeated border in pixels.

    Returns:
        (N, C, H, W) of the same dtype, new memory.

    Raises:
        InvalidInputError: if the shapes do not fit each other.
    """
    if pixels.ndim != 4 or offsets.shape != (len(pixels), 2):
        raise InvalidInputError(
            f'pixels must be (N, C, H, W) and offsets (N, 2), got {tuple(pixels.shape)} '
            f'and {tuple(offsets.shape)}'
        )
    count, channels, height, width = pixels.shape
    rows = torch.arange(height, device=pixels.device) + (offsets[:, :1] - pad)
    columns = torch.arange(width, device=pixels.device) + (offsets[:, 1:] - pad)
    rows = rows.clamp_(0, height - 1).mul_(width)
    columns = columns.clamp_(0, width - 1)
    index = (rows[:, :, None] + columns[:, None, :]).reshape(count, 1, -1)
    flat = pixels.reshape(count, channels, -1)
    return flat.gather(2, index.expand(-1, channels, -1)).reshape(pixels.shape)
