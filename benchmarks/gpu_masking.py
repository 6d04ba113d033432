# SPDX-License-Identifier: Apache-2.0
"""The masker on a GPU in one call: graphs against floor, plain sequence, throughput.

    python benchmarks/gpu_masking.py --references ../shared/data/samg_references

prints, for DINOv2-B + EfficientViT-SAM-L1 at random weights in float16: batch 1 under CUDA graphs
over its floor (both recorded), over the plain sequence (tests/masking/plain_samg.py on the card:
one step after the other, a value to the host at each), and batch 16. `--device cpu --dtype
float32 --turns 1` runs the same lines without graphs, to see that they run.
"""

import argparse
import copy
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from samg_ros.masking import Masker, MaskerSettings, Reference
from samg_ros.masking.bench import floor
from samg_ros.masking.models.loading.untrained import untrained_model

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'tests' / 'masking'))
from plain_samg import PlainSamg  # the tests are no package

POINTS = [(40, 24), (23, 68), (68, 57)]


def recorded(call: Callable[[], object]) -> Callable[[], object]:
    """Return the replay of a call that never asks for a value on the host."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def timed(call: Callable[[], object], cuda: bool) -> float:
    """Return the seconds of one call, to its end on the device."""
    if cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--references', type=Path, required=True, metavar='DIR')
    parser.add_argument('--model', default='dinov2-b+efficientvit-sam-l1')
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--dtype', default='float16')
    parser.add_argument('--batch', type=int, default=16, help='frames of the throughput row')
    parser.add_argument('--turns', type=int, default=100)
    parser.add_argument('--json', type=Path, metavar='PATH')
    args = parser.parse_args()

    cuda = args.device.startswith('cuda')
    walker = Reference.load(args.references / 'walker_0.png').with_points(POINTS)
    model = untrained_model(args.model)
    plain = PlainSamg(copy.deepcopy(model).to(args.device), walker)
    masker = Masker(model, MaskerSettings(dtype=args.dtype, cuda_graphs=cuda), args.device)
    masker.fit(walker)
    one, many = walker.image[None], np.repeat(walker.image[None], args.batch, axis=0)
    bare = floor(masker._model, 1, masker.device)
    bare = recorded(bare) if cuda else bare
    calls = {'masker': lambda: masker(one), 'floor': bare,
             'plain': lambda: plain.mask(walker.image), 'batch': lambda: masker(many)}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(args.turns + 2):
        for name, call in calls.items():
            took = timed(call, cuda)
            if turn >= 2:  # the first ones load kernels and record graphs
                seconds[name].append(took)
    median = {name: float(np.median(values)) for name, values in seconds.items()}
    where = torch.cuda.get_device_name() if cuda else f'CPU, {torch.get_num_threads()} threads'
    print(f'{args.model}, random weights, {args.dtype}, {where}, torch {torch.__version__}')
    print(f'batch 1: {1e3 * median["masker"]:.2f} ms, {median["masker"] / median["floor"]:.2f} '
          f'times the floor of {1e3 * median["floor"]:.2f} ms (wanted on a GPU: at most 1.3)')
    print(f'plain sequence, float32: {1e3 * median["plain"]:.1f} ms, the masker gives '
          f'{median["plain"] / median["masker"]:.1f} times its frames/s (wanted: at least 5)')
    print(f'batch {args.batch}: {args.batch / median["batch"]:.1f} frames/s')
    if args.json:
        args.json.write_text(json.dumps({'device': where, **median}, indent=2) + '\n')


if __name__ == '__main__':
    main()
