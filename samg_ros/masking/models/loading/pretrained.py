# SPDX-License-Identifier: Apache-2.0
"""Reading what transformers wrote, strictly: a folder on disk or a hub id."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from samg_ros.errors import MissingDependencyError, WeightsError, first_line
from samg_ros.files.tensors import is_finite
from samg_ros.masking.models.loading.weights_io import listed_keys


def load_pretrained(name: str, class_name: str, source: str | Path, width: int | None = None
                    ) -> Any:
    """Return a model of transformers with its weights.

    Args:
        name: what this package calls the model, for messages.
        class_name: what transformers calls its class.
        source: a folder with config.json and weights, or a hub id. A checkpoint of the model that
            does the same for videos is read too; what is about videos in it is left out.
        width: of the hidden layers, by which the sizes of a family differ; None for a model of one
            size.

    Raises:
        WeightsError: if it cannot be had, is of another model, or its keys do not fit, which are
            named; a pickle with code in it is refused, not run.
        MissingDependencyError: if transformers is not installed, or too old for the model.
    """
    try:
        import transformers
        model_class = getattr(transformers, class_name)
    except (ImportError, AttributeError) as error:
        raise MissingDependencyError(f'model {name}: no transformers with {class_name} is '
                                     'installed; run `pip install --upgrade transformers timm`'
                                     ) from error
    source, config_class = str(source), model_class.config_class
    if source.count('/') > 1 and not Path(source).is_dir():
        raise WeightsError(f'model {name}: {source!r} is no folder and no hub id; give a folder '
                           'with config.json and model.safetensors')
    try:
        config = config_class.get_config_dict(source)[0]
        described, found_width = config.get('model_type'), None
        fits = described in (config_class.model_type, f'{config_class.model_type}_video')
        if width is not None and fits:
            found_width = config_class.from_dict(config).hidden_size
        if fits and width in (None, found_width):
            with _quiet(transformers.utils.logging):
                # Keys of another shape are let through here so that they can be named below.
                model, found = model_class.from_pretrained(source, output_loading_info=True,
                                                           ignore_mismatched_sizes=True)
    except Exception as error:  # transformers raises whatever its readers raise
        reason = 'its pickle holds more than tensors and is not run' \
            if isinstance(error, UnpicklingError) else first_line(error)
        raise WeightsError(
            f'model {name}: cannot be loaded from {source!r} ({reason}); give '
            f'a local folder with config.json and model.safetensors, {name}=/path/to/folder'
        ) from error
    if not fits:
        raise WeightsError(f'model {name}: {source!r} holds a model of type {described!r}; give '
                           f'one of type {config_class.model_type!r}')
    if width not in (None, found_width):
        raise WeightsError(f'model {name}: {source!r} holds one whose layers are {found_width} '
                           f'wide, and those of {name} are {width}; give the name of its size')
    faults = [f'{what} {listed_keys(keys)}' for what, keys in (
        ('missing', list(found['missing_keys'])),
        ('unexpected', list(found['unexpected_keys'])),
        ('of another shape', [key for key, *_ in found['mismatched_keys']]),
        ('with numbers that are not finite', [key for key, value in model.state_dict().items()
                                              if not is_finite(value)])) if keys]
    if faults:
        raise WeightsError(f'model {name}: {source!r} does not fit {class_name}: '
                           f'{"; ".join(faults)}; use a checkpoint of this architecture')
    return model


@contextmanager
def _quiet(log: Any) -> Iterator[None]:
    """Keep transformers from printing what becomes one error here, and its progress bar."""
    level, bar = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bar:
            log.enable_progress_bar()
