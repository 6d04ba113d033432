# SPDX-License-Identifier: Apache-2.0
"""What a person does to a mask: clicks, a box, brush strokes; with undo and redo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from samg_ros.errors import InvalidInputError

Mask = npt.NDArray[np.bool_]

MOST_EDITS = 1000
"""Of one mask."""
MOST_STROKE_POINTS = 4000
"""Of one stroke; a stroke that long takes a minute to draw."""


@dataclass(frozen=True)
class Click:
    """A click on the object, or beside it."""

    x: float
    """Column in pixels."""
    y: float
    """Row in pixels."""
    positive: bool = True
    """On the object."""


@dataclass(frozen=True)
class Box:
    """A box around the object: nothing outside it belongs to the object."""

    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True)
class Stroke:
    """A stroke of the brush or of the eraser. It changes nothing but the pixels under it."""

    points: tuple[tuple[float, float], ...]
    """[x, y] in pixels, in the order in which they were drawn."""
    radius: float
    """In pixels."""
    add: bool = True
    """Brush; false for the eraser."""


@dataclass(frozen=True)
class Clear:
    """Begin again with no mask; what was before comes back with undo."""


Edit = Click | Box | Stroke | Clear


@dataclass
class Layer:
    """One mask of a picture, of the object or of a part, as the edits that make it.

    Attributes:
        base: (H, W) bool, the mask that the edits begin with, such as a loaded one; None for none.
        done: edits in effect.
        undone: edits that were taken back, the last one first to be done again.
    """

    base: Mask | None = None
    done: list[Edit] = field(default_factory=list)
    undone: list[Edit] = field(default_factory=list)

    def do(self, edit: Edit) -> None:
        """Add an edit; what was undone before it cannot be done again.

        Raises:
            InvalidInputError: if there are MOST_EDITS already.
        """
        if len(self.done) >= MOST_EDITS:
            raise InvalidInputError(f'this mask has {MOST_EDITS} edits already; save it, and go on '
                                    'from what was saved')
        self.done.append(edit)
        self.undone.clear()

    def undo(self) -> None:
        """Take back the last edit, if there is one."""
        if self.done:
            self.undone.append(self.done.pop())

    def redo(self) -> None:
        """Do again what was undone last, if anything was."""
        if self.undone:
            self.done.append(self.undone.pop())

    @property
    def current(self) -> tuple[Mask | None, list[Edit]]:
        """The mask to begin with and the edits since the last Clear."""
        cleared = [place for place, edit in enumerate(self.done) if isinstance(edit, Clear)]
        if cleared:
            return None, self.done[cleared[-1] + 1:]
        return self.base, self.done


def parse_edit(value: Mapping[str, Any], height: int, width: int) -> Edit:
    """Return the edit that the page sent.

    Args:
        value: `kind` ('click', 'box', 'stroke' or 'clear') and the fields of that class.
        height: rows of the picture.
        width: columns of the picture.

    Raises:
        InvalidInputError: if it is anything else, or outside the picture.
    """
    kind = value.get('kind')
    if kind == 'click':
        x, y = _inside(value, ('x', 'y'), height, width)
        return Click(x, y, _flag(value, 'positive'))
    if kind == 'box':
        x0, y0, x1, y1 = _inside(value, ('x0', 'y0', 'x1', 'y1'), height, width)
        if abs(x1 - x0) < 2 or abs(y1 - y0) < 2:
            raise InvalidInputError('the box is smaller than two pixels; draw it around the object')
        return Box(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    if kind == 'stroke':
        points = value.get('points')
        if not isinstance(points, list) or not 0 < len(points) <= MOST_STROKE_POINTS \
                or not all(isinstance(point, list) and len(point) == 2 for point in points):
            raise InvalidInputError(f'points: expected 1 to {MOST_STROKE_POINTS} of [x, y]')
        placed = tuple((_number(x, 'x'), _number(y, 'y')) for x, y in points)
        radius = _number(value.get('radius'), 'radius')
        if not 0 < radius <= max(height, width):
            raise InvalidInputError(f'radius {radius}: expected more than 0 and at most '
                                    f'{max(height, width)} pixels')
        return Stroke(placed, radius, _flag(value, 'add'))
    if kind == 'clear':
        return Clear()
    raise InvalidInputError(f'edit {str(kind)[:40]!r}: expected click, box, stroke or clear')


def parse_point(value: Mapping[str, Any], height: int, width: int) -> tuple[float, float]:
    """Return `x` and `y` of a point inside a picture; errors as `parse_edit`."""
    x, y = _inside(value, ('x', 'y'), height, width)
    return x, y


def painted(mask: Mask, edits: Sequence[Edit]) -> Mask:
    """Return a mask with the strokes among some edits painted over it, in their order.

    Args:
        mask: (H, W) bool.
        edits: of which only strokes count.
    """
    canvas = mask.astype(np.uint8)
    for edit in edits:
        if isinstance(edit, Stroke):
            line = np.round(np.asarray(edit.points)).astype(np.int32).reshape(-1, 1, 2)
            radius = max(1, round(edit.radius))
            cv2.polylines(canvas, [line], False, int(edit.add), 2 * radius)
            for x, y in line[[0, -1], 0].tolist():
                cv2.circle(canvas, (x, y), radius, int(edit.add), -1)
    return canvas.astype(bool)


def _inside(value: Mapping[str, Any], names: tuple[str, ...], height: int,
            width: int) -> list[float]:
    numbers = [_number(value.get(name), name) for name in names]
    for name, number in zip(names, numbers, strict=True):
        last = (width if name[0] == 'x' else height) - 1
        if not 0 <= number <= last:
            raise InvalidInputError(f'{name} {number:.1f}: outside the {width} x {height} picture')
    return numbers


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) \
            or not np.isfinite(value) or abs(value) > 1e6:
        raise InvalidInputError(f'{name} {str(value)[:40]!r}: expected a number of pixels')
    return float(value)


def _flag(value: Mapping[str, Any], name: str) -> bool:
    flag = value.get(name)
    if not isinstance(flag, bool):
        raise InvalidInputError(f'{name} {str(flag)[:40]!r}: expected true or false')
    return flag
