# SPDX-License-Identifier: Apache-2.0
"""From similarity maps to a mask: point prompts and up to three decoder passes (DESIGN 4).

Everything is batched and stays on the device; nothing here asks for a value on the host.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from samg_ros.masking.geometry import Geometry
from samg_ros.masking.models.base import Encoding, VisionModel

POSITIVE, NEGATIVE = 1, 0


@dataclass(frozen=True)
class Prompts:
    """Point prompts of N frames.

    Attributes:
        points: (N, K, 2) int [x, y] in frame pixels.
        labels: (N, K) int, 1 on the object, 0 beside it.
    """

    points: Tensor
    labels: Tensor

    def with_negative(self, point: Tensor) -> Prompts:
        """Return these prompts with one more negative point (N, 1, 2)."""
        label = self.labels.new_full((len(point), 1), NEGATIVE)
        return Prompts(torch.cat([self.points, point], 1), torch.cat([self.labels, label], 1))


@dataclass(frozen=True)
class Pass:
    """What one decoder pass gave.

    Attributes:
        logits: (N, 3, m, m) float.
        predicted_iou: (N, 3) float.
        chosen: (N, m, m) float, the combined or best logits.
        score: (N,) float, the predicted IoU of the chosen ones.
    """

    logits: Tensor
    predicted_iou: Tensor
    chosen: Tensor
    score: Tensor


def _pixel(index: Tensor, width: int) -> Tensor:
    return torch.stack([index % width, index // width], dim=-1)


def pick_prompts(similarity: Tensor) -> Prompts:
    """Choose the point prompts.

    Args:
        similarity: (N, R, H, W) float; the first map is the object's, the others belong to parts
            and clicked points.

    Returns:
        Positive at the object map's maximum, negative at its minimum, then one positive at the
        maximum of every other map.
    """
    width = similarity.shape[-1]
    flat = similarity.flatten(2)
    highest = _pixel(flat.argmax(dim=2), width)
    lowest = _pixel(flat[:, :1].argmin(dim=2), width)
    labels = highest.new_full((len(flat), flat.shape[1] + 1), POSITIVE)
    labels[:, 1] = NEGATIVE
    return Prompts(torch.cat([highest[:, :1], lowest, highest[:, 1:]], dim=1), labels)


def mask_box(mask: Tensor) -> Tensor:
    """Return (N, 4) int x0, y0, x1, y1 of the true pixels of (N, H, W) bool, both ends inside.

    The whole frame where a mask is empty.
    """
    height, width = mask.shape[1:]
    ends = []
    for line, size in ((mask.any(dim=1), width), (mask.any(dim=2), height)):
        line = line.byte()
        first = line.argmax(dim=1)
        last = size - 1 - line.flip(1).argmax(dim=1)  # an empty line reads 0 .. size - 1
        ends.append((first, last))
    (x0, x1), (y0, y1) = ends
    return torch.stack([x0, y0, x1, y1], dim=1)


def least_similar_inside(similarity: Tensor, box: Tensor) -> Tensor:
    """Return (N, 1, 2) int [x, y] of the least of (N, H, W) similarity inside (N, 4) boxes."""
    height, width = similarity.shape[1:]
    x = torch.arange(width, device=box.device)
    y = torch.arange(height, device=box.device)
    in_x = (x >= box[:, :1]) & (x <= box[:, 2:3])
    in_y = (y >= box[:, 1:2]) & (y <= box[:, 3:])
    outside = ~(in_y[:, :, None] & in_x[:, None, :])
    lowest = similarity.masked_fill(outside, float('inf')).flatten(1).argmin(dim=1)
    return _pixel(lowest, width)[:, None]


def _decode(model: VisionModel, encoding: Encoding, geometry: Geometry, prompts: Prompts,
            box: Tensor | None, logits: Tensor | None,
            guide: Tensor | None) -> tuple[Tensor, Tensor]:
    scale = geometry.prompt_scale
    boxes = None if box is None else box * scale
    if guide is not None and not model.guided:
        logits = model.object_map(guide)[:, 0] if logits is None else logits
        guide = None
    return model.decode(encoding, prompts.points * scale[:2], prompts.labels, boxes, logits, guide)


def _guide_logits(model: VisionModel, geometry: Geometry, guide: Tensor | None) -> Tensor | None:
    return None if guide is None else geometry.frame_to_mask(guide) * model.similarity_gain


def _best(logits: Tensor, predicted_iou: Tensor) -> Pass:
    score, index = predicted_iou.max(dim=1)
    place = index[:, None, None, None].expand(-1, 1, *logits.shape[2:])
    return Pass(logits, predicted_iou, logits.gather(1, place)[:, 0], score)


def first_pass(model: VisionModel, encoding: Encoding, geometry: Geometry, prompts: Prompts,
               guide: Tensor | None) -> tuple[Tensor, Tensor]:
    """Decode the point prompts alone: logits (N, 3, m, m) and predicted IoU (N, 3).

    Args:
        model: whose decoder is asked.
        encoding: of N frames.
        geometry: of the frames.
        prompts: of the frames.
        guide: (N, C, H, W) float of `guidance.guide`, or None.
    """
    return _decode(model, encoding, geometry, prompts, None, None,
                   _guide_logits(model, geometry, guide))


def run_cascade(model: VisionModel, encoding: Encoding, geometry: Geometry, similarity: Tensor,
                prompts: Prompts, weights: Tensor, passes: int,
                guide: Tensor | None) -> list[Pass]:
    """Run the decoder passes of SAM-G.

    Args:
        model: whose decoder is asked.
        encoding: of N frames.
        geometry: of the frames.
        similarity: (N, H, W) float, the object's map.
        prompts: of the frames; the second point is the global negative.
        weights: (3,) or (N, 3) float, combination of the first pass's three masks.
        passes: 1 to 3.
        guide: (N, C, H, W) float of `guidance.guide`, or None.

    Returns:
        One entry per pass; the last one's `chosen` is the result.
    """
    guide = _guide_logits(model, geometry, guide)
    logits, predicted = _decode(model, encoding, geometry, prompts, None, None, guide)
    weights = weights.expand(len(logits), 3)
    combined = torch.einsum('nkhw,nk->nhw', logits, weights)
    done = [Pass(logits, predicted, combined, (predicted * weights).sum(dim=1))]
    if passes >= 2:
        box = mask_box(geometry.padded_to_frame(done[0].chosen) > 0)
        prompts = prompts.with_negative(least_similar_inside(similarity, box))
        done.append(_best(*_decode(model, encoding, geometry, prompts, box, done[0].chosen, guide)))
    if passes == 3:
        box = mask_box(geometry.padded_to_frame(done[1].chosen) > 0)
        prompts = prompts.with_negative(prompts.points[:, 1:2])
        done.append(_best(*_decode(model, encoding, geometry, prompts, box, done[1].chosen, guide)))
    return done
