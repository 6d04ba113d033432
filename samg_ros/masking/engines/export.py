# SPDX-License-Identifier: Apache-2.0
"""Networks as files that other programs run: ONNX, or OpenVINO's format."""

from __future__ import annotations

import hashlib
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from samg_ros.errors import ConfigError, MissingDependencyError, first_line
from samg_ros.files.outputs import replacing, write_bytes
from samg_ros.masking.engines import check_parity
from samg_ros.masking.engines.library import is_installed, library
from samg_ros.masking.engines.onnx_cpu import OPSET, onnx_graph
from samg_ros.masking.engines.openvino_cpu import converted, openvino
from samg_ros.masking.frames.pipeline import find
from samg_ros.masking.masker import Masker

FORMATS = ('onnx', 'openvino')
MEAN_IOU, LEAST_IOU = 0.999, 0.98
"""What masks of an exported network must have with those of torch, over all examples."""
LOGITS, ACTIONS = 0.05, 1e-3
"""Largest differences that are rounding: of logits, which are some tens large, and of actions as a
share of their range."""


class MaskerNetwork(nn.Module):
    """A fitted masker for frames of one size as one network; what it looks for is in it."""

    inputs = {'frames': 'RGB, 0 to 255'}
    outputs = {
        'masks': 'true on the pixels of any object',
        'object_masks': 'the same of each object, in the order of `objects`',
        'logits': 'of each object, positive inside',
        'predicted_iou': 'of each object, 0 to 1: what the network thinks of its mask'}

    def __init__(self, masker: Masker, rows: int, columns: int) -> None:
        """Take the masker.

        Raises:
            ConfigError: if a switch of it cannot be exported.
        """
        super().__init__()
        if masker.settings.second_look:
            raise ConfigError('second_look: its crops depend on what was found, which a network of '
                              'fixed shapes cannot do; export without it')
        self.model = masker._model
        self._settings, self._targets = masker.settings, masker._targets
        self._geometry = masker._geometry(rows, columns)

    def forward(self, frames: Tensor) -> tuple[Tensor, ...]:
        found = find(self.model, frames, self._geometry, self._targets, self._settings)
        return found.masks, found.object_masks, found.logits, found.predicted_iou


@dataclass(frozen=True)
class Exported:
    """A network to export.

    Attributes:
        name: of its files.
        network: tensors in, a tuple of tensors out.
        inputs: what each argument means, by its name.
        outputs: what each result means, by its name.
        examples: arguments to compare it with torch on; the first is traced.
        allowed: see `check_parity.is_within`.
        facts: what else the manifest says.
        calibration: arguments on which convolutions are quantised to int8, in OpenVINO's format;
            None leaves all in float32.
    """

    name: str
    network: nn.Module
    inputs: dict[str, str]
    outputs: dict[str, str]
    examples: list[tuple[Tensor, ...]]
    allowed: dict[str, float]
    facts: dict[str, Any]
    calibration: list[tuple[Tensor, ...]] | None = None

    def _convert(self, path: Path, form: str, network: nn.Module) -> None:
        example, inputs, outputs = self.examples[0], tuple(self.inputs), tuple(self.outputs)
        if form == 'onnx':
            write_bytes(path, onnx_graph(network, example, inputs, outputs))
            return
        model = converted(network, example)
        if self.calibration is not None:
            model = quantized(model, self.calibration)
        for ports, names in ((model.inputs, inputs), (model.outputs, outputs)):
            for port, name in zip(ports, names, strict=True):
                port.tensor.set_names({name})
        openvino().save_model(model, path, compress_to_fp16=False)

    def write(self, folder: Path, form: str) -> dict[str, Any]:
        """Write network and examples, and compare the file with torch.

        Args:
            folder: exists.
            form: one of FORMATS.

        Returns:
            Its part of the manifest, plain JSON types.

        Raises:
            ConfigError: if the network cannot be converted.
            MissingDependencyError: if what converts or runs it is not installed.
            OutputError: if a file cannot be written.
        """
        network = self.network.eval()
        with torch.no_grad():
            results = [network(*one) for one in self.examples]
        path = folder / f'{self.name}.{"onnx" if form == "onnx" else "xml"}'
        if form == 'openvino':
            openvino()
        try:
            self._convert(path, form, network)
        except (RuntimeError, TypeError, ValueError) as error:
            raise ConfigError(f'{self.name}: cannot be converted to {form} '
                              f'({first_line(error)[:200]})') from error
        inputs = [_named(self.inputs, one) for one in self.examples]
        expected = [_named(self.outputs, one) for one in results]
        examples = folder / f'{self.name}_examples.npz'
        rows = [{**ours, **theirs} for ours, theirs in zip(inputs, expected, strict=True)]
        stacked: dict[str, Any] = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        with replacing(examples) as temporary:
            np.savez_compressed(temporary, **stacked)
        try:
            run = check_parity.load_network(path)
        except ImportError as error:
            raise MissingDependencyError(
                'nothing here runs an ONNX file to compare it; run `pip install onnxruntime`, or '
                '`pip install openvino`') from error
        figures = check_parity.compare([run(one) for one in inputs], expected)
        files = sorted(each for each in folder.glob(f'{self.name}*')
                       if each.suffix in ('.onnx', '.xml', '.bin', '.npz'))
        return {'file': path.name, 'examples': examples.name,
                'inputs': _shapes(self.inputs, inputs[0]),
                'outputs': _shapes(self.outputs, expected[0]), **self.facts,
                'sha256': {each.name: hashlib.sha256(each.read_bytes()).hexdigest()
                           for each in files},
                'allowed': self.allowed, 'parity': figures,
                'convolutions': 'float32' if self.calibration is None else 'int8',
                'parity_kept': check_parity.is_within(figures, self.allowed)}


def quantized(model: Any, calibration: list[tuple[Tensor, ...]]) -> Any:
    """Return an `openvino.Model` whose convolutions compute in int8, by NNCF.

    Matrix products keep float32: OpenVINO 2026.4 cannot compile the whole of `mini` in int8.

    Args:
        model: as converted.
        calibration: arguments like those that it will get; scales of numbers come from them.

    Raises:
        MissingDependencyError: if NNCF is not installed.
    """
    if not is_installed('nncf'):
        raise MissingDependencyError('int8 needs NNCF; run `pip install nncf`')
    import nncf
    nncf.set_log_level(logging.WARNING)
    return nncf.quantize(
        model, nncf.Dataset(calibration, lambda one: [each.numpy() for each in one]),
        subset_size=len(calibration), ignored_scope=nncf.IgnoredScope(types=['MatMul']))


def write_script(folder: Path) -> None:
    """Put `check_parity.py` into a bundle."""
    with replacing(folder / 'check_parity.py') as temporary:
        shutil.copyfile(check_parity.__file__, temporary)


def versions(form: str) -> dict[str, str]:
    """Return the versions of the libraries that write a bundle, by their names."""
    found = {'torch': torch.__version__}
    return {**found, 'onnx_opset': str(OPSET)} if form == 'onnx' \
        else {**found, 'openvino': library('openvino').__version__}


def _named(meanings: dict[str, str], tensors: tuple[Tensor, ...]) -> dict[str, Any]:
    return {name: one.numpy() for name, one in zip(meanings, tensors, strict=True)}


def _shapes(meanings: dict[str, str], arrays: dict[str, Any]) -> list[dict[str, Any]]:
    return [{'name': name, 'shape': list(arrays[name].shape), 'dtype': str(arrays[name].dtype),
             'meaning': meaning} for name, meaning in meanings.items()]
