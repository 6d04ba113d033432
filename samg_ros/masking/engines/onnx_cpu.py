# SPDX-License-Identifier: Apache-2.0
"""Networks as ONNX, run by ONNX Runtime on the CPU."""

from __future__ import annotations

import inspect
import io
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from samg_ros.errors import ConfigError
from samg_ros.masking.engines.library import library

OPSET = 18
"""The first whose Resize is that of Pillow; TensorRT 8.6 reads it."""
INPUT = 'input_'
"""Inputs are called so with their number behind it; one that nothing depends on is left out."""


class OnnxRuntimeEngine:
    """Runs ONNX graphs on the CPU with fixed threads, in float32.

    With these fixed, the same input gives the same bits on the same computer.
    """

    name = 'onnxruntime'

    def __init__(self, dtype: str, threads: int) -> None:
        """Take the precision of the networks and the number of CPU threads.

        Raises:
            MissingDependencyError: if ONNX Runtime is not installed.
            ConfigError: if it is asked for anything but float32.
        """
        if dtype != 'float32':
            raise ConfigError(f"dtype '{dtype}': ONNX Runtime computes in float32 on a CPU; take "
                              "that, or engine 'openvino' or 'torch'")
        self.dtype, self.threads = dtype, threads
        self._library = library('onnxruntime')
        self._options = self._library.SessionOptions()
        self._options.intra_op_num_threads = threads
        self._options.inter_op_num_threads = 1
        self._options.log_severity_level = 3  # errors
        # Between frames the threads sleep, so that the robot's other programs have the cores.
        self._options.add_session_config_entry('session.force_spinning_stop', '1')
        self.identity: list[Any] = [self._library.__version__, threads, OPSET]
        """What a compiled network depends on beside the network itself; plain JSON types."""

    def compile(self, network: nn.Module, example: tuple[Tensor, ...]) -> bytes:
        """Return a network as an ONNX graph for the shapes of an example.

        Raises:
            Exception: of torch, if it cannot be converted.
        """
        return onnx_graph(network, example)

    def load(self, data: bytes) -> OnnxRuntimeNetwork:
        """Return the network of a graph, optimised for this computer.

        Raises:
            RuntimeError: if ONNX Runtime cannot read it.
        """
        try:
            session = self._library.InferenceSession(data, self._options,
                                                     providers=['CPUExecutionProvider'])
        except Exception as error:  # its errors have no common class below it
            raise RuntimeError(f'ONNX Runtime: {error}') from error
        return OnnxRuntimeNetwork(session)


class OnnxRuntimeNetwork:
    """A graph that is ready to run, also from several threads at once."""

    def __init__(self, session: Any) -> None:
        """Take an `onnxruntime.InferenceSession`."""
        self._session = session
        self._used = {one.name: int(one.name.removeprefix(INPUT)) for one in session.get_inputs()}

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return what the network returns, in memory of its own."""
        given = {name: inputs[index].contiguous().numpy() for name, index in self._used.items()}
        return tuple(torch.from_numpy(one) for one in self._session.run(None, given))


def onnx_graph(network: nn.Module, example: tuple[Tensor, ...], inputs: tuple[str, ...] = (),
               outputs: tuple[str, ...] = ()) -> bytes:
    """Return a network as an ONNX file for the shapes of an example, traced.

    Args:
        network: tensors in, a tuple of tensors out.
        example: what it is called with.
        inputs: names of its arguments, as many as there are; without, INPUT and a number.
        outputs: names of its results.
    """
    file: Any = io.BytesIO()  # which only the exporter that traces takes
    # torch.export, the default since torch 2.9, takes a minute for what tracing does in seconds.
    chosen: dict[str, Any] = {}
    if 'dynamo' in inspect.signature(torch.onnx.export).parameters:
        chosen['dynamo'] = False
    names = list(inputs) or [f'{INPUT}{index}' for index in range(len(example))]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter('ignore')  # of tracing: sizes become constants, as they should
        torch.onnx.export(network, example, file, input_names=names,
                          output_names=list(outputs) or None, opset_version=OPSET, **chosen)
    return file.getvalue()
