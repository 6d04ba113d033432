# SPDX-License-Identifier: Apache-2.0
"""Which engine runs a masker's networks on frames."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch

from samg_ros.errors import ConfigError, SamgError, first_line
from samg_ros.masking.engines.compilation import Engine
from samg_ros.masking.engines.compiled import CompiledModel
from samg_ros.masking.engines.library import is_installed
from samg_ros.masking.engines.onnx_cpu import OnnxRuntimeEngine
from samg_ros.masking.engines.openvino_cpu import OpenVinoEngine
from samg_ros.masking.engines.precision import in_precision
from samg_ros.masking.models.base import VisionModel
from samg_ros.masking.settings import MaskerSettings

ON_A_CPU: dict[str, Callable[[str, int], Engine]] = {
    'openvino': OpenVinoEngine, 'onnxruntime': OnnxRuntimeEngine}


class Models(NamedTuple):
    """A model in its two roles."""

    fitted: VisionModel
    """With which references are fitted, in torch."""
    on_frames: VisionModel
    """What frames get."""
    why_torch: str
    """Why 'auto' could not take the installed OpenVINO, or ''."""

    @property
    def engine(self) -> str:
        """Which engine runs the networks on frames; what it cannot run, and why."""
        if not isinstance(self.on_frames, CompiledModel):
            reason = f'openvino cannot be used ({self.why_torch})' if self.why_torch else ''
            return '; '.join(filter(None, ['torch', reason]))
        compiling = self.on_frames.compiling
        return '; '.join([self.on_frames.engine_name, *(
            f'{part} in torch ({why})' for part, why in sorted(self.on_frames.failures.items())),
            *([f'torch until {compiling} more networks are compiled'] if compiling else [])])


def models_for(model: VisionModel, settings: MaskerSettings, device: torch.device,
               weights: str, wait: bool = True) -> Models:
    """Return the model that references are fitted with and the one that frames get.

    Args:
        model: on its device. In half precision its weights are converted in place.
        settings: engine and dtype.
        device: the model's.
        weights: hash of its weights.
        wait: whether frames wait until their networks are compiled; see CompiledModel.

    Raises:
        MissingDependencyError: if the engine that was asked for is not installed.
        ConfigError: if the device cannot compute in that type, or the engine not on that device.
    """
    engine, why_torch = _engine(settings, device)
    if engine is None:
        model = in_precision(model, settings.dtype, device)
        return Models(model, model, why_torch)
    full = model if settings.dtype == 'float32' else copy.deepcopy(model)
    model = in_precision(model, settings.dtype, device)
    return Models(model, CompiledModel(full, engine, weights, model, wait), '')


def _engine(settings: MaskerSettings, device: torch.device) -> tuple[Engine | None, str]:
    """Return the engine, or None and why 'auto' cannot have it."""
    name, threads = settings.engine, torch.get_num_threads()
    if name in ON_A_CPU:
        if device.type != 'cpu':
            raise ConfigError(f"engine '{name}': runs on the CPU, not on {device}; take device "
                              "'cpu' or engine 'torch'")
        return ON_A_CPU[name](settings.dtype, threads), ''
    if name == 'torch' or device.type != 'cpu' or not is_installed('openvino'):
        return None, ''
    try:
        return OpenVinoEngine(settings.dtype, threads), ''
    except (SamgError, ImportError, RuntimeError) as error:  # this type, or this CPU, is not for it
        return None, first_line(error)[:200]
