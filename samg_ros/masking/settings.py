# SPDX-License-Identifier: Apache-2.0
"""The switches of the method. The defaults are the paper's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from numbers import Real
from typing import Any

from samg_ros.errors import InvalidInputError
from samg_ros.masking.checks import is_whole

FEATURES = ('dino', 'sam')
COMBINATIONS = ('max', 'mean')
GUIDANCE_MAPS = {'off': 0, 'region': 1, 'dense': 2, 'colour': 3, 'full': 7}
"""Kinds of guidance beside the prompts, and how many maps each has (see `frames.guidance`)."""
SIMILARITY_PROMPTS = tuple(GUIDANCE_MAPS)
"""Each with the maps of those before it; see `guidance`."""
GONE = ('colour_rules',)
"""Settings that older checkpoints may have, of a model which is no longer there."""
MOST_FIT_STEPS = 10**6
TEMPORAL = ('off', 'prior')
ENGINES = ('auto', 'torch', 'openvino', 'onnxruntime')
DTYPES = ('float32', 'bfloat16', 'float16')


@dataclass(frozen=True)
class MaskerSettings:
    """What the masker does with a model.

    Attributes:
        features: which feature maps say where the object is: 'dino' (the descriptor encoder),
            'sam' (the segmenter's own embedding), or both, averaged.
        grid_size: side of the grid on which features are compared. None: the model's (64 for
            DINO + SAM, as in the paper; 48 for `mini`).
        passes: decoder passes per frame, 1 to 3. None: what suits the model (SAM 3, as in the
            paper; `mini` 1, see docs/mini.md).
        fit_weights: fit the combination of the three masks to the reference (PerSAM-F); without,
            each counts a third. None: the model's (`mini` false, whose masks are trained to be
            averaged; the others true).
        fit_steps: optimiser steps of that fit.
        similarity_prompt: which similarity maps the decoder gets beside the prompts (see
            `guidance`). Each value adds to the one before. 'off': none. 'region': similarity with
            the mean feature of the object. 'dense': similarity with the most similar cell of the
            object. 'colour': how usual a pixel's colour is on the object. 'full': all of these for
            every encoder, similarity with the cells of the surroundings, and colour in two widths,
            at the resolution of the decoder's masks. A model that was trained with these maps
            takes each by itself. Another model gets one map as mask prompt of its first pass:
            their mean, or with 'full' by how much the object is more similar than the
            surroundings. None: as the model was trained (`mini` 'full', SAM 'off').
        combine_references: how the similarity maps of several references of one object become
            one, pixel by pixel: 'max' (it looks like one of them, as views from several sides) or
            'mean' (like all of them, as pictures in several lights).
        min_predicted_iou: a mask whose predicted IoU is lower is empty; 0 keeps every mask.
        second_look: crop around what was found, with a margin, and mask the crop at the network's
            full resolution (see `frames.second_look`). Takes twice the time. None: the model's
            (`mini` true, the others false).
        temporal: what `Tracker` does with the frames of one camera: 'off' masks each by itself, as
            the paper does; 'prior' looks first where the objects were in the frame before, which
            takes half the time of a second look. Needs `second_look`.
        dtype: what the networks compute in: 'float32', 'bfloat16' or 'float16'. Similarity,
            prompts and masks are float32 in any case.
        cuda_graphs: on a GPU, record the work of a frame size once and replay it, which saves the
            time between small kernels. Without effect on a CPU.
        engine: what runs the networks on frames: 'torch'; on a CPU 'openvino' or 'onnxruntime',
            where that package is installed; or 'auto': OpenVINO on a CPU where it is installed,
            else torch. Masks are the same to rounding. References are fitted in torch in any case.
        seed: seed of the jitter of clicked points while fitting.

    Raises:
        InvalidInputError: if a value is not one of those.
    """

    features: tuple[str, ...] = FEATURES
    grid_size: int | None = None
    passes: int | None = None
    fit_weights: bool | None = None
    fit_steps: int = 1000
    similarity_prompt: str | None = None
    combine_references: str = 'max'
    min_predicted_iou: float = 0.0
    second_look: bool | None = None
    temporal: str = 'off'
    dtype: str = 'float32'
    cuda_graphs: bool = False
    engine: str = 'auto'
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.features, list):  # as JSON gives them
            object.__setattr__(self, 'features', tuple(self.features))
        names = self.features
        known = isinstance(names, tuple) and all(_one_of(name, FEATURES) for name in names)
        choices = ('fit_weights', 'second_look')
        facts = [
            ('features', known and 0 < len(names) == len(set(names)), "('dino', 'sam') or one of"),
            ('grid_size', self.grid_size is None or is_whole(self.grid_size, 8, 256),
             'a whole number from 8 to 256, or None'),
            ('passes', self.passes is None or is_whole(self.passes, 1, 3), '1, 2, 3 or None'),
            ('cuda_graphs', isinstance(self.cuda_graphs, bool), 'true or false'),
            *((name, isinstance(getattr(self, name), (bool, type(None))), 'true, false or None')
              for name in choices),
            ('fit_steps', is_whole(self.fit_steps, 1, MOST_FIT_STEPS),
             f'a whole number from 1 to {MOST_FIT_STEPS}'),
            ('similarity_prompt', self.similarity_prompt is None
             or _one_of(self.similarity_prompt, SIMILARITY_PROMPTS),
             f'{", ".join(SIMILARITY_PROMPTS)} or None'),
            ('combine_references', _one_of(self.combine_references, COMBINATIONS),
             ' or '.join(COMBINATIONS)),
            ('min_predicted_iou', isinstance(self.min_predicted_iou, Real)
             and not isinstance(self.min_predicted_iou, bool)
             and 0 <= self.min_predicted_iou <= 1, 'a value in 0..1'),
            ('temporal', _one_of(self.temporal, TEMPORAL), ' or '.join(TEMPORAL)),
            ('dtype', _one_of(self.dtype, DTYPES), ', '.join(DTYPES)),
            ('engine', _one_of(self.engine, ENGINES), ', '.join(ENGINES)),
            ('seed', is_whole(self.seed, 0, 2**63 - 1), 'a whole number, 0 or more'),
        ]
        for name, fits, expected in facts:
            if not fits:
                raise InvalidInputError(f'{name} {getattr(self, name)!r}: expected {expected}')

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MaskerSettings:
        """Return the settings that `to_dict` gave.

        Raises:
            InvalidInputError: if they are no mapping, or a name or value is not usable.
        """
        if not isinstance(values, Mapping):
            raise InvalidInputError(f'settings {values!r}: expected a mapping of names to values')
        known = {each.name for each in fields(cls)}
        values = {name: value for name, value in values.items() if name not in GONE}
        if unknown := [name for name in values if name not in known]:
            raise InvalidInputError(f'settings: there is none called {unknown[0]!r}; known are '
                                    f'{", ".join(sorted(known))}')
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, for a checkpoint."""
        return asdict(self) | {'features': list(self.features)}


def _one_of(value: object, choices: tuple[str, ...]) -> bool:
    return isinstance(value, str) and value in choices


def checked_settings(settings: MaskerSettings | None) -> MaskerSettings:
    """Return the settings, the defaults for None.

    Raises:
        InvalidInputError: if they are anything else.
    """
    if not isinstance(settings, (MaskerSettings, type(None))):
        raise InvalidInputError(f'settings: {type(settings).__name__}; expected MaskerSettings')
    return settings or MaskerSettings()
