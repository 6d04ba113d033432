# SPDX-License-Identifier: Apache-2.0
"""Trying references before they are saved: mask, similarity map and prompts in other pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from samg_ros.files.pictures import data_uri
from samg_ros.masking import Masker, MaskerSettings, Reference
from samg_ros.masking.models.base import VisionModel
from samg_ros.reference_maker.advice import advice, advice_after_trial
from samg_ros.reference_maker.pictures import Image, heat_png, jpeg, limited, mask_png

TRIAL_SIDE = 480
"""Longer side, in pixels, of what is tried and shown; cameras of robots send about that."""


class Trial:
    """A masker that looks for what the references show."""

    def __init__(self, model: VisionModel, references: Sequence[Reference],
                 settings: MaskerSettings, device: str) -> None:
        """Fit a masker, as `samg mask` does.

        Args:
            model: loaded.
            references: of one object, at least one.
            settings: switches of the method.
            device: of the model.
        """
        self._references = list(references)
        self._masker = Masker(model, settings, device).fit(self._references)
        self._grid = settings.grid_size or model.grid_size

    def look(self, image: Image, name: str) -> dict[str, Any]:
        """Return what is found in a picture, (H, W, 3) uint8 RGB, for the page."""
        image = limited(image, TRIAL_SIDE)
        found = self._masker.predict(image[None])
        mask = found.masks[0].cpu().numpy()
        prompts = found.prompts[0]
        return {
            'name': name, 'width': image.shape[1], 'height': image.shape[0],
            'share': float(mask.mean()), 'predicted_iou': float(found.predicted_iou[0, 0]),
            'picture': data_uri('image/jpeg', jpeg(image, 85)),
            'mask': data_uri('image/png', mask_png(mask)),
            'similarity': data_uri('image/jpeg', heat_png(
                found.similarity[0, 0].float().cpu().numpy(), image)),
            'prompts': [[x, y, label] for (x, y), label in zip(
                prompts.points[0].tolist(), prompts.labels[0].tolist(), strict=True)]}

    def weaknesses(self) -> list[list[str]]:
        """Return for every reference what is weak about it, in plain words."""
        found = []
        for reference in self._references:
            prediction = self._masker.predict(reference.image[None])
            prompts = prediction.prompts[0]
            on = prompts.points[0][prompts.labels[0] == 1].cpu().numpy()
            mask = prediction.masks[0].cpu().numpy()
            found.append(advice(reference, self._grid) + advice_after_trial(reference, mask, on))
        return found
