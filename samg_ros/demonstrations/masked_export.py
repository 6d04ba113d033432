# SPDX-License-Identifier: Apache-2.0
"""A data set of masked frames, with the mask contract that says how the masks were made.

Under the key `samg_ros` of info.json stand the masker's description and the reference. Where raw
frames are kept, each sample also has its mask as run lengths, so that they can be masked again
without a masker.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from msgspec import Struct
from tqdm import tqdm

from samg_ros.demonstrations.episode import ArmEpisode
from samg_ros.demonstrations.lerobot_reader import LeRobotDataset
from samg_ros.demonstrations.lerobot_writer import LeRobotWriter
from samg_ros.errors import DemonstrationError
from samg_ros.files.pictures import decode_picture
from samg_ros.files.reading import parsing
from samg_ros.files.schema import convert
from samg_ros.masking import Masker, Reference, apply_mask

MASKED = '_masked'
"""Ending of the name of a camera whose frames are masked, where raw ones stand beside them."""
_BATCH = 8


class _Pictures(Struct):
    image: str
    mask: str
    points: list[tuple[float, float]]


class _Contract(Struct):
    """What `mask_contract` gives."""

    masker: dict[str, Any]
    reference: _Pictures


def export_masked(dataset: Path | str, folder: Path | str, masker: Masker,
                  keep_raw: bool = False) -> dict[str, Any]:
    """Write a data set with masked frames.

    Args:
        dataset: folder of a LeRobotDataset v3 with images.
        folder: of the new data set.
        masker: fitted to the reference.
        keep_raw: whether raw frames are kept beside the masked ones.

    Returns:
        'episodes', 'frames' and 'mask_area', the mean share of a frame that is in its mask.

    Raises:
        DemonstrationError: if a data set cannot be read or written.
    """
    source = LeRobotDataset(dataset)
    info = source.info
    if not info.cameras:
        raise DemonstrationError(f"'{dataset}' has no frames that are images: nothing to mask")
    cameras = {name + MASKED: size for name, size in info.cameras.items()}
    cameras = {**info.cameras, **cameras} if keep_raw else dict(info.cameras)
    extra = {**info.extra, 'mask_contract': mask_contract(masker)}
    areas: list[float] = []
    described = dataclasses.replace(info, cameras=cameras, extra=extra,
                                    masks=tuple(info.cameras) if keep_raw else ())
    with LeRobotWriter(folder, described) as writer:
        for episode in tqdm(source.episodes(), total=len(source), unit='episode', disable=None):
            masks = {name: _masks(masker, frames) for name, frames in episode.frames.items()}
            areas += [float(mask.mean()) for each in masks.values() for mask in each]
            writer.add(dataclasses.replace(
                episode, frames=_masked(episode, masks, keep_raw),
                masks=masks if keep_raw else {}))
    return {'episodes': len(source), 'frames': len(areas), 'mask_area': float(np.mean(areas))}


def mask_contract(masker: Masker) -> dict[str, Any]:
    """Return how masks were made, as JSON values: the masker and its reference.

    The reference's image and mask are PNG in base64.
    """
    reference = masker.reference
    assert reference is not None
    return {'masker': masker.describe(), 'reference': {
        'image': _png(cv2.cvtColor(reference.image, cv2.COLOR_RGB2BGR)),
        'mask': _png(reference.mask.astype(np.uint8) * 255),
        'points': np.asarray(reference.points).tolist()}}


def masker_of_contract(contract: Mapping[str, Any], device: str = 'cpu') -> Masker:
    """Build the masker of a mask contract, fitted to its reference; the inverse of `mask_contract`.

    Raises:
        DemonstrationError: if the contract is not one of `mask_contract`.
        SamgError: whatever building the masker raises.
    """
    called = 'the mask contract of the data set'
    found = convert(contract, _Contract, called, DemonstrationError)
    with parsing(f'{called} cannot be used', DemonstrationError, 'export the data set again'):
        image = cv2.cvtColor(_pixels(found.reference.image, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        mask = _pixels(found.reference.mask, cv2.IMREAD_GRAYSCALE) > 127
    points = np.asarray(found.reference.points, np.float64).reshape(-1, 2)
    return Masker.from_description(found.masker, device).fit(
        Reference(np.asarray(image, np.uint8), mask, points=points))


def _pixels(text: str, mode: int) -> npt.NDArray[np.uint8]:
    return np.asarray(decode_picture(base64.b64decode(text), mode), np.uint8)


def _masks(masker: Masker, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    return np.concatenate([masker(frames[at:at + _BATCH])
                           for at in range(0, len(frames), _BATCH)])


def _masked(episode: ArmEpisode, masks: dict[str, npt.NDArray[Any]], keep_raw: bool
            ) -> dict[str, npt.NDArray[np.uint8]]:
    result = dict(episode.frames) if keep_raw else {}
    for name, frames in episode.frames.items():
        masked: npt.NDArray[np.uint8] = apply_mask(frames, masks[name])
        result[name + (MASKED if keep_raw else '')] = masked
    return result


def _png(pixels: npt.NDArray[np.uint8]) -> str:
    return base64.b64encode(cv2.imencode('.png', pixels)[1].tobytes()).decode()
