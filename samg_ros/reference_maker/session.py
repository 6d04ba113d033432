# SPDX-License-Identifier: Apache-2.0
"""The document behind the page: pictures, masks, parts, points. It knows nothing of the web.

Every change counts the revision up. Who changes something says which revision was shown; if another
tab has changed it since, nothing happens but an error, and the page shows what is there now.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from samg_ros.errors import EmptyMaskError, InvalidInputError, SamgError
from samg_ros.masking import Reference
from samg_ros.reference_maker.clicks import ClickSegmenter, EncodedPicture
from samg_ros.reference_maker.edits import Box, Click, Layer, Mask, parse_edit, parse_point
from samg_ros.reference_maker.pictures import Image
from samg_ros.reference_maker.storage import DEFAULT_COLOURS, Part

OBJECT = 'object'
"""Name of the layer that holds the object's mask; those of parts are their numbers."""
MOST_PICTURES = 24
"""Of one object; each takes 4 MB here, and in the masker's time for every frame."""
MOST_PARTS = 8
MOST_POINTS = 16
"""Of one picture, as perception's max_points."""
KEPT_ENCODINGS = 4
"""Pictures whose encodings are kept: large models' take tens of megabytes each."""


class OutdatedError(SamgError):
    """Somebody changed the document since it was shown."""


@dataclass
class Picture:
    """A picture with its masks."""

    name: str
    image: Image
    layers: dict[str, Layer] = field(default_factory=lambda: {OBJECT: Layer()})
    points: list[tuple[float, float]] = field(default_factory=list)
    masks: dict[str, Mask] = field(default_factory=dict)
    """Of the layers, as far as they are up to date."""


class Session:
    """All pictures of one object."""

    def __init__(self, segmenter: ClickSegmenter) -> None:
        self.segmenter = segmenter
        self.pictures: dict[int, Picture] = {}
        self.parts: dict[str, Part] = {}
        self.revision = 0
        self.saved_revision = 0
        self._numbers = count(1)
        self._encoded: dict[int, EncodedPicture] = {}

    def state(self) -> dict[str, Any]:
        """Return all but pixels, in plain JSON types, for the page."""
        return {
            'revision': self.revision, 'saved': self.saved_revision == self.revision,
            'pictures': [self._shown(number) for number in self.pictures],
            'parts': [{'id': key, **part._asdict()} for key, part in self.parts.items()]}

    def add_picture(self, image: Image, name: str) -> int:
        """Add a picture, (H, W, 3) uint8 RGB, and return its number.

        Raises:
            InvalidInputError: if there are MOST_PICTURES already, or it cannot be looked at.
        """
        if len(self.pictures) >= MOST_PICTURES:
            raise InvalidInputError(f'there are {MOST_PICTURES} pictures already; remove one first')
        encoded = self.segmenter.encode(image)
        number = next(self._numbers)
        self.pictures[number] = Picture(name[:80], image)
        self._keep(number, encoded)
        self.revision += 1
        return number

    def remove_picture(self, number: int) -> None:
        """Remove a picture with its masks."""
        self.picture(number)
        del self.pictures[number]
        self._encoded.pop(number, None)
        self.revision += 1

    def add_reference(self, reference: Reference, name: str) -> int:
        """Add a loaded reference, whose masks can be gone on with; returns the picture's number.

        Its parts are those of the session in their order, which are there already.
        """
        number = self.add_picture(reference.image, name)
        picture = self.pictures[number]
        picture.layers[OBJECT].base = reference.mask
        for key, part in zip(self.parts, reference.parts, strict=False):
            picture.layers[key] = Layer(part)
        picture.points = [(x, y) for x, y in reference.points.tolist()]
        return number

    def picture(self, number: object) -> Picture:
        """Return a picture; raise InvalidInputError if there is none of that number."""
        if not isinstance(number, int) or number not in self.pictures:
            raise InvalidInputError(f'picture {str(number)[:20]}: is not there any more')
        return self.pictures[number]

    def edit(self, number: object, layer: object, value: Mapping[str, Any]) -> Mask:
        """Change a mask and return it.

        Args:
            number: of the picture.
            layer: OBJECT, or the id of a part.
            value: an edit as of `parse_edit`, or `kind` 'undo' or 'redo'.

        Raises:
            InvalidInputError: if it does not fit.
        """
        picture = self.picture(number)
        if layer != OBJECT and layer not in self.parts:
            raise InvalidInputError(f'part {str(layer)[:20]!r}: is not there any more')
        assert isinstance(layer, str) and isinstance(number, int)
        own = picture.layers.setdefault(layer, Layer())
        kind = value.get('kind')
        if kind == 'undo':
            own.undo()
        elif kind == 'redo':
            own.redo()
        else:
            own.do(parse_edit(value, *picture.image.shape[:2]))
        picture.masks.pop(layer, None)
        self.revision += 1
        return self.mask(number, layer)

    def mask(self, number: int, layer: str) -> Mask:
        """Return the (H, W) bool mask of a picture's layer; errors as `picture`."""
        picture = self.picture(number)
        if layer not in picture.masks:
            base, edits = picture.layers.get(layer, Layer()).current
            encoded = self._encoded.get(number) or self.segmenter.encode(picture.image)
            self._keep(number, encoded)
            picture.masks[layer] = self.segmenter.mask(encoded, edits, base)
        return picture.masks[layer]

    def change_point(self, number: object, value: Mapping[str, Any]) -> None:
        """Add a point at `x`, `y` of a picture; with `remove`, take the last one away.

        Raises:
            InvalidInputError: if it is outside, or there are MOST_POINTS already.
        """
        picture = self.picture(number)
        if value.get('remove'):
            picture.points = picture.points[:-1]
        else:
            if len(picture.points) >= MOST_POINTS:
                raise InvalidInputError(f'there are {MOST_POINTS} points already; remove one first')
            picture.points.append(parse_point(value, *picture.image.shape[:2]))
        self.revision += 1

    def add_part(self) -> str:
        """Add a part with a free name and colour and return its id."""
        if len(self.parts) >= MOST_PARTS:
            raise InvalidInputError(f'there are {MOST_PARTS} parts already; remove one first')
        names = {part.name for part in self.parts.values()}
        name = next(f'part {i}' for i in count(1) if f'part {i}' not in names)
        used = {part.colour for part in self.parts.values()}
        free = [colour for colour in DEFAULT_COLOURS if colour not in used]
        return self.set_part(str(next(self._numbers)), name, (free or DEFAULT_COLOURS)[0])

    def set_part(self, key: str, name: str, colour: str) -> str:
        """Name and colour a part, which is added if it is new; returns its id.

        Raises:
            InvalidInputError: if the name is taken, empty or long, or the colour is none.
        """
        name = ' '.join(name.split())
        if not 0 < len(name) <= 40:
            raise InvalidInputError('a part needs a name of 1 to 40 letters')
        if any(part.name == name for other, part in self.parts.items() if other != key):
            raise InvalidInputError(f'another part is called {name!r}; choose another name')
        if not re.fullmatch('#[0-9a-fA-F]{6}', colour):
            raise InvalidInputError(f'colour {colour[:20]!r}: expected one such as #e69f00')
        self.parts[key] = Part(name, colour)
        self.revision += 1
        return key

    def remove_part(self, key: str) -> None:
        """Remove a part from all pictures."""
        if key not in self.parts:
            raise InvalidInputError(f'part {key[:20]!r}: is not there any more')
        del self.parts[key]
        for picture in self.pictures.values():
            picture.layers.pop(key, None)
            picture.masks.pop(key, None)
        self.revision += 1

    def references(self) -> list[Reference]:
        """Return the reference that each picture makes.

        Raises:
            InvalidInputError: if there is no picture, a mask is missing, or parts are marked in
                some pictures so that their numbers would not agree.
        """
        if not self.pictures:
            raise InvalidInputError('there is no picture yet; open one and click on the object')
        found = []
        for number, picture in self.pictures.items():
            masks = [self.mask(number, key) for key in self.parts]
            marked = [bool(mask.any()) for mask in masks]
            if marked != sorted(marked, reverse=True):
                name = list(self.parts.values())[marked.index(False)].name
                raise InvalidInputError(f'{picture.name}: the part {name!r} is not marked in this '
                                        'picture, but a later part is; mark it, or remove it')
            points = np.asarray(picture.points, np.float64).reshape(-1, 2)
            try:
                found.append(Reference(picture.image, self.mask(number, OBJECT),
                                       tuple(mask for mask in masks if mask.any()), points,
                                       f'{picture.name}, made with samg reference make'))
            except EmptyMaskError as error:
                raise EmptyMaskError(f'{picture.name}: the object is not marked yet; click on it, '
                                     'or remove the picture') from error
        return found

    def changing(self, revision: object, change: Callable[[], Any]) -> Any:
        """Call `change`, unless the document was changed since the caller last saw it.

        Args:
            revision: the revision that the caller saw.
            change: makes the change.

        Returns:
            What `change` returns.

        Raises:
            OutdatedError: if there is a newer revision; `change` is not called then.
        """
        if revision != self.revision:
            raise OutdatedError('This was changed in another tab. Here is how it is now; your last '
                                'step was not done, do it again if you still want it.')
        return change()

    def _keep(self, number: int, encoded: EncodedPicture) -> None:
        self._encoded.pop(number, None)
        self._encoded[number] = encoded
        while len(self._encoded) > KEPT_ENCODINGS:
            del self._encoded[next(iter(self._encoded))]

    def _shown(self, number: int) -> dict[str, Any]:
        picture = self.pictures[number]
        height, width = picture.image.shape[:2]
        layers = {}
        for key, layer in picture.layers.items():
            _, edits = layer.current
            box = next((edit for edit in reversed(edits) if isinstance(edit, Box)), None)
            layers[key] = {
                'clicks': [[edit.x, edit.y, edit.positive] for edit in edits
                           if isinstance(edit, Click)],
                'box': box and [box.x0, box.y0, box.x1, box.y1],
                'undo': len(layer.done), 'redo': len(layer.undone),
                'area': int(self.mask(number, key).sum())}
        return {'id': number, 'name': picture.name, 'width': width, 'height': height,
                'layers': layers, 'points': [list(point) for point in picture.points]}
