# SPDX-License-Identifier: Apache-2.0
"""A second look: crop around what was found, and mask the crop at the network's full resolution.

The reference is cropped by the same rule, so that object and reference have the same size whatever
the distance to the camera. Small and thin objects gain, large ones may lose: their crop shows
little that is new and less of the surroundings. Everything stays on the device but the question
of `look_near` whether the object is still whole in its crop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from samg_ros.masking.frames.decoder_passes import mask_box
from samg_ros.masking.frames.prediction import Prediction
from samg_ros.masking.references.reference import Reference

MARGIN = 1.6
"""Side of the crop over the longer side of the box: the decoder has to see what is around, and the
first mask may lack a limb. With half of it on each side, 0.3 of the object may be missing."""
SMALLEST = 0.2
"""Least side of a crop, as a share of the frame's longer side: further enlarged there is nothing
more to see at the resolutions of cameras and simulators."""
_DETAIL = 4
"""Larger frames are first scaled down to this many times the network's input. The smallest crop is
then about as large as the input, so no pixel is skipped."""
OUTSIDE = -20.0
"""Logit of pixels outside the crop; the network's own are within +-20."""

Finder = Callable[[Tensor], Prediction]


def crop_windows(masks: Tensor) -> Tensor:
    """Return the squares to look at again.

    Args:
        masks: (N, H, W) bool; of an empty one the whole frame is taken.

    Returns:
        (N, 3) float: centre x, centre y and side in pixels. Squares may reach over the frame.
    """
    height, width = masks.shape[1:]
    x0, y0, x1, y1 = mask_box(masks).float().unbind(dim=1)
    side = MARGIN * torch.maximum(x1 - x0 + 1, y1 - y0 + 1)
    longer = float(max(height, width))
    side = side.clamp(SMALLEST * longer, longer)
    centres = []
    for low, high, extent in ((x0, x1, width), (y0, y1, height)):
        centre = (low + high + 1) / 2
        room = (extent - side).clamp(min=0) / 2  # so far the centre may be from the frame's
        centres.append(torch.minimum(torch.maximum(centre, extent / 2 - room), extent / 2 + room))
    return torch.stack([*centres, side], dim=1)


def crop(frames: Tensor, windows: Tensor, size: int) -> Tensor:
    """Cut squares out of frames and scale them.

    Args:
        frames: (N, H, W, C) uint8 or float.
        windows: (N, 3), see `crop_windows`.
        size: side of the result in pixels.

    Returns:
        (N, size, size, C) of the frames' dtype; beyond the frame its border goes on.
    """
    height, width = frames.shape[1:3]
    pictures = frames.permute(0, 3, 1, 2).float()
    if max(height, width) > _DETAIL * size:
        scale = _DETAIL * size / max(height, width)
        pictures = F.interpolate(pictures, (round(height * scale), round(width * scale)),
                                 mode='bilinear', antialias=True, align_corners=False)
    steps = (torch.arange(size, device=frames.device) + 0.5) / size - 0.5
    x = (windows[:, :1] + steps * windows[:, 2:]) / width * 2 - 1
    y = (windows[:, 1:2] + steps * windows[:, 2:]) / height * 2 - 1
    grid = torch.stack([x[:, None, :].expand(-1, size, -1), y[:, :, None].expand(-1, -1, size)],
                       dim=-1)
    found = F.grid_sample(pictures, grid, padding_mode='border', align_corners=False)
    found = found.permute(0, 2, 3, 1)
    return found.round().to(torch.uint8) if frames.dtype == torch.uint8 else found


def paste(logits: Tensor, windows: Tensor, height: int, width: int,
          outside: float = OUTSIDE) -> Tensor:
    """Put maps of crops back into their frames.

    Args:
        logits: (N, size, size) float.
        windows: (N, 3), see `crop_windows`.
        height: of the frames in pixels.
        width: of the frames in pixels.
        outside: value beyond the crop.

    Returns:
        (N, height, width) float.
    """
    device = logits.device
    x = ((torch.arange(width, device=device) + 0.5 - windows[:, :1]) / windows[:, 2:]) * 2
    y = ((torch.arange(height, device=device) + 0.5 - windows[:, 1:2]) / windows[:, 2:]) * 2
    grid = torch.stack([x[:, None, :].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)],
                       dim=-1)
    found = F.grid_sample(logits[:, None], grid, padding_mode='border', align_corners=False)[:, 0]
    inside = (grid.abs() <= 1).all(dim=-1)
    return torch.where(inside, found, outside)


def look_again(found: Prediction, frames: Tensor, size: int, finders: Sequence[Finder],
               ) -> Prediction:
    """Return the prediction with the masks of a second look, where the first found something.

    Args:
        found: by the first look, of O objects.
        frames: (N, H, W, 3) uint8 RGB.
        size: side of a crop in pixels.
        finders: of each object, what finds it in (N, size, size, 3) crops.
    """
    logits, scores, masks = [], [], []
    for index, finder in enumerate(finders):
        first = found.object_masks[:, index]
        windows = crop_windows(first)
        close = finder(crop(frames, windows, size))
        there = first.flatten(1).any(dim=1)
        pasted, again = _pasted(close, windows, frames)
        logits.append(torch.where(there[:, None, None], pasted, found.logits[:, index]))
        scores.append(torch.where(there, close.predicted_iou[:, 0], found.predicted_iou[:, index]))
        masks.append(torch.where(there[:, None, None], again, first))
    return replace(found, object_masks=torch.stack(masks, dim=1),
                   logits=torch.stack(logits, dim=1), predicted_iou=torch.stack(scores, dim=1))


def look_near(before: Tensor, frames: Tensor, size: int, finders: Sequence[Finder],
              ) -> Prediction | None:
    """Return what is found where the objects were in the frame before.

    Args:
        before: (1, O, H, W) bool, the objects' masks there.
        frames: (1, H, W, 3) uint8 RGB.
        size: side of a crop in pixels.
        finders: of each object, what finds it in (1, size, size, 3) crops.

    Returns:
        None if an object was not there before, is not there now, or reaches over its crop.
    """
    if not bool(before.flatten(2).any(dim=2).all()):
        return None
    height, width = frames.shape[1:3]
    looks = []
    for index, finder in enumerate(finders):
        windows = crop_windows(before[:, index])
        close = finder(crop(frames, windows, size))
        pasted, mask = _pasted(close, windows, frames)
        if _reaches_over(mask[0], windows[0]) or not bool(mask.any()):
            return None
        prompts = close.prompts[0]
        to_frame = windows[0, 2] / size
        points = (prompts.points + 0.5) * to_frame + windows[0, :2] - windows[0, 2] / 2
        edge = torch.tensor([width - 1, height - 1], device=points.device)
        points = torch.minimum(points.floor().clamp(min=0), edge).to(prompts.points.dtype)
        similarity = paste(close.similarity[:, 0], windows, height, width, -1.0)
        looks.append((mask, pasted, close.predicted_iou[:, 0], similarity,
                      replace(prompts, points=points)))
    *maps, prompts_ = zip(*looks, strict=True)
    masks, logits, scores, similarities = (torch.stack(each, dim=1) for each in maps)
    return Prediction(masks, logits, scores, prompts_, similarities)


def _pasted(close: Prediction, windows: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits and mask of a crop's object in its frame, (N, H, W) each."""
    logits = paste(close.logits[:, 0], windows, *frames.shape[1:3])
    kept = close.object_masks[:, 0].flatten(1).any(dim=1)
    return logits, (logits > 0) & kept[:, None, None]


def _reaches_over(mask: Tensor, window: Tensor) -> bool:
    """Return whether a mask (H, W) touches a side of its window that is not the frame's own."""
    height, width = mask.shape
    x, y, half = window[0].item(), window[1].item(), window[2].item() / 2
    x0, y0, x1, y1 = mask_box(mask[None])[0].tolist()
    return (x - half > 0.5 and x0 < x - half + 1.5) or (y - half > 0.5 and y0 < y - half + 1.5) \
        or (x + half < width - 0.5 and x1 > x + half - 2.5) \
        or (y + half < height - 0.5 and y1 > y + half - 2.5)


def cropped_reference(reference: Reference, size: int) -> Reference:
    """Return a reference cropped around its object as `look_again` crops frames."""
    mask = torch.from_numpy(reference.mask)
    windows = crop_windows(mask[None])

    def cut(part: Tensor) -> Tensor:
        share = crop(part[None, :, :, None].float(), windows, size)[0, :, :, 0]
        return share >= torch.clamp(share.max() / 2, max=0.5)  # as thin as it is, some is left

    x, y, side = windows[0].tolist()
    points = (reference.points + 0.5 - (x, y)) / side * size + size / 2 - 0.5
    return replace(
        reference, image=crop(torch.from_numpy(reference.image)[None], windows, size)[0].numpy(),
        mask=cut(mask).numpy(), points=points.clip(0, size - 1),
        parts=tuple(cut(torch.from_numpy(part)).numpy() for part in reference.parts))
