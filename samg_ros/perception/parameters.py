# SPDX-License-Identifier: Apache-2.0
"""The parameters of `perception`: every switch of the masker, and what the node itself needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from samg_ros.errors import ConfigError
from samg_ros.files.pictures import MAX_PIXELS
from samg_ros.masking import MaskerSettings
from samg_ros.masking.masker import ADJUSTABLE
from samg_ros.masking.models import model_class
from samg_ros.masking.models.base import VisionModel
from samg_ros.masking.settings import (
    COMBINATIONS,
    DTYPES,
    ENGINES,
    MOST_FIT_STEPS,
    SIMILARITY_PROMPTS,
    TEMPORAL,
)
from samg_ros.ros.parameters import declare

if TYPE_CHECKING:
    from rclpy.node import Node

RAW, COMPRESSED = 'raw', 'compressed'
LIVE = (*ADJUSTABLE, 'fill')
"""Parameters that may change while the node runs."""
_GUIDANCE = {'model': None} | {name: name for name in SIMILARITY_PROMPTS}


@dataclass(frozen=True)
class PerceptionParameters:
    """What the parameters were given as; `declare` says what each one means."""

    model: str
    weights: str
    device: str
    cameras: dict[str, tuple[str, ...]]
    """The references of each camera by its name, which is empty for the only one."""
    wait_for_capture: bool
    capture_folder: str
    image_transport: str
    max_points: int
    max_pixels: int
    lazy: bool
    stale_after_s: float
    fill: tuple[int, int, int]
    wait_for_engine: bool
    settings: MaskerSettings

    @classmethod
    def declare(cls, node: Node) -> PerceptionParameters:
        """Declare the parameters and read them.

        Raises:
            SamgError: if one has another type or is out of range.
        """
        names = _names(declare(
            node, 'cameras', [''], "Names of several cameras, whose topics are '<name>/image', "
            "'<name>/masked/image_raw' and so on; empty for one, without the name."))
        reference = declare(node, 'reference', '', 'Folder of the reference, a public SAM-G '
                            'reference image, or the checkpoint of a policy.')
        more = declare(node, 'more_references', [''], 'Further ones that show the same object '
                       'otherwise.')
        shared = tuple(path for path in (reference, *more) if path)
        own = {name: declare(node, f'{name}.reference', '', 'Reference of this camera alone, such '
                             'as CHECKPOINT/CAMERA of a policy of several cameras; empty takes the '
                             'one of all.') for name in names}
        model = declare(node, 'model', 'mini', 'Masking model.')
        return cls(
            model=model,
            weights=declare(node, 'weights', '', "Weight file; empty for the package's own."),
            device=declare(node, 'device', 'cpu', 'Torch device.'),
            cameras={name: (own[name],) if own[name] else shared for name in names} or {'': shared},
            wait_for_capture=declare(
                node, 'wait_for_capture', False, 'Start without a reference and mask nothing until '
                '~/capture_reference makes one.'),
            capture_folder=declare(node, 'capture_folder', '', 'Where ~/capture_reference saves '
                                   'the reference; empty for nowhere.'),
            image_transport=declare(
                node, 'image_transport', RAW, 'raw: Image on image. compressed: CompressedImage '
                '(jpeg, png) on image/compressed.', choices=(RAW, COMPRESSED)),
            max_points=declare(node, 'max_points', 16, 'Most points that can be clicked; each is '
                               'one more prompt.', between=(1, 256)),
            max_pixels=declare(node, 'max_pixels', MAX_PIXELS, 'A frame of more pixels is dropped '
                               'before it is decoded.', between=(256, 2**31)),
            lazy=declare(node, 'lazy', True, 'Mask only while a topic of the result has a '
                         'subscriber.'),
            stale_after_s=declare(node, 'stale_after_s', 1.0, 'Seconds without a frame after '
                                  'which /diagnostics warns.', between=(0.01, 3600.0)),
            fill=_colour(declare(node, 'fill', [0, 0, 0], 'RGB outside the mask, 0 to 255.',
                                 read_only=False)),
            wait_for_engine=declare(
                node, 'wait_for_engine', False, 'Let frames of a new size wait until the engine '
                'has compiled their networks, so that the same frames give the same bits; if not, '
                'torch masks them until then.'),
            settings=_declare_settings(node, model_class(model)))

    def changed(self, values: Mapping[str, Any]) -> PerceptionParameters:
        """Return these parameters with some of LIVE changed.

        Raises:
            SamgError: if a value is not usable.
        """
        settings = {name: value for name, value in values.items() if name in ADJUSTABLE}
        if 'passes' in settings:
            settings['passes'] = settings['passes'] or None
        return replace(self, fill=_colour(values.get('fill', self.fill)),
                       settings=replace(self.settings, **settings))

    def folder_of(self, camera: str) -> str:
        """Return where a reference captured for a camera is saved; empty for nowhere."""
        if self.capture_folder and len(set(self.cameras.values())) > 1:
            return f'{self.capture_folder}/{camera}'
        return self.capture_folder

    @property
    def adjustable(self) -> dict[str, Any]:
        """The values of `Masker.adjust`."""
        return {name: getattr(self.settings, name) for name in ADJUSTABLE}


def _declare_settings(node: Node, model: type[VisionModel]) -> MaskerSettings:
    defaults = MaskerSettings()
    return MaskerSettings(
        features=tuple(declare(node, 'features', list(defaults.features),
                               'Feature maps that find the object: dino, sam or both.')),
        grid_size=declare(node, 'grid_size', 0, 'Side of the grid on which features are compared, '
                          "8 or more; 0 takes the model's.", between=(0, 256)) or None,
        passes=declare(node, 'passes', 0, "Decoder passes per frame; 0 takes the model's.",
                       between=(0, 3), read_only=False) or None,
        fit_weights=declare(node, 'fit_weights', model.fits_weights, 'Fit the combination of masks '
                            "to the reference; the default is the model's."),
        fit_steps=declare(node, 'fit_steps', defaults.fit_steps, 'Optimiser steps of that fit.',
                          between=(1, MOST_FIT_STEPS)),
        similarity_prompt=_GUIDANCE[declare(
            node, 'similarity_prompt', 'model', 'What guides the decoder beside points; '
            "'model': what the model was trained with.", choices=tuple(_GUIDANCE))],
        combine_references=declare(
            node, 'combine_references', defaults.combine_references, 'How the similarity maps of '
            'several references become one.', choices=COMBINATIONS, read_only=False),
        min_predicted_iou=declare(
            node, 'min_predicted_iou', defaults.min_predicted_iou, 'A mask of which the model '
            'thinks less is empty.', between=(0.0, 1.0), read_only=False),
        second_look=declare(node, 'second_look', model.second_look, 'Mask a crop around what was '
                            'found again, at full resolution; twice the time. The default is the '
                            "model's."),
        temporal=declare(node, 'temporal', defaults.temporal, 'prior: look first where the objects '
                         'were in the frame before, which takes half the time of a second look.',
                         choices=TEMPORAL),
        dtype=declare(node, 'dtype', defaults.dtype, 'What the networks compute in.',
                      choices=DTYPES),
        cuda_graphs=declare(node, 'cuda_graphs', defaults.cuda_graphs, 'On a GPU, record the work '
                            'of a frame size once and replay it.'),
        engine=declare(node, 'engine', defaults.engine, 'What runs the networks; auto: OpenVINO on '
                       'a CPU where it is installed, else torch.', choices=ENGINES),
        seed=declare(node, 'seed', defaults.seed, 'Of the jitter of clicked points while fitting.',
                     between=(0, 2**63 - 1)))


def as_parameters(settings: MaskerSettings) -> dict[str, Any]:
    """Return the parameters that declare these settings, the way back of `declare`."""
    return {name: value for name, value in settings.to_dict().items() if value is not None}


def _names(values: Any) -> tuple[str, ...]:
    names = tuple(name for name in values if name)
    for name in names:
        if not re.fullmatch('[A-Za-z][A-Za-z0-9_]*', name) or names.count(name) > 1:
            raise ConfigError("parameter 'cameras' of perception must be different names of "
                              f"letters, digits and underscores, got '{name}' in {list(names)}")
    return names


def _colour(values: Any) -> tuple[int, int, int]:
    colour = tuple(values)
    if len(colour) != 3 or not all(0 <= value <= 255 for value in colour):
        raise ConfigError("parameter 'fill' of perception must be three values from 0 to 255, got "
                          f'{list(colour)}')
    return colour
