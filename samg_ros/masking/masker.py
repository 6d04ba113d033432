# SPDX-License-Identifier: Apache-2.0
"""The masker: fitted to one reference, it cuts the same object out of every frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from samg_ros.errors import ConfigError, InvalidInputError, NotFittedError, first_line
from samg_ros.masking.cascade import Prompts, pick_prompts, run_cascade
from samg_ros.masking.fit import fit_weights
from samg_ros.masking.geometry import Geometry
from samg_ros.masking.models import Weights, load_model
from samg_ros.masking.models.base import FeatureMap, VisionModel
from samg_ros.masking.reference import MIN_SIDE, Reference
from samg_ros.masking.settings import MaskerSettings
from samg_ros.masking.similarity import (
    cell_mask,
    point_feature,
    region_feature,
    similarity_maps,
)

Frames = TypeVar('Frames', npt.NDArray[np.uint8], Tensor)


@dataclass(frozen=True)
class Prediction:
    """Everything the masker found in N frames, as tensors on its device.

    Attributes:
        masks: (N, H, W) bool.
        predicted_iou: (N,) float in 0 .. 1, what the model thinks of each mask.
        prompts: the point prompts: object, beside it, then parts and clicked points.
        similarity: (N, H, W) float in -1 .. 1, the object's averaged similarity map.
    """

    masks: Tensor
    predicted_iou: Tensor
    prompts: Prompts
    similarity: Tensor


class Masker:
    """SAM-G's masking for one model and one reference (arXiv 2312.17116, section 3).

    A masker keeps nothing from one frame to the next.
    """

    def __init__(self, model: VisionModel, settings: MaskerSettings | None = None,
                 device: str | torch.device = 'cpu', name: str = '',
                 weights: Weights = None) -> None:
        """Wrap a loaded model.

        Args:
            model: from `samg_ros.masking.models.load_model`, or one's own.
            settings: switches of the method; None takes the defaults.
            device: where it runs.
            name: how `describe` calls the model.
            weights: where `describe` says that its weights are.

        Raises:
            ConfigError: if the device is not there.
        """
        try:
            self.device = torch.device(device)
            self._model = model.eval().to(self.device)
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(f"device {device!r}: cannot be used "
                              f"({first_line(error)}); try 'cpu'") from error
        self.settings = settings or MaskerSettings()
        self.reference: Reference | None = None
        self.weights: Tensor | None = None
        self._name = name
        self._weights_source = {name: str(source) for name, source in weights.items()} \
            if isinstance(weights, Mapping) else weights and str(weights)
        self._features: dict[str, Tensor] = {}

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
            ConfigError: if the device is not there.
        """
        return cls(load_model(model, weights), settings, device, model, weights)

    def describe(self) -> dict[str, Any]:
        """Return model, weights and settings as plain JSON types, for a checkpoint."""
        return {'model': self._name, 'weights': self._weights_source,
                'settings': self.settings.to_dict()}

    @classmethod
    def from_description(cls, description: dict[str, Any],
                         device: str | torch.device = 'cpu') -> Masker:
        """Build the masker that `describe` described; it still wants its reference."""
        try:
            settings = MaskerSettings(**description['settings'])
            name, weights = description['model'], description['weights']
        except (KeyError, TypeError) as error:
            raise ConfigError(f'masker description {description}: expected `model`, `weights` and '
                              f'`settings` ({error})') from error
        return cls.load(name, settings, device, weights)

    def _geometry(self, height: int, width: int) -> Geometry:
        model = self._model
        return Geometry(height, width, model.image_size, model.mask_size, model.grid_size,
                        self.device, model.stretched)

    @property
    def _guided(self) -> bool:
        wish = self.settings.similarity_prompt
        return self._model.similarity_prompt if wish is None else wish

    def fit(self, reference: Reference) -> Masker:
        """Take a reference: compute its features and fit the combination of masks.

        Args:
            reference: image, mask, part masks and clicked points.

        Returns:
            This masker.

        Raises:
            InvalidInputError: if it is not a Reference.
        """
        if not isinstance(reference, Reference):
            raise InvalidInputError(f'reference: {type(reference).__name__}; expected a '
                                    'samg_ros.masking.Reference (see Reference.load)')
        geometry = self._geometry(*reference.mask.shape)
        with torch.no_grad():
            frame = torch.from_numpy(reference.image).to(self.device)[None]
            encoding = self._model.encode(frame)
            regions = [torch.from_numpy(mask).to(self.device)
                       for mask in (reference.mask, *reference.parts)]
            features = {name: self._reference_features(encoding.maps[name], regions,
                                                       reference.points.tolist(), geometry)
                        for name in self.settings.features}
        if self.settings.fit_weights:
            self.weights = fit_weights(self._model, encoding, features, geometry, regions[0],
                                       len(regions), self._guided, self.settings.fit_steps,
                                       self.settings.seed)
        else:
            self.weights = torch.full((3,), 1 / 3, device=self.device)
        self._features = features
        self.reference = reference
        return self

    @staticmethod
    def _reference_features(feature_map: FeatureMap, regions: list[Tensor],
                            points: list[list[float]], geometry: Geometry) -> Tensor:
        """Return (R, C): the object's, the parts' and the clicked points' features."""
        found = [region_feature(feature_map.maps[0], cell_mask(region, feature_map, geometry))
                 for region in regions]
        cells = feature_map.maps.shape[-1]
        width, height = (max(geometry.height, geometry.width),) * 2 if feature_map.padded \
            else (geometry.width, geometry.height)
        found += [point_feature(feature_map.maps[0], cells * x / width, cells * y / height)
                  for x, y in points]
        return torch.stack(found)

    def __call__(self, frames: Frames) -> Frames:
        """Return the masks of frames.

        Args:
            frames: (N, H, W, 3) uint8 RGB, array or tensor.

        Returns:
            (N, H, W) bool, of the same kind as the frames and on their device.

        Raises:
            InvalidInputError: if the frames have another shape, dtype or type.
            NotFittedError: if there is no reference yet.
        """
        masks = self.predict(frames).masks
        if isinstance(frames, Tensor):
            return masks.to(frames.device)
        return masks.cpu().numpy()

    @torch.inference_mode()
    def predict(self, frames: npt.NDArray[np.uint8] | Tensor) -> Prediction:
        """Return masks and how they came about; arguments and errors as for a call."""
        frames = self._checked(frames)
        if self.weights is None:
            raise NotFittedError('masker: has no reference yet; call fit(Reference.load(folder))')
        geometry = self._geometry(*frames.shape[1:3])
        if len(frames) == 0:
            empty = torch.zeros(frames.shape[:3], device=self.device)
            points = empty.new_zeros((0, 2, 2), dtype=torch.long)
            return Prediction(empty.bool(), empty.new_zeros(0), Prompts(points, points[..., 0]),
                              empty)
        encoding = self._model.encode(frames.to(self.device))
        maps = similarity_maps(encoding, self._features, geometry)
        prompts = pick_prompts(maps)
        similarity = maps[:, 0]
        last = run_cascade(self._model, encoding, geometry, similarity, prompts, self.weights,
                           self.settings.passes or self._model.passes, self._guided)[-1]
        masks = geometry.padded_to_frame(last.chosen) > 0
        if self.settings.min_predicted_iou > 0:
            masks &= (last.score >= self.settings.min_predicted_iou)[:, None, None]
        return Prediction(masks, last.score, prompts, similarity)

    @staticmethod
    def _checked(frames: npt.NDArray[np.uint8] | Tensor) -> Tensor:
        if not isinstance(frames, (np.ndarray, Tensor)):
            raise InvalidInputError(f'frames: {type(frames).__name__}; expected a numpy array or '
                                    'torch tensor of (N, H, W, 3) uint8 RGB')
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype not in (np.uint8, torch.uint8):
            raise InvalidInputError(f'frames: shape {tuple(frames.shape)}, dtype {frames.dtype}; '
                                    'expected (N, H, W, 3) uint8 RGB (one frame: frame[None])')
        if min(frames.shape[1:3]) < MIN_SIDE:
            raise InvalidInputError(f'frames: {frames.shape[1]} x {frames.shape[2]} pixels; '
                                    f'expected at least {MIN_SIDE} x {MIN_SIDE}')
        if isinstance(frames, np.ndarray):
            return torch.from_numpy(np.ascontiguousarray(frames))
        return frames


def apply_mask(frames: Frames, masks: Frames, fill: tuple[int, int, int] = (0, 0, 0)) -> Frames:
    """Keep the frame inside the mask, fill the rest.

    Args:
        frames: (..., H, W, 3) uint8 RGB, array or tensor.
        masks: (..., H, W) bool of the same kind.
        fill: RGB value outside the mask.

    Returns:
        A new (..., H, W, 3) uint8 of the same kind.

    Raises:
        InvalidInputError: if shapes or dtypes do not fit.
    """
    if frames.shape[:-1] != masks.shape or frames.shape[-1] != 3 \
            or masks.dtype not in (np.bool_, torch.bool) \
            or frames.dtype not in (np.uint8, torch.uint8):
        raise InvalidInputError(
            f'apply_mask: frames {tuple(frames.shape)} {frames.dtype} and masks '
            f'{tuple(masks.shape)} {masks.dtype}; expected (..., H, W, 3) uint8 and (..., H, W) '
            'bool')
    if isinstance(frames, Tensor):
        background = torch.tensor(fill, dtype=torch.uint8, device=frames.device)
        return torch.where(masks[..., None], frames, background)
    return np.where(masks[..., None], frames, np.array(fill, np.uint8))
