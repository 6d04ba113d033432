# SPDX-License-Identifier: Apache-2.0
"""`samg bench masking`: what a frame costs, beside the bare forward passes of the same networks.

The floor is both encoders once and the decoder three times (as often as the model passes), on
pictures that already have the networks' input sizes, in the same precision: no resizing, no
similarity, no prompts, no boxes. Masker and floor take turns, so that whatever else the machine
does falls on both.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from samg_ros.arguments import add_json, whole
from samg_ros.errors import ConfigError, WeightsError
from samg_ros.files.outputs import write_json
from samg_ros.masking.engines.comparison import HEADING, compare, instruction_sets, line
from samg_ros.masking.engines.precision import HalfPrecision
from samg_ros.masking.masker import Masker
from samg_ros.masking.models.base import ModelPair, VisionModel
from samg_ros.masking.models.loading.untrained import untrained_model
from samg_ros.masking.references.reference import Reference
from samg_ros.masking.settings import DTYPES, ENGINES, GUIDANCE_MAPS, MaskerSettings
from samg_ros.memory import keep_freed_memory

WARM_UP_CALLS = 2
CLICKS = 3


@dataclass(frozen=True)
class MaskingSpeed:
    """One row of the table; times are per call of `batch` frames."""

    model: str
    random_weights: bool
    device: str
    dtype: str
    batch: int
    median_ms: float
    p95_ms: float
    frames_per_s: float
    floor_ms: float
    """Median of the bare forward passes."""
    ratio: float
    """Median over the turns of masker over floor."""
    fit_s: float
    """A whole `fit` to a reference with three clicked points."""
    peak_mib: float
    """Device memory on a GPU; resident memory of the process, libraries included, on a CPU."""


def floor(model: VisionModel, batch: int, device: torch.device) -> Callable[[], object]:
    """Return the bare forward passes of a model, as a call without arguments."""
    bare: VisionModel = model
    precision: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
    if isinstance(model, HalfPrecision):
        bare, precision = model.model, model.autocast

    def picture(side: int) -> torch.Tensor:
        return torch.zeros(batch, side, side, 3, dtype=torch.uint8, device=device)

    points = torch.full((batch, 2 + CLICKS + 2, 2), bare.image_size / 2, device=device)
    labels = torch.ones(batch, points.shape[1], dtype=torch.long, device=device)
    boxes = torch.tensor([[0.25, 0.25, 0.75, 0.75]], device=device).repeat(batch, 1)
    boxes = boxes * bare.image_size
    logits = torch.zeros(batch, bare.mask_size, bare.mask_size, device=device)
    maps = GUIDANCE_MAPS[bare.similarity_prompt]
    hint = (logits[:, None].expand(-1, maps, -1, -1),) * bare.guided
    first = logits if bare.similarity_prompt != 'off' and not bare.guided else None
    if isinstance(bare, ModelPair):
        small = picture(getattr(bare.encoder, 'input_size', bare.image_size))
        large = picture(getattr(bare.segmenter, 'input_size', bare.image_size))
    else:
        small = large = picture(bare.image_size)

    @torch.inference_mode()
    def run() -> object:
        with precision:
            decode: Callable[..., object] = bare.decode
            embedding: object
            if isinstance(bare, ModelPair):
                bare.encoder.features(small)
                embedding, decode = bare.segmenter.embed(large), bare.segmenter.decode
            else:
                embedding = bare.encode(small)
            found = decode(embedding, points[:, :-2], labels[:, :-2], None, first, *hint)
            for more in range(1, bare.passes):
                count = points.shape[1] - 2 + more
                found = decode(embedding, points[:, :count], labels[:, :count], boxes, logits,
                               *hint)
        return found

    return run


def measure(name: str, device: str, dtype: str, batch: int, size: tuple[int, int], turns: int,
            weights: str | None = None, graphs: bool = False) -> MaskingSpeed:
    """Time one model pair.

    Args:
        name: of the model or pair; without weights, a pair gets random ones.
        device: torch device.
        dtype: see MaskerSettings.
        batch: frames per call.
        size: rows and columns of a frame.
        turns: timed calls of masker and floor each.
        weights: as `Masker.load` takes them.
        graphs: use CUDA graphs, for the masker; the floor is never recorded.

    Raises:
        SamgError: if model, device or type cannot be used.
    """
    untrained = '+' in name and weights is None
    masker = _masker(name, MaskerSettings(dtype=dtype, cuda_graphs=graphs, engine='torch'), device,
                     weights)
    _reset_peak(masker.device)
    rng = np.random.default_rng(0)
    reference = _reference(rng, size)
    masker.fit(reference)  # the first fit loads kernels as well
    start = time.perf_counter()
    masker.fit(reference)
    fit_s = time.perf_counter() - start
    frames = np.stack([np.roll(reference.image, int(shift), 1)
                       for shift in rng.integers(0, size[1], batch)])
    bare = floor(masker._model, batch, masker.device)
    for _ in range(WARM_UP_CALLS):
        masker(frames)
        bare()
    times = np.array([[timed(lambda: masker(frames), masker.device), timed(bare, masker.device)]
                      for _ in tqdm(range(turns), desc=f'{name} x{batch}', leave=False)])
    median = float(np.median(times[:, 0]))
    return MaskingSpeed(
        name, untrained, device, dtype, batch, 1e3 * median,
        1e3 * float(np.percentile(times[:, 0], 95)), batch / median,
        1e3 * float(np.median(times[:, 1])), float(np.median(times[:, 0] / times[:, 1])), fit_s,
        _peak_mib(masker.device))


def _masker(name: str, settings: MaskerSettings, device: str, weights: str | None) -> Masker:
    if '+' in name and weights is None:
        return Masker(untrained_model(name), settings, device, name)
    return Masker.load(name, settings, device, weights)


def _run_engines(args: argparse.Namespace) -> None:
    rows = []
    print(HEADING)
    for name, dtype in itertools.product(args.models, args.dtypes):
        reference = _reference(np.random.default_rng(0), tuple(args.size))
        maskers = {engine: _masker(name, MaskerSettings(dtype=dtype, engine=engine), 'cpu',
                                   args.weights).fit(reference) for engine in args.engines}
        for batch in args.batches:
            found = compare(name, maskers, reference, batch, args.turns)
            rows += found
            print('\n'.join(map(line, found)), flush=True)
    if reasons := sorted({row.engine for row in rows if ';' in row.engine}):
        print('\n'.join(f'* {reason}' for reason in reasons))
    print(f'{torch.get_num_threads()} threads, {", ".join(instruction_sets())}; faster: than the '
          'first engine, median over turns; cpu: the same of processor time')
    if args.json:
        write_json(args.json, [asdict(row) for row in rows])


def _reference(rng: np.random.Generator, size: tuple[int, int]) -> Reference:
    """Return a disc in another colour than the noise around it, with clicks on it."""
    y, x = np.mgrid[:size[0], :size[1]]
    radius = min(size) / 4
    disc = (y - size[0] / 2) ** 2 + (x - size[1] / 2) ** 2 < radius ** 2
    image = rng.integers(0, 120, (*size, 3), dtype=np.uint8)
    image[disc] += np.array([120, 60, 0], np.uint8)
    clicks = [(size[1] / 2 + shift * radius / 2, size[0] / 2) for shift in (-1, 0, 1)]
    return Reference(image, disc, points=np.array(clicks[:CLICKS]))


def timed(call: Callable[[], object], device: torch.device) -> float:
    """Return the seconds that a call takes, a GPU's work included."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    call()
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _reset_peak(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):  # Linux: forget the highest resident size so far
            Path('/proc/self/clear_refs').write_text('5')


def _peak_mib(device: torch.device) -> float:
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path('/proc/self/status').read_text()
    return int(status.partition('VmHWM:')[2].split()[0]) / 2**10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg bench masking`."""
    parser.add_argument('--models', nargs='+', metavar='MODEL',
                        default=['mini', 'dinov2-b+efficientvit-sam-l1'],
                        help='mini, or pairs encoder+segmenter (default: %(default)s)')
    parser.add_argument('--weights', metavar='FILE',
                        help='of the one model given, NAME=PATH,NAME=PATH for a pair; pairs '
                             'without have random weights')
    parser.add_argument('--devices', nargs='+', default=['cpu'], metavar='DEVICE')
    parser.add_argument('--dtypes', nargs='+', default=['float32'], choices=DTYPES, metavar='TYPE',
                        help=f'of {", ".join(DTYPES)} (default: float32)')
    parser.add_argument('--batches', nargs='+', type=whole(1), default=[1, 8], metavar='N')
    parser.add_argument('--size', nargs=2, type=whole(16, 8192), default=[84, 84],
                        metavar=('ROWS', 'COLUMNS'),
                        help='of a frame (default: 84 84)')
    parser.add_argument('--turns', type=whole(1), default=20, metavar='N',
                        help='timed calls per row')
    parser.add_argument('--cuda-graphs', action='store_true', help='replay recorded frames')
    parser.add_argument('--engines', nargs='+', choices=ENGINES, metavar='ENGINE',
                        help=f'compare engines on the CPU in turns, of {", ".join(ENGINES)}; '
                             'without, torch is compared with its bare forward passes')
    add_json(parser, 'rows')


def run(args: argparse.Namespace) -> None:
    """Run `samg bench masking`."""
    if args.turns < 1 or min(args.batches) < 1:
        raise ConfigError('--turns and --batches: expected 1 or more')
    if args.weights and len(args.models) > 1:
        raise WeightsError('--weights: belong to one model; give one in --models')
    keep_freed_memory()  # as the perception node does
    if args.engines:
        _run_engines(args)
        return
    rows = []
    print(f'{"model":32} {"device":6} {"dtype":8} {"batch":>5} {"ms":>8} {"p95":>8} '
          f'{"frames/s":>8} {"floor ms":>8} {"ratio":>6} {"fit s":>6} {"MiB":>6}')
    for name, device, dtype, batch in itertools.product(args.models, args.devices, args.dtypes,
                                                        args.batches):
        row = measure(name, device, dtype, batch, tuple(args.size), args.turns, args.weights,
                      args.cuda_graphs)
        rows.append(row)
        label = f'{name} *' if row.random_weights else name
        print(f'{label:32} {device:6} {dtype:8} {batch:5} {row.median_ms:8.1f} {row.p95_ms:8.1f} '
              f'{row.frames_per_s:8.2f} {row.floor_ms:8.1f} {row.ratio:6.3f} {row.fit_s:6.2f} '
              f'{row.peak_mib:6.0f}', flush=True)
    if any(row.random_weights for row in rows):
        print('* real architecture, random weights')
    print(f'frames of {args.size[0]} x {args.size[1]}, {torch.get_num_threads()} threads, torch '
          f'{torch.__version__}')
    if args.json:
        write_json(args.json, [asdict(row) for row in rows])
