# SPDX-License-Identifier: Apache-2.0
"""What tells one masker from another: the version of the method, the weights, the settings.

A policy was trained on the masks of one masker. A checkpoint that knows which one it was can say so
when another one runs, also if only the package is newer.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from msgspec import Struct

from samg_ros.errors import InvalidInputError
from samg_ros.masking.models.base import VisionModel
from samg_ros.masking.settings import GONE, MaskerSettings

_LOG = logging.getLogger(__name__)

METHOD_VERSION = 2
"""Of what is computed between a frame and its mask. Count it up with every change after which the
same weights and settings may give other masks. Version 1, release 0.1, does not name itself."""

_BEFORE_MINI = '3a71becabdfbfb0a8060db34291d8f1042a1f115398e3d1f98a1386cfffa7768'
"""Hash of the weights of the embedded model of 0.1, also called `mini`, later `mini-sim`."""

_NAMED = ('method', 'model', 'weights', 'weights_sha256')


class Description(Struct):
    """The fields of `Masker.describe()`. Old checkpoints lack those that have a default here."""

    model: str
    settings: dict[str, Any]
    weights: str | None = None
    weights_sha256: str | None = None
    method: int | None = None


def successor(description: Any) -> Any:
    """Return a description of today's `mini` in place of that of a model which is gone.

    That is the embedded model of 0.1, called `mini`, later `mini-sim`; settings that were made for
    it go with it. Any other description stays as it is. Logs a warning, for the masks differ.
    """
    gone = isinstance(description, Mapping) and (
        description.get('model') == 'mini-sim' or description.get('weights_sha256') == _BEFORE_MINI)
    if not gone:
        return description
    _LOG.warning("the masking model '%s' of before is gone; today's 'mini' with its own settings "
                 'masks in its place, and its masks differ', description.get('model'))
    return {'model': 'mini', 'settings': {}}


def weights_hash(model: VisionModel) -> str:
    """Return the SHA-256 of a model's names and weights, as they are computed with."""
    digest = hashlib.sha256()
    for name, weights in sorted(model.state_dict().items()):
        digest.update(f'{name} {weights.dtype} {tuple(weights.shape)}'.encode())
        values = weights.detach().cpu().contiguous().reshape(-1)
        digest.update(memoryview(values.view(torch.uint8).numpy()))
    return digest.hexdigest()


def identity(name: str, source: Any, model: VisionModel) -> dict[str, Any]:
    """Return what the masks of a model depend on but for the settings, as plain JSON types.

    Args:
        name: of the model.
        source: where its weights are from, see `models.describe_weights`.
        model: with its weights, before it is converted to another precision.
    """
    return {'model': name, 'weights': source, 'weights_sha256': weights_hash(model),
            'method': METHOD_VERSION}


def resolved(settings: MaskerSettings, model: VisionModel) -> MaskerSettings:
    """Return settings with the model's own in the place of None.

    Raises:
        InvalidInputError: if the model was not trained for the guidance that they name, or they
            contradict one another.
    """
    kind = settings.similarity_prompt or model.similarity_prompt
    if kind not in model.similarity_prompts:
        raise InvalidInputError(f'similarity_prompt {kind!r}: not for this model; expected '
                                f'{", ".join(model.similarity_prompts)} or None')
    fits, looks = settings.fit_weights, settings.second_look
    looks = model.second_look if looks is None else looks
    if settings.temporal == 'prior' and not looks:
        raise InvalidInputError("temporal 'prior': looks again where the objects were, so it needs "
                                'second_look')
    return replace(
        settings, similarity_prompt=kind, passes=settings.passes or model.passes,
        grid_size=settings.grid_size or model.grid_size,
        fit_weights=model.fits_weights if fits is None else fits,
        second_look=looks)


def described(settings: MaskerSettings) -> dict[str, Any]:
    """Return what masks depend on as plain JSON types.

    Engines give the same masks to rounding, so theirs is not among them.
    """
    return {name: value for name, value in settings.to_dict().items() if name != 'engine'}


def differences(trained: Mapping[str, Any], running: Mapping[str, Any]) -> list[str]:
    """Say how a masker differs from the one that a policy was trained behind.

    Args:
        trained: `Masker.describe()` of the checkpoint.
        running: `Masker.describe()` of the masker.

    Returns:
        A phrase for each difference; none if the masks are the same.
    """
    if 'method' in running and 'method' not in trained:
        return [f'method {running["method"]} of this package; the policy was trained behind the '
                'masks of a release (0.1) that does not say which they were']
    before, now = _flat(trained), _flat(running)
    if before['model'] != now['model']:  # whose settings are its own
        return [f'model {now["model"]}, in training it was {before["model"]}']
    return [f'{name} {_short(now.get(name))}, in training it was {_short(before.get(name))}'
            for name in (*_NAMED, *sorted({*before, *now} - {*_NAMED}))
            if before.get(name) != now.get(name)]


def _flat(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings and names; a setting younger than the description has its default.

    That is what was computed before there was the setting, or METHOD_VERSION would tell.
    """
    known = {name: value for name, value in (description.get('settings') or {}).items()
             if name not in GONE}
    return {**described(MaskerSettings()), **known,
            **{name: description.get(name) for name in _NAMED}}


def _short(value: Any) -> Any:
    """Return the beginning of a hash, and anything else as it is."""
    return value[:12] if isinstance(value, str) and len(value) == hashlib.sha256().digest_size * 2 \
        else value
