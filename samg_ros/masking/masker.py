# SPDX-License-Identifier: Apache-2.0
"""The masker: fitted to references, it cuts the same objects out of every frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from samg_ros.device import usable_device
from samg_ros.errors import ConfigError, InvalidInputError, NotFittedError, first_line
from samg_ros.files.schema import convert
from samg_ros.masking.checks import check_size, checked_frames, is_whole
from samg_ros.masking.engines.choice import models_for
from samg_ros.masking.engines.cuda_graphs import GraphedCall
from samg_ros.masking.frames.pipeline import find, find_nothing, similarity_prompt
from samg_ros.masking.frames.prediction import Frames, Prediction
from samg_ros.masking.frames.second_look import Finder, cropped_reference, look_again, look_near
from samg_ros.masking.geometry import Geometry
from samg_ros.masking.identity import Description, described, identity, resolved, successor
from samg_ros.masking.models import Weights, check_weights, describe_weights, load_model
from samg_ros.masking.models.base import Encoding, VisionModel
from samg_ros.masking.references.capture import mask_from_points
from samg_ros.masking.references.fit import fit_weights
from samg_ros.masking.references.reference import (
    Points,
    Reference,
    References,
    checked_points,
    named_references,
)
from samg_ros.masking.references.targets import FittedReference, Targets, point_features
from samg_ros.masking.settings import MaskerSettings, checked_settings

ADJUSTABLE = ('passes', 'min_predicted_iou', 'combine_references')


class Masker:
    """SAM-G's masking for one model and any number of objects (arXiv 2312.17116, section 3).

    A masker keeps nothing from one frame to the next.
    """

    def __init__(self, model: VisionModel, settings: MaskerSettings | None = None,
                 device: str | torch.device = 'cpu', name: str = '',
                 weights: Weights = None, wait_for_engine: bool = True) -> None:
        """Wrap a loaded model.

        Args:
            model: from `models.load_model`, or one's own; it is moved to the device and converted.
            settings: switches of the method; None takes the defaults.
            device: where it runs.
            name: how `describe` calls the model.
            weights: where `describe` says that its weights are.
            wait_for_engine: whether frames of a new size wait until the engine has compiled their
                networks. If not, torch runs until then, and which frames it runs is chance.

        Raises:
            InvalidInputError: if model or settings are something else.
            ConfigError: if the device is not there or cannot compute in the wanted type.
        """
        if not isinstance(model, VisionModel):
            raise InvalidInputError(f'model {type(model).__name__}: expected a VisionModel '
                                    '(see samg_ros.masking.models.load_model)')
        if not isinstance(name, str):
            raise InvalidInputError(f'name {name!r}: expected text')
        check_weights(weights)
        self.settings = resolved(checked_settings(settings), model)
        self.device = usable_device(device)
        try:
            model = model.eval().to(self.device)
        except RuntimeError as error:
            raise ConfigError(f"device '{device}' does not take the model "
                              f"({first_line(error)}); try 'cpu'") from error
        self._identity = identity(name, describe_weights(weights), model)
        self._models = models_for(model, self.settings, self.device,
                                  self._identity['weights_sha256'], wait_for_engine)
        self._model, self._frame_model = self._models.fitted, self._models.on_frames
        self._objects: dict[str, list[FittedReference]] = {}

    @classmethod
    def load(cls, model: str = 'mini', settings: MaskerSettings | None = None,
             device: str | torch.device = 'cpu', weights: Weights = None) -> Masker:
        """Load a model by name and wrap it.

        Args:
            model: 'mini' or 'encoder+segmenter', see `samg_ros.masking.models.load_model`.
            settings: switches of the method; None takes the defaults.
            device: 'cpu', 'cuda', ...
            weights: a file, or for a pair a file or folder each; None takes the usual ones.

        Raises:
            UnknownModelError: if no model has that name.
            WeightsError: if the weights cannot be loaded.
            InvalidInputError: if an argument has another type.
            ConfigError: if the device is not there or cannot compute in the wanted type.
        """
        checked_settings(settings)
        if not isinstance(model, str):
            raise InvalidInputError(f"model {model!r}: expected a name such as 'mini'")
        check_weights(weights)
        return cls(load_model(model, weights), settings, device, model, weights)

    def describe(self) -> dict[str, Any]:
        """Return what the masks depend on as plain JSON types, for a checkpoint.

        See `masking.identity`; 'engine' is what the masks depend on to rounding only.
        """
        return {**self._identity, 'settings': described(self.settings), 'engine': self.engine}

    @property
    def engine(self) -> str:
        """What runs the networks on frames; where it is torch after all, also why."""
        return self._models.engine

    @classmethod
    def from_description(cls, description: dict[str, Any],
                         device: str | torch.device = 'cpu') -> Masker:
        """Build the masker that `describe` described; it still wants its reference."""
        known = convert(successor(description), Description, 'description of a masker', ConfigError)
        settings = MaskerSettings.from_dict(known.settings)
        return cls.load(known.model, settings, device, known.weights)

    @property
    def objects(self) -> dict[str, tuple[Reference, ...]]:
        """The references of every object, by its name, in the order of masks and labels."""
        return {name: tuple(one.reference for one in references)
                for name, references in self._objects.items()}

    @property
    def weights(self) -> Tensor | None:
        """(O, 3) float, how each object's first three masks are combined; None before `fit`."""
        return self._targets.weights if self._objects else None

    @property
    def reference(self) -> Reference | None:
        """The first object's first reference; None before `fit`."""
        return next((references[0].reference for references in self._objects.values()), None)

    def fit(self, reference: References | Mapping[str, References]) -> Masker:
        """Set the objects to find.

        Args:
            reference: one or several of one object, or a mapping from objects' names to theirs.

        Raises:
            InvalidInputError: if it is anything else.
        """
        self._look_for({name: [self._fit_one(one) for one in given]
                        for name, given in named_references(reference).items()})
        return self

    def add_points(self, points: npt.ArrayLike, name: str | None = None,
                   reference: int = 0, frame: npt.NDArray[np.uint8] | None = None) -> None:
        """Add clicked points to a fitted reference, from the next frame on.

        The weights of the mask combination stay those of the last `fit`: they say how fine-grained
        the object is, which a further point does not change.

        Args:
            points: (K, 2) [x, y] in pixels of the reference image, or of `frame`.
            name: of the object; None if there is only one.
            reference: which of its references was clicked on.
            frame: (H, W, 3) uint8 RGB, another picture that was clicked on; of its points only
                the features are kept.

        Raises:
            NotFittedError: if there is no reference yet.
            InvalidInputError: if points are outside, or there is no such object or reference.
        """
        name, chosen = self._chosen(name, reference)
        if frame is None:
            before = chosen.reference.points
            clicked = chosen.reference.with_points(points).points
            fitted = chosen.with_points(np.concatenate([before, clicked]))
        else:
            clicked, encoding, geometry = self._clicked_on(frame, points)
            maps = {encoder: encoding.maps[encoder] for encoder in self.settings.features}
            fitted = chosen.with_elsewhere(point_features(maps, clicked, geometry))
        self._replace(name, reference, fitted)

    def clear_points(self, name: str | None = None, reference: int = 0) -> None:
        """Remove all clicked points of a fitted reference; arguments and errors as `add_points`."""
        name, chosen = self._chosen(name, reference)
        self._replace(name, reference, chosen.without_points())

    def capture(self, frame: npt.NDArray[np.uint8], points: npt.ArrayLike,
                source: str = '') -> Reference:
        """Make a reference from a frame and points clicked on an object in it; `fit` takes it.

        Args:
            frame: (H, W, 3) uint8 RGB.
            points: (K, 2) [x, y] pixels, at least one.
            source: where it came from, for people.

        Raises:
            InvalidInputError: if a point is outside, or the mask covers the whole frame.
            EmptyMaskError: if no object is found at these points.
        """
        clicked, encoding, geometry = self._clicked_on(frame, points)
        if len(clicked) == 0:
            raise InvalidInputError('points: none; click on the object at least once')
        mask = mask_from_points(self._model, encoding, clicked, geometry, self.settings)
        return Reference(frame, mask.cpu().numpy(), points=clicked, source=source)

    def adjust(self, **changes: Any) -> None:
        """Change settings from the next frame on: any of ADJUSTABLE, which no fit depends on.

        Raises:
            InvalidInputError: if a setting is not among them, or its value is not usable.
        """
        if wrong := sorted(set(changes) - set(ADJUSTABLE)):
            raise InvalidInputError(f'{wrong[0]}: cannot change after loading; expected '
                                    f'{", ".join(ADJUSTABLE)}')
        self.settings = resolved(replace(self.settings, **changes), self._model)
        if self._objects:
            self._call = self._recorded()

    def __call__(self, frames: Frames) -> Frames:
        """Return the masks of frames: the pixels of any object.

        Args:
            frames: (N, H, W, 3) uint8 RGB, array or tensor.

        Returns:
            (N, H, W) bool, of the same kind as the frames and on their device.

        Raises:
            InvalidInputError: if the frames have another shape, dtype or type.
            NotFittedError: if there is no reference yet.
        """
        masks = self.predict(frames).masks
        return masks.to(frames.device) if isinstance(frames, Tensor) else masks.cpu().numpy()

    @torch.inference_mode()
    def predict(self, frames: npt.NDArray[np.uint8] | Tensor) -> Prediction:
        """Return masks and how they came about; arguments and errors as for a call."""
        frames = checked_frames(frames)
        if not self._objects:
            raise NotFittedError('masker: has no reference yet; call fit(Reference.load(folder))')
        if len(frames) == 0:
            return find_nothing(frames, self._geometry(*frames.shape[1:3]), self._targets)
        return self._call(frames.to(self.device))

    @torch.inference_mode()
    def _near(self, frame: npt.NDArray[np.uint8], before: Tensor) -> Prediction | None:
        """Return what `look_near` finds in a frame (H, W, 3); arguments as of `look_near`."""
        frames = checked_frames(frame[None]).to(self.device)
        return look_near(before, frames, self._model.detail_size, self._close_finders())

    def warm_up(self, height: int, width: int, count: int = 1) -> None:
        """Do now what the first `count` frames of height x width would wait for.

        Raises:
            InvalidInputError: if there are no frames of that size.
            NotFittedError: if there is no reference yet.
        """
        for name, value in (('height', height), ('width', width), ('count', count)):
            if not is_whole(value, 1):
                raise InvalidInputError(f'{name} {value!r}: expected a whole number, 1 or more')
        check_size('height and width', height, width)
        self.predict(np.zeros((count, height, width, 3), np.uint8))

    def _geometry(self, height: int, width: int) -> Geometry:
        return self._model.geometry(height, width, self.settings.grid_size, self.device)

    @torch.no_grad()
    def _fit_one(self, reference: Reference) -> FittedReference:
        fitted, encoding, geometry = self._read(reference)
        if not self.settings.fit_weights:
            return fitted
        weights = fit_weights(
            self._model, encoding, fitted.features, geometry, torch.from_numpy(reference.mask),
            1 + len(reference.parts), similarity_prompt(self._model, self.settings), fitted.samples,
            self.settings.fit_steps, self.settings.seed)
        return replace(fitted, weights=weights)

    def _read(self, reference: Reference) -> tuple[FittedReference, Encoding, Geometry]:
        geometry = self._geometry(*reference.mask.shape)
        frame = torch.from_numpy(reference.image).to(self.device)[None]
        encoding = self._model.encode(frame).on_grid(geometry.grid_size)
        return FittedReference.read(reference, encoding, self.settings.features, geometry), \
            encoding, geometry

    def _look_for(self, objects: dict[str, list[FittedReference]]) -> None:
        targets = Targets.gather(list(objects.values()))
        close = [Targets.gather([[self._close_up(one) for one in references]])
                 for references in objects.values()] if self.settings.second_look else []
        self._objects, self._targets, self._close_targets = objects, targets, close
        self._call = self._recorded()

    def _recorded(self) -> Callable[[Tensor], Prediction]:
        graphs = self.settings.cuda_graphs and self.device.type == 'cuda'
        return GraphedCall(self._find) if graphs else self._find

    @torch.no_grad()
    def _clicked_on(self, frame: npt.NDArray[np.uint8], points: npt.ArrayLike,
                    ) -> tuple[Points, Encoding, Geometry]:
        if not isinstance(frame, np.ndarray):
            raise InvalidInputError(f'frame: {type(frame).__name__}; expected a numpy array of '
                                    '(H, W, 3) uint8 RGB')
        frames = checked_frames(frame[None])
        height, width = frames.shape[1:3]
        clicked = checked_points(points, height, width, 'points')
        geometry = self._geometry(height, width)
        encoding = self._model.encode(frames.to(self.device)).on_grid(geometry.grid_size)
        return clicked, encoding, geometry

    def _chosen(self, name: str | None, reference: int) -> tuple[str, FittedReference]:
        if not self._objects:
            raise NotFittedError('masker: has no reference yet; call fit(Reference.load(folder))')
        if name is None and len(self._objects) == 1:
            name = next(iter(self._objects))
        if not isinstance(name, str) or name not in self._objects:
            raise InvalidInputError(f'name {name!r}: expected one of {list(self._objects)}')
        count = len(self._objects[name])
        if not is_whole(reference, 0, count - 1):
            raise InvalidInputError(f'reference {reference!r}: expected the index of one of '
                                    f'{count} of {name!r}')
        return name, self._objects[name][reference]

    def _replace(self, name: str, index: int, fitted: FittedReference) -> None:
        references = [*self._objects[name][:index], fitted, *self._objects[name][index + 1:]]
        self._look_for({**self._objects, name: references})

    @torch.no_grad()
    def _close_up(self, fitted: FittedReference) -> FittedReference:
        """Return the reference as a second look sees it: cropped around its object."""
        close, _, _ = self._read(cropped_reference(fitted.reference, self._model.detail_size))
        return replace(close, weights=fitted.weights, elsewhere=fitted.elsewhere)

    def _find(self, frames: Tensor) -> Prediction:
        found = find(self._frame_model, frames, self._geometry(*frames.shape[1:3]), self._targets,
                     self.settings)
        if not self.settings.second_look:
            return found
        return look_again(found, frames, self._model.detail_size, self._close_finders())

    def _close_finders(self) -> list[Finder]:
        size = self._model.detail_size
        return [partial(find, self._frame_model, geometry=self._geometry(size, size),
                        targets=targets, settings=self.settings) for targets in self._close_targets]
