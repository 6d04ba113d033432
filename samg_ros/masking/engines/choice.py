# SPDX-License-Identifier: Apache-2.0
"""Which engine runs a masker's networks on frames."""

from __future__ import annotations

import copy

import torch

from samg_ros.errors import ConfigError, SamgError
from samg_ros.masking.engines import openvino_cpu
from samg_ros.masking.engines.compiled import CompiledModel
from samg_ros.masking.engines.precision import in_precision
from samg_ros.masking.models.base import VisionModel
from samg_ros.masking.settings import MaskerSettings


def models_for(model: VisionModel, settings: MaskerSettings, device: torch.device,
               weights: str) -> tuple[VisionModel, VisionModel]:
    """Return the model that references are fitted with, in torch, and the one that frames get.

    Args:
        model: on its device. In half precision its weights are converted in place.
        settings: engine and dtype.
        device: the model's.
        weights: hash of its weights.

    Raises:
        MissingDependencyError: if the engine that was asked for is not installed.
        ConfigError: if the device cannot compute in that type, or the engine not on that device.
    """
    engine = _openvino(settings, device)
    if engine is None:
        model = in_precision(model, settings.dtype, device)
        return model, model
    full = model if settings.dtype == 'float32' else copy.deepcopy(model)
    model = in_precision(model, settings.dtype, device)
    return model, CompiledModel(full, engine, weights, model)


def engine_of(model: VisionModel) -> str:
    """Return which engine runs a model's networks, for people."""
    if not isinstance(model, CompiledModel):
        return 'torch'
    failures = model.failures
    name = model.engine_name
    return name if not failures else '; '.join(
        [name, *(f'{part} in torch ({why})' for part, why in sorted(failures.items()))])


def _openvino(settings: MaskerSettings,
              device: torch.device) -> openvino_cpu.OpenVinoEngine | None:
    if settings.engine == 'torch':
        return None
    if settings.engine == 'openvino':
        if device.type != 'cpu':
            raise ConfigError(f"engine 'openvino': runs on the CPU, not on {device}; take device "
                              "'cpu' or engine 'torch'")
        return openvino_cpu.OpenVinoEngine(settings.dtype, torch.get_num_threads())
    if device.type != 'cpu' or not openvino_cpu.is_installed():
        return None
    try:
        return openvino_cpu.OpenVinoEngine(settings.dtype, torch.get_num_threads())
    except (SamgError, ImportError, RuntimeError):  # this type, or this CPU, is not for it
        return None
