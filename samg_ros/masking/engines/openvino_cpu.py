# SPDX-License-Identifier: Apache-2.0
"""Networks compiled by OpenVINO for this computer's CPU."""

from __future__ import annotations

import sys
import threading
import warnings
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from samg_ros.errors import ConfigError
from samg_ros.masking.engines.library import library

PRECISIONS = {'float32': 'f32', 'bfloat16': 'bf16', 'float16': 'f16'}
CAPABILITIES = {'float32': 'FP32', 'bfloat16': 'BF16', 'float16': 'FP16'}


@lru_cache(maxsize=1)
def openvino() -> Any:
    """Return the module `openvino`, which sends no usage statistics from this process.

    Its tools report every import and conversion to a server unless `openvino_telemetry` cannot be
    imported.

    Raises:
        MissingDependencyError: if it is not installed.
    """
    sys.modules.setdefault('openvino_telemetry', None)  # type: ignore[arg-type]
    return library('openvino')


@lru_cache(maxsize=1)
def _core() -> Any:
    return openvino().Core()


def description() -> str:
    """Return version, processor and the number types that it computes in, for people.

    Raises:
        MissingDependencyError: if OpenVINO is not installed.
    """
    core = _core()
    can = [dtype for dtype, name in CAPABILITIES.items()
           if name in core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')]
    return f'OpenVINO {openvino().__version__.partition("-")[0]} on ' \
           f'{core.get_property("CPU", "FULL_DEVICE_NAME").strip()}: {", ".join(can)}'


class OpenVinoEngine:
    """Compiles for the CPU: one stream, fixed threads, the precision that was asked for.

    With these fixed, the same input gives the same bits on the same computer.
    """

    name = 'openvino'

    def __init__(self, dtype: str, threads: int) -> None:
        """Take the precision of the networks and the number of CPU threads.

        Raises:
            MissingDependencyError: if OpenVINO is not installed.
            ConfigError: if this CPU cannot compute in that type.
        """
        self.dtype, self.threads = dtype, threads
        core = _core()
        can = core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
        if CAPABILITIES[dtype] not in can:
            raise ConfigError(f"dtype '{dtype}': OpenVINO does not compute in it on this CPU; take "
                              "'float32'")
        self._settings = {
            'INFERENCE_PRECISION_HINT': PRECISIONS[dtype], 'INFERENCE_NUM_THREADS': threads,
            'NUM_STREAMS': 1, 'PERFORMANCE_HINT': 'LATENCY',
            'ENABLE_CPU_PINNING': False,  # two processes would be bound to the same cores
        }
        self.identity = [openvino().__version__, core.get_property('CPU', 'FULL_DEVICE_NAME'),
                         sorted(can), sorted(self._settings.items())]
        """What a compiled network depends on beside the network itself; plain JSON types."""

    def compile(self, network: nn.Module, example: tuple[Tensor, ...]) -> bytes:
        """Return a network compiled for the shapes of an example, as bytes for `load`.

        Args:
            network: tensors in, a tuple of tensors out.
            example: what it is called with, on the CPU.

        Raises:
            Exception: of torch or OpenVINO, if it cannot be converted.
        """
        model = converted(network, example)
        data = _core().compile_model(model, 'CPU', self._settings).export_model()
        return data if isinstance(data, bytes) else data.getvalue()

    def load(self, data: bytes) -> OpenVinoNetwork:
        """Return the network that `compile` compiled on this computer.

        Raises:
            RuntimeError: if OpenVINO cannot read it.
        """
        return OpenVinoNetwork(_core().import_model(data, 'CPU', self._settings))


def converted(network: nn.Module, example: tuple[Tensor, ...]) -> Any:
    """Return a network as an `openvino.Model` for the shapes of an example."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter('ignore')  # of tracing: sizes become constants, as they should
        traced = torch.jit.trace(network, example, check_trace=False)
        return openvino().convert_model(traced, example_input=example,
                                       input=[list(one.shape) for one in example])


class OpenVinoNetwork:
    """A compiled network; calls from several threads wait for each other."""

    def __init__(self, compiled: Any) -> None:
        """Take an `openvino.CompiledModel` of static shapes."""
        self._request = compiled.create_infer_request()
        self._tensor = openvino().Tensor
        self._inputs = [one.get_element_type().to_dtype() for one in compiled.inputs]
        self._outputs = [(tuple(one.shape), one.get_element_type().to_dtype())
                         for one in compiled.outputs]
        self._lock = threading.Lock()

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return what the network returns, in memory of its own."""
        given = [np.ascontiguousarray(one.numpy(), kind)
                 for one, kind in zip(inputs, self._inputs, strict=True)]
        found = [np.empty(shape, kind) for shape, kind in self._outputs]
        with self._lock:
            for index, array in enumerate(given):
                self._request.set_input_tensor(index, self._tensor(array, shared_memory=True))
            for index, array in enumerate(found):
                self._request.set_output_tensor(index, self._tensor(array, shared_memory=True))
            self._request.infer(share_outputs=True)
        return tuple(torch.from_numpy(array) for array in found)
