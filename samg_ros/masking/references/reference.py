# SPDX-License-Identifier: Apache-2.0
"""The reference: one image and a mask that says what matters in it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import yaml
from msgspec import Struct

from samg_ros.errors import (
    EmptyMaskError,
    InvalidInputError,
    OutputError,
    PictureError,
    ReferenceLoadError,
)
from samg_ros.files.outputs import replacing, write_text
from samg_ros.files.pictures import read_picture, write_picture
from samg_ros.files.schema import read_yaml
from samg_ros.masking.checks import check_size, checked_array, checked_path

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float64]

MOST_OBJECTS = 255  # labels are uint8
UNNAMED = 'object'

PUBLIC_MASK_THRESHOLD = 24
"""Public SAM-G masks are the object on black as JPEG: its noise on black stays well below this."""


class PartFacts(Struct):
    """Name and colour of a part, as the page shows them."""

    name: str = ''
    colour: str = ''


class Facts(Struct):
    """What a reference's `reference.yaml` says; other keys in it are left alone."""

    points: tuple[tuple[float, float], ...] = ()
    source: str = ''
    parts: tuple[PartFacts, ...] = ()


def read_facts(folder: Path) -> Facts:
    """Return what a reference's folder says beside its pictures.

    Raises:
        ReferenceLoadError: if there is a reference.yaml that is something else.
    """
    path = folder / 'reference.yaml'
    return read_yaml(path, Facts, ReferenceLoadError) if path.exists() else Facts()


@dataclass(frozen=True)
class Reference:
    """One image of the object, and what in it is the object.

    Attributes:
        image: (H, W, 3) uint8 RGB, at least 16 x 16.
        mask: (H, W) bool, true on the object.
        parts: (H, W) bool masks of parts; may be empty.
        points: (K, 2) float, clicked points [x, y] in pixels; K may be 0.
        source: where it came from, for people.

    Raises:
        InvalidInputError: if a field has the wrong type, shape or dtype, a point lies outside, or
            a mask marks everything.
        EmptyMaskError: if the mask or a part marks nothing.
    """

    image: Image
    mask: Mask
    parts: tuple[Mask, ...] = ()
    points: Points = None  # type: ignore[assignment]  # set in __post_init__
    source: str = ''

    def __post_init__(self) -> None:
        image = checked_array(self.image, 'reference image')
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise InvalidInputError(
                f'reference image: shape {image.shape}, dtype {image.dtype}; expected (H, W, 3) '
                'uint8 RGB')
        check_size('reference image', *image.shape[:2])
        object.__setattr__(self, 'image', np.ascontiguousarray(image))
        object.__setattr__(self, 'mask', _checked_mask(self.mask, image.shape[:2], 'mask'))
        if not isinstance(self.parts, (tuple, list)):
            raise InvalidInputError(f'reference parts: {type(self.parts).__name__}; expected a '
                                    'tuple of (H, W) bool masks')
        object.__setattr__(self, 'parts', tuple(
            _checked_mask(part, image.shape[:2], f'parts[{index}]')
            for index, part in enumerate(self.parts)))
        points = np.zeros((0, 2)) if self.points is None else self.points
        points = checked_points(points, image.shape[0], image.shape[1], 'reference points')
        object.__setattr__(self, 'points', points)
        if not isinstance(self.source, str):
            raise InvalidInputError(f'reference source: {type(self.source).__name__}; expected '
                                    'text')

    def with_points(self, points: npt.ArrayLike) -> Reference:
        """Return this reference with other clicked points, (K, 2) [x, y] pixels."""
        return replace(self, points=checked_array(points, 'points'))

    @classmethod
    def load(cls, path: str | Path) -> Reference:
        """Read a reference from disk.

        Args:
            path: a folder with image.png, mask.png and optionally part_*.png and reference.yaml;
                or one image of the public SAM-G data, `<name>_0.png` with `<name>_masked_0.jpg`
                (and parts `_masked_0_1.jpg`, ...) beside it.

        Raises:
            ReferenceLoadError: if a file is missing or unreadable.
            EmptyMaskError: if a mask marks nothing.
            InvalidInputError: if path is none, or the files do not fit each other.
        """
        path = checked_path(path, 'path')
        if path.is_dir():
            return cls._load_folder(path)
        if path.is_file():
            return cls._load_public(path)
        raise ReferenceLoadError(
            f'reference {path}: no such file or folder; give a folder with image.png and mask.png '
            '(make one with `samg reference render`)')

    @classmethod
    def _load_folder(cls, folder: Path) -> Reference:
        image = _read(folder / 'image.png', cv2.IMREAD_COLOR)
        mask = _read_mask(folder / 'mask.png')
        parts = tuple(_read_mask(path)
                      for path in sorted(folder.glob('part_*.png'), key=_part_order))
        facts = read_facts(folder)
        points = np.array(facts.points, np.float64).reshape(-1, 2)
        return cls(_rgb(image), mask, parts, points, facts.source or str(folder))

    @classmethod
    def _load_public(cls, path: Path) -> Reference:
        stem, _, number = path.stem.rpartition('_')
        masked = path.with_name(f'{stem}_masked_{number}.jpg')
        if not stem or not masked.exists():
            raise ReferenceLoadError(
                f'reference {path}: no masked image {masked.name} beside it; give a folder with '
                'image.png and mask.png, or an image of the public layout')
        image = _rgb(_read(path, cv2.IMREAD_COLOR))
        siblings = sorted(path.parent.glob(f'{stem}_masked_{number}_*.jpg'))
        mask, *parts = (_read(file, cv2.IMREAD_COLOR).max(axis=2) > PUBLIC_MASK_THRESHOLD
                        for file in [masked, *siblings])
        return cls(image, mask, tuple(parts), source=str(path))

    def save(self, folder: str | Path, overwrite: bool = False) -> Path:
        """Write the reference as a folder that `load` reads; returns the folder.

        Every file is written beside the old one before any takes its place, so that a full disk
        leaves the old reference as it was.

        Args:
            folder: missing or empty.
            overwrite: replace a reference that is there, its parts included.

        Raises:
            OutputError: if there is something in the folder, or it cannot be written.
            InvalidInputError: if folder is no path.
        """
        folder = checked_path(folder, 'folder')
        if not overwrite and folder.is_dir() and any(folder.iterdir()):
            raise OutputError(f"the folder '{folder}' is not empty; give another one, or "
                              '--overwrite to replace the reference in it')
        pictures = {'image.png': self.image[..., ::-1], 'mask.png': self.mask * np.uint8(255)}
        pictures |= {f'part_{index}.png': part * np.uint8(255)
                     for index, part in enumerate(self.parts)}
        facts = {'points': self.points.tolist(), 'source': self.source}
        with contextlib.ExitStack() as stack:
            for name, picture in pictures.items():
                write_picture(stack.enter_context(replacing(folder / name)), picture)
            write_text(stack.enter_context(replacing(folder / 'reference.yaml')),
                       yaml.safe_dump(facts))
        for old in folder.glob('part_*.png'):
            if old.name not in pictures:
                old.unlink()
        return folder


def _part_order(path: Path) -> tuple[bool, int, str]:
    """Numbers by their value, then other names: which part is which is said by the order."""
    name = path.stem.removeprefix('part_')
    return (False, int(name), '') if name.isdecimal() else (True, 0, name)


References = Reference | Sequence[Reference]
"""Of one object: one, or several that show it differently."""


def named_references(given: References | Mapping[str, References]) -> dict[str, list[Reference]]:
    """Return the references of each object by its name; an object alone is called `object`.

    Raises:
        InvalidInputError: if there is none, or something else among them.
    """
    named = given if isinstance(given, Mapping) else {UNNAMED: given}
    objects = {}
    for name, own in named.items():
        own = [own] if isinstance(own, Reference) else own
        if not isinstance(name, str) or not isinstance(own, Sequence) or not own \
                or not all(isinstance(one, Reference) for one in own):
            raise InvalidInputError(
                f'reference: {type(given).__name__}; expected a samg_ros.masking.Reference '
                '(see Reference.load), a list of them, or a mapping from names to these')
        objects[name] = list(own)
    if not 0 < len(objects) <= MOST_OBJECTS:
        raise InvalidInputError(f'reference: {len(objects)} objects; expected 1 to '
                                f'{MOST_OBJECTS}')
    return objects


def checked_points(points: npt.ArrayLike, height: int, width: int, name: str) -> Points:
    """Return clicked points as (K, 2) float [x, y], K 0 or more.

    Raises:
        InvalidInputError: if they are malformed, or outside a picture of height x width.
    """
    points = checked_array(points, name)
    if points.shape == (0,):
        points = np.zeros((0, 2))
    if points.ndim != 2 or points.shape[1] != 2 or points.dtype.kind not in 'fiu' \
            or not np.isfinite(points).all():
        raise InvalidInputError(f'{name}: shape {points.shape}, dtype {points.dtype}; expected '
                                '(K, 2) finite [x, y] pixels')
    points = points.astype(np.float64)
    if not ((points >= 0).all() and (points <= np.array([width, height]) - 1).all()):
        raise InvalidInputError(f'{name} {points.tolist()}: outside the {width} x {height} image; '
                                'give [x, y] in its pixels')
    return points


def _checked_mask(mask: Mask, shape: tuple[int, ...], name: str) -> Mask:
    mask = checked_array(mask, f'reference {name}')
    if mask.shape != shape or mask.dtype != np.bool_:
        raise InvalidInputError(f'reference {name}: shape {mask.shape}, dtype {mask.dtype}; '
                                f'expected {shape} bool, as large as the image')
    if not mask.any():
        raise EmptyMaskError(f'reference {name}: marks no pixel; mark the object in it')
    if mask.all():
        raise InvalidInputError(f'reference {name}: marks every pixel; leave out what is not the '
                                'object')
    return np.ascontiguousarray(mask)


def _read(path: Path, flags: int) -> npt.NDArray[np.uint8]:
    if not path.exists():
        raise ReferenceLoadError(f'{path}: no such file; a reference folder needs image.png and '
                                 'mask.png')
    try:
        return read_picture(path, flags)
    except PictureError as error:
        raise ReferenceLoadError(f'{error}; write it again') from error


def _read_mask(path: Path) -> Mask:
    """Read a mask picture of two values, of which the object has the larger.

    Also 0 and 1, 16 bits, and a palette or colours, where one of the two is black. Greys between 0
    and 255, as smoothing leaves them, are the object from 128 on.

    Raises:
        ReferenceLoadError: if it is not clear what is the object; the values are named.
    """
    mask = _object(path)
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    if edge.all() and not mask.all():
        raise ReferenceLoadError(f'{path}: the mask marks the whole edge of the image, as one does '
                                 'that has white and black exchanged; make the object white')
    return mask


def _object(path: Path) -> Mask:
    picture = _read(path, cv2.IMREAD_UNCHANGED)
    if picture.ndim == 3:
        if picture.shape[2] == 4 and not (picture[..., 3] == picture[0, 0, 3]).all():
            raise ReferenceLoadError(f'{path}: the mask has a transparent part; save it without, '
                                     'white on black')
        colours = np.unique(picture[..., :3].reshape(-1, 3), axis=0)
        if len(colours) > 2 and (colours != colours[:, :1]).any():
            raise ReferenceLoadError(f'{path}: the mask has {len(colours)} colours; expected white '
                                     'on black, or one colour on black')
        picture = picture[..., :3].max(axis=2)
    values = np.unique(picture)
    if len(values) > 2 and picture.dtype != np.uint8:
        raise ReferenceLoadError(f'{path}: the mask has {len(values)} values from {values[0]} to '
                                 f'{values[-1]}; expected two, 0 and one for the object')
    if len(values) <= 2 and values[0] == 0:
        return np.asarray(picture > 0)
    if picture.dtype == np.uint8 and values[0] < 64 and values[-1] >= 192:
        return np.asarray(picture > 127)
    raise ReferenceLoadError(f'{path}: the mask has the values {values[:8].tolist()}; expected 0 '
                             'and one for the object, for example 255')


def _rgb(bgr: Image) -> Image:
    return np.ascontiguousarray(bgr[..., ::-1])
