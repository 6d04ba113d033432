# SPDX-License-Identifier: Apache-2.0
"""What is done to observations before the networks see them, a batch at a time.

The random shift of DrQ-v2, as the integer crop that it is. DrQ-v2 pads an image by repeating its
border and samples it at a randomly shifted grid with bilinear interpolation. The shift is a whole
number of pixels, so the interpolation only ever reads one pixel: gathering at an index gives the
same values for a copy's price.

The strong augmentations of SVEA (Hansen et al. 2021, arXiv 2107.00644): another picture laid over
the observation, and a random convolution.
"""

import torch
import torch.nn.functional as F
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


def overlay(pixels: Tensor, pictures: Tensor) -> Tensor:
    """Mix observations with other pictures, half and half.

    Args:
        pixels: (N, 3 * k, H, W) in 0 to 255, k stacked RGB frames.
        pictures: (N, 3, H, W) in 0 to 255; each goes over all frames of its observation.

    Returns:
        (N, 3 * k, H, W) float32 in 0 to 255.

    Raises:
        InvalidInputError: if the shapes do not fit each other.
    """
    frames = _frames(pixels)
    if pictures.shape != frames[:, 0].shape:
        raise InvalidInputError(
            f'pictures must be {tuple(frames[:, 0].shape)}, got {tuple(pictures.shape)}'
        )
    return (frames.float() + pictures[:, None]).mul_(0.5).flatten(1, 2)


def random_convolution(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Filter every observation with its own random 3 x 3 convolution, and squash the result.

    The weights are standard normal on pixels in 0 to 1, the border is repeated, and a sigmoid
    brings the result back to 0 to 1. The frames of one observation share their weights.

    Args:
        pixels: (N, 3 * k, H, W) in 0 to 255, k stacked RGB frames.
        generator: source of randomness, on the pixels' device.

    Returns:
        (N, 3 * k, H, W) float32 in 0 to 255.

    Raises:
        InvalidInputError: if the shape is another.
    """
    frames = _frames(pixels)
    count, _, _, height, width = frames.shape
    kernels = torch.randn(3 * count, 3, 3, 3, generator=generator, device=generator.device)
    # One convolution with a group per observation; its frames are the batch.
    planes = frames.transpose(0, 1).reshape(-1, 3 * count, height, width).float().mul_(1 / 255)
    filtered = F.conv2d(F.pad(planes, (1, 1, 1, 1), 'replicate'), kernels, groups=count)
    filtered = filtered.sigmoid_().mul_(255).unflatten(1, (count, 3))
    return filtered.transpose(0, 1).flatten(1, 2)


def _frames(pixels: Tensor) -> Tensor:
    """Split stacked frames: (N, 3 * k, H, W) to (N, k, 3, H, W)."""
    if pixels.ndim != 4 or pixels.shape[1] % 3:
        raise InvalidInputError(f'pixels must be (N, 3 * k, H, W), got {tuple(pixels.shape)}')
    return pixels.unflatten(1, (-1, 3))
