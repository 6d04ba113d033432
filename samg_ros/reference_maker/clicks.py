# SPDX-License-Identifier: Apache-2.0
"""From clicks and a box to a mask: the network's decoder first, then GrabCut along the edges.

The network sees a picture at 96 to 1024 pixels and was trained for other objects than one's own, so
its mask is a first idea. GrabCut (Rother et al., SIGGRAPH 2004, as in OpenCV) learns from it the
colours of the object and of what is beside it, in this picture alone, and cuts along the picture's
edges; every click is a condition that it keeps.

A mask depends on the picture, and on clicks and box in their order, alone: the same clicks give the
same mask in the page, after undo, and from Python.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch

from samg_ros.errors import InvalidInputError
from samg_ros.masking.checks import check_size
from samg_ros.masking.geometry import Geometry
from samg_ros.masking.models.base import Encoding, VisionModel
from samg_ros.reference_maker.edits import Box, Click, Edit, Mask, painted

Image = npt.NDArray[np.uint8]

CUT_SIDE = 256
"""Longer side, in pixels, of the window in which GrabCut works: two rounds of it take 40 ms on one
core there, a fifth of the 200 ms in which a click is to be answered."""
ROUNDS = 2
"""Of GrabCut: colours learned from the network's mask, then once more from the first cut."""
MARGIN = 0.5
"""The window reaches so much of the object's longer side beyond it: enough of the surroundings to
learn their colours."""
MOST_KNOWN = 64
"""Masks that are kept of a picture, 10 MB of the largest."""
CLICK_RADIUS = 1 / 50
"""Of the disc that a click marks, as a share of the window: about a finger's tip on a phone."""


class KnownMasks:
    """The masks of the last clicks in a picture, a bit a pixel, so that undo is quick."""

    def __init__(self, height: int, width: int) -> None:
        """Begin with none, of pictures of height x width."""
        self._shape = height, width
        self._packed: OrderedDict[Hashable, npt.NDArray[np.uint8]] = OrderedDict()

    def get(self, key: Hashable) -> Mask | None:
        """Return the (H, W) bool mask of a key; None if it is not known any more."""
        packed = self._packed.get(key)
        if packed is None:
            return None
        height, width = self._shape
        return np.unpackbits(packed, count=height * width).reshape(self._shape).astype(bool)

    def put(self, key: Hashable, mask: Mask) -> None:
        """Keep a mask, of MOST_KNOWN the newest."""
        self._packed[key] = np.packbits(mask)
        while len(self._packed) > MOST_KNOWN:
            self._packed.popitem(last=False)


@dataclass(frozen=True)
class EncodedPicture:
    """A picture with what the network made of it, once, for any number of clicks."""

    image: Image
    """(H, W, 3) uint8 RGB."""
    encoding: Encoding
    geometry: Geometry
    masks: KnownMasks
    """Of the clicks so far."""


class ClickSegmenter:
    """Cuts out of a picture what was clicked on."""

    def __init__(self, model: VisionModel, device: str | torch.device = 'cpu') -> None:
        """Wrap a loaded model, see `samg_ros.masking.models.load_model`; it is on the device."""
        self._model = model
        self._device = torch.device(device)

    @torch.no_grad()
    def encode(self, image: Image) -> EncodedPicture:
        """Encode a picture, (H, W, 3) uint8 RGB.

        Raises:
            InvalidInputError: if it is none, too small or too long.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise InvalidInputError(f'picture: shape {image.shape}, dtype {image.dtype}; expected '
                                    '(H, W, 3) uint8 RGB')
        check_size('picture', *image.shape[:2])
        model = self._model
        height, width = image.shape[:2]
        geometry = Geometry(height, width, model.image_size, model.mask_size, model.grid_size,
                            self._device, model.stretched)
        frame = torch.from_numpy(np.ascontiguousarray(image)).to(self._device)
        return EncodedPicture(image, model.encode(frame[None]), geometry,
                              KnownMasks(height, width))

    def mask(self, picture: EncodedPicture, edits: Sequence[Edit],
             base: Mask | None = None) -> Mask:
        """Return the mask that some edits make.

        Args:
            picture: of `encode`.
            edits: clicks and boxes make the mask, one after the other; of boxes the last one
                counts. Strokes are painted over it in their order.
            base: (H, W) bool, a mask to begin with in place of the network's.

        Returns:
            (H, W) bool; nothing without edits and base.
        """
        prompts = tuple(edit for edit in edits if isinstance(edit, (Click, Box)))
        begin = 0 if base is None else hash(base.tobytes())
        mask, done = base, 0
        for count in range(len(prompts), 0, -1):
            known = picture.masks.get((begin, prompts[:count]))
            if known is not None:
                mask, done = known, count
                break
        for count in range(done + 1, len(prompts) + 1):
            mask = self._prompted(picture, prompts[:count], mask, base is not None)
            picture.masks.put((begin, prompts[:count]), mask)
        if mask is None:
            mask = np.zeros(picture.image.shape[:2], bool)
        return painted(mask, edits)

    def _prompted(self, picture: EncodedPicture, prompts: Sequence[Click | Box],
                  mask: Mask | None, loaded: bool) -> Mask:
        """Return the mask after the last of some prompts; `mask` is the one before it.

        A click changes nothing but the region that it is in, first of what the decoder draws
        otherwise than before, then of what GrabCut does. A box begins again.
        """
        clicks = [prompt for prompt in prompts if isinstance(prompt, Click)]
        box = next((prompt for prompt in reversed(prompts) if isinstance(prompt, Box)), None)
        last = prompts[-1]
        if loaded and mask is not None:  # the decoder does not know how it came about
            return cut_along_edges(picture.image, mask, clicks, box)
        decoded = self._decoded(picture, clicks, box)
        if mask is None or isinstance(last, Box):
            return cut_along_edges(picture.image, decoded, clicks, box)
        first = changed_around(last, mask, decoded)
        return changed_around(last, mask, cut_along_edges(picture.image, first, clicks, box))

    @torch.no_grad()
    def _decoded(self, picture: EncodedPicture, clicks: Sequence[Click], box: Box | None) -> Mask:
        """Return the decoder's mask that agrees with most clicks; of several, its favourite."""
        geometry = picture.geometry
        asked = clicks
        if not asked and box is not None:
            asked = [Click((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)]
        points = torch.tensor([[(click.x, click.y) for click in asked]], device=self._device)
        labels = torch.tensor([[int(click.positive) for click in asked]], device=self._device)
        scale = geometry.prompt_scale
        corners = None if box is None else torch.tensor(
            [[box.x0, box.y0, box.x1, box.y1]], device=self._device) * scale
        logits, predicted_iou = self._model.decode(picture.encoding, points * scale[:2], labels,
                                                   corners)
        masks = (geometry.padded_to_frame(logits)[0] > 0).cpu().numpy()
        agreed = [sum(bool(mask[round(click.y), round(click.x)]) == click.positive
                      for click in clicks) for mask in masks]
        scores = np.asarray(agreed) + predicted_iou[0].float().cpu().numpy().clip(0, 1) / 2
        return np.asarray(masks[int(scores.argmax())], bool)


def changed_around(click: Click, before: Mask, after: Mask) -> Mask:
    """Return a mask with those changes only that a click asks for and that are connected with it.

    Args:
        click: on the object adds, beside it removes.
        before: (H, W) bool.
        after: (H, W) bool, with all changes.
    """
    changes = after & ~before if click.positive else before & ~after
    _, regions = cv2.connectedComponents(changes.astype(np.uint8), connectivity=4)
    own = regions[round(click.y), round(click.x)]
    mask = before.copy()
    if own:
        mask[regions == own] = click.positive
    return mask


def cut_along_edges(image: Image, mask: Mask, clicks: Sequence[Click], box: Box | None) -> Mask:
    """Return a mask cut anew along the picture's edges, right at every click and inside the box.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, a first idea.
        clicks: on the object and beside it.
        box: around the object, or None.
    """
    x0, y0, x1, y1 = _window(mask, clicks, box)
    scale = min(1.0, CUT_SIDE / max(x1 - x0, y1 - y0))
    size = (max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale)))
    picture = cv2.resize(image[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA)
    inside = cv2.resize(mask[y0:y1, x0:x1].astype(np.float32), size,
                        interpolation=cv2.INTER_AREA) >= 0.5
    labels = np.where(inside, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)

    def place(x: float, y: float) -> tuple[int, int]:
        return (min(int((x - x0) * scale), size[0] - 1), min(int((y - y0) * scale), size[1] - 1))

    radius = max(1, round(CLICK_RADIUS * max(size)))
    for click in clicks:
        cv2.circle(labels, place(click.x, click.y), radius,
                   cv2.GC_FGD if click.positive else cv2.GC_BGD, -1)
    if box is not None:
        (left, top), (right, bottom) = place(box.x0, box.y0), place(box.x1, box.y1)
        within = np.zeros(labels.shape, bool)
        within[top:bottom + 1, left:right + 1] = True
        if not (labels[within] & 1).any():  # odd: on the object, certainly or probably
            labels[within] = cv2.GC_PR_FGD
        labels[~within] = cv2.GC_BGD
    _grab_cut(picture, labels)
    found = np.zeros(mask.shape, bool)
    found[y0:y1, x0:x1] = cv2.resize((labels & 1).astype(np.float32), (x1 - x0, y1 - y0),
                                     interpolation=cv2.INTER_LINEAR) > 0.5
    return found


def _grab_cut(picture: Image, labels: Image) -> None:
    """Change the probable ones among the labels, in place; nothing if all are on one side."""
    on = (labels & 1).astype(bool)
    if on.all() or not on.any():
        return
    cv2.setRNGSeed(0)  # its colour clusters begin at random: the same clicks give the same mask
    models = np.zeros((2, 1, 65))
    cv2.grabCut(np.ascontiguousarray(picture[..., ::-1]), labels, None, models[0], models[1],
                ROUNDS, cv2.GC_INIT_WITH_MASK)


def _window(mask: Mask, clicks: Sequence[Click], box: Box | None) -> tuple[int, int, int, int]:
    """Return x0, y0, x1, y1 around mask, clicks and box with a margin; ends are outside."""
    height, width = mask.shape
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    xs = [click.x for click in clicks] + columns[[0, -1]].tolist() if len(columns) \
        else [click.x for click in clicks]
    ys = [click.y for click in clicks] + rows[[0, -1]].tolist() if len(rows) \
        else [click.y for click in clicks]
    if box is not None:
        xs, ys = [*xs, box.x0, box.x1], [*ys, box.y0, box.y1]
    margin = MARGIN * max(max(xs) - min(xs), max(ys) - min(ys), CUT_SIDE / 4)
    return (max(0, int(min(xs) - margin)), max(0, int(min(ys) - margin)),
            min(width, int(max(xs) + margin) + 1), min(height, int(max(ys) + margin) + 1))
