# SPDX-License-Identifier: Apache-2.0
"""Compare exported networks with what PyTorch gave for the same inputs.

`samg export` copies this file into its bundle, where it needs nothing of samg_ros: NumPy, and ONNX
Runtime or OpenVINO. In the bundle's folder:

    python check_parity.py                                # ONNX Runtime, or OpenVINO
    python check_parity.py --write-inputs                 # masker_frames.bin, for trtexec
    python check_parity.py --trtexec masker found.json    # what trtexec --exportOutput wrote

Prints a line for each output and exits with 1 where one differs by more than the manifest allows.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, Any]
"""NumPy arrays by the name of the input or output."""


def load_network(path: Path) -> Any:
    """Return a function from inputs to outputs, both Arrays, that runs a file on the CPU.

    ONNX files run in ONNX Runtime where it is installed, all others in OpenVINO.

    Raises:
        ImportError: if neither is installed.
    """
    if path.suffix == '.onnx':
        try:
            import onnxruntime
        except ImportError:
            pass
        else:
            session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
            names = [one.name for one in session.get_outputs()]
            used = {one.name for one in session.get_inputs()}
            return lambda inputs: dict(zip(names, session.run(
                None, {name: one for name, one in inputs.items() if name in used}), strict=True))
    import openvino
    network = openvino.Core().compile_model(str(path), 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    return lambda inputs: {name: np.array(value) for output, value in network(inputs).items()
                           for name in output.names}


def compare(found: list[Arrays], expected: list[Arrays]) -> dict[str, dict[str, float]]:
    """Return how outputs differ, over all examples.

    Returns:
        By name: 'mean_iou' and 'least_iou' of masks (bool), 'largest_difference' of numbers.
    """
    figures = {}
    for name, first in expected[0].items():
        pairs = [(np.asarray(ours[name]), theirs[name])
                 for ours, theirs in zip(found, expected, strict=True)]
        if first.dtype == bool:
            overlaps = [_iou(ours.astype(bool), theirs) for ours, theirs in pairs]
            figures[name] = {'mean_iou': float(np.mean(overlaps)),
                             'least_iou': float(np.min(overlaps))}
        else:
            figures[name] = {'largest_difference': float(max(
                np.abs(ours.astype(float) - theirs).max() for ours, theirs in pairs))}
    return figures


def is_within(figures: dict[str, dict[str, float]], allowed: dict[str, float]) -> bool:
    """Return whether figures of `compare` keep what the manifest's 'allowed' says, if it does."""
    return all(value <= allowed[kind] if kind == 'largest_difference' else value >= allowed[kind]
               for figure in figures.values() for kind, value in figure.items()
               if kind in allowed)


def read_examples(path: Path, inputs: list[str]) -> tuple[list[Arrays], list[Arrays]]:
    """Return inputs and expected outputs of the examples that the exporter stored."""
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    count = len(next(iter(arrays.values())))
    rows = [{name: one[index] for name, one in arrays.items()} for index in range(count)]
    return [{name: row[name] for name in inputs} for row in rows], \
        [{name: one for name, one in row.items() if name not in inputs} for row in rows]


def read_trtexec(path: Path) -> Arrays:
    """Return the outputs that `trtexec --exportOutput` wrote, in their shapes."""
    return {one['name']: np.array(one['values'], float).reshape(
        [int(side) for side in one['dimensions'].split('x')])
        for one in json.loads(path.read_text())}


def _iou(ours: Any, theirs: Any) -> float:
    either = (ours | theirs).sum()
    return 1.0 if either == 0 else float((ours & theirs).sum() / either)


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--write-inputs', action='store_true',
                        help='write the first example of each input as NETWORK_INPUT.bin')
    parser.add_argument('--trtexec', nargs=2, metavar=('NETWORK', 'JSON'),
                        help='compare what trtexec wrote for the first example')
    args = parser.parse_args()
    folder, kept = Path(__file__).parent, True
    manifest = json.loads((folder / 'manifest.json').read_text())
    for name, network in manifest['networks'].items():
        inputs, expected = read_examples(folder / network['examples'],
                                         [one['name'] for one in network['inputs']])
        if args.write_inputs:
            for each, value in inputs[0].items():
                np.ascontiguousarray(value).tofile(folder / f'{name}_{each}.bin')
                print(folder / f'{name}_{each}.bin')
            continue
        if args.trtexec and args.trtexec[0] != name:
            continue
        if args.trtexec:
            found, expected = [read_trtexec(Path(args.trtexec[1]))], expected[:1]
        else:
            run = load_network(folder / network['file'])
            found = [run(one) for one in inputs]
        figures = compare(found, expected)
        kept &= is_within(figures, network['allowed'])
        for output, figure in figures.items():
            print(f'{name} {output}: ' + ', '.join(f'{kind} {value:.6g}'
                                                   for kind, value in figure.items()))
    return 0 if kept else 1


if __name__ == '__main__':
    sys.exit(main())
