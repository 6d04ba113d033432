# SPDX-License-Identifier: Apache-2.0
"""The models by name. A new family is a file beside this one and a line in a table here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from samg_ros.errors import InvalidInputError, UnknownModelError, WeightsError
from samg_ros.masking.models import (
    dinov2,
    dinov3,
    edgetam,
    efficientvit_sam,
    hf_sam,
    mobile_sam,
    sam,
    sam2,
)
from samg_ros.masking.models.base import FeatureEncoder, ModelPair, Segmenter, VisionModel
from samg_ros.masking.models.mini.network import Mini, load_mini

Weights = str | Path | Mapping[str, str | Path] | None

WHOLE: dict[str, Callable[[str | Path | None], VisionModel]] = {
    'mini': load_mini}
ENCODERS: dict[str, Callable[[str | Path | None], FeatureEncoder]] = {
    name: partial(load, name) for load, names in (
        (dinov2.load_dinov2, dinov2.HUB_IDS),
        (dinov3.load_dinov3, dinov3.HUB_IDS)) for name in names}
SEGMENTERS: dict[str, Callable[[str | Path | None], Segmenter]] = {
    name: partial(load, name) for load, names in (
        (sam.load_sam, sam.ARCHITECTURES),
        (efficientvit_sam.load_efficientvit_sam, efficientvit_sam.ARCHITECTURES),
        (mobile_sam.load_mobile_sam, mobile_sam.NAMES),
        (hf_sam.load_hf_sam, hf_sam.HUB_IDS),
        (sam2.load_sam2, sam2.HUB_IDS),
        (edgetam.load_edgetam, edgetam.HUB_IDS)) for name in names}


def load_model(name: str, weights: Weights = None) -> VisionModel:
    """Return a model with its weights, in evaluation mode.

    Args:
        name: 'mini', or a pair 'encoder+segmenter' such as 'dinov2-b+sam-vit-b'.
        weights: for one network a file; for a pair a mapping from each name to its file, folder or
            hub id, or the same as text, 'dinov2-b=/a/folder,sam-vit-b=/a/file.pth'. What is not
            given comes from where that model usually comes from.

    Raises:
        UnknownModelError: if there is no model of that name, or weights are for another.
        WeightsError: if the weights cannot be loaded.
        MissingDependencyError: if the library a model needs is not installed.
    """
    if name in WHOLE:
        if isinstance(weights, Mapping):
            weights = _by_name(weights, (name,)).get(name)
        elif isinstance(weights, str):
            weights = weights.removeprefix(f'{name}=')
        weights = weights and _home(weights)
        return WHOLE[name](weights).eval()
    encoder, plus, segmenter = name.partition('+')
    if not plus or encoder not in ENCODERS or segmenter not in SEGMENTERS:
        raise UnknownModelError(
            f'model {name!r}: not known; choose {", ".join(WHOLE)}, or an encoder '
            f'({", ".join(ENCODERS)}) and a segmenter ({", ".join(SEGMENTERS)}) joined by "+"')
    given = _by_name(weights, (encoder, segmenter))
    return ModelPair(ENCODERS[encoder](given.get(encoder)),
                     SEGMENTERS[segmenter](given.get(segmenter))).eval()


def model_class(name: str) -> type[VisionModel]:
    """Return the class of a model of that name, which knows the settings it is best with."""
    return Mini if name == 'mini' else ModelPair


def check_weights(weights: Weights) -> None:
    """Raise InvalidInputError if weights are neither a path, nor a mapping of paths, nor None."""
    if not isinstance(weights, (str, Path, Mapping, type(None))) or weights == '':
        raise InvalidInputError(f'weights {weights!r}: expected a path, or for a pair a mapping '
                                'of paths')


def describe_weights(weights: Weights) -> str | None:
    """Return weights as text that `load_model` reads from any working directory."""
    if weights is None:
        return None
    if isinstance(weights, Mapping):
        weights = ','.join(f'{name}={path}' for name, path in weights.items())
    parts = (item.rpartition('=') for item in str(weights).split(','))
    return ','.join(f'{name}{equals}{_absolute(path)}' for name, equals, path in parts)


def _absolute(path: str) -> str:
    """Of a file that is there; a hub id stays what it is."""
    return str(_home(path).resolve()) if _home(path).exists() else path


def _home(path: str | Path) -> Path:
    """Return a path with `~` as the home folder.

    Raises:
        WeightsError: if there is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise WeightsError(f'weights {path}: {error}; give a path') from error


def _by_name(weights: Weights, names: tuple[str, ...]) -> Mapping[str, str | Path]:
    if weights is None:
        return {}
    if not isinstance(weights, Mapping):
        weights = dict(item.strip().partition('=')[::2] for item in str(weights).split(','))
    if strangers := set(weights) - set(names):
        raise UnknownModelError(f'weights for {", ".join(sorted(strangers))}: not part of the '
                                f'model; give {" and ".join(f"{name}=..." for name in names)}')
    return {name: _home(path) for name, path in weights.items()}
