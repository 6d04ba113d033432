# SPDX-License-Identifier: Apache-2.0
"""`samg bench masking --engines ...`: engines side by side, in turns, in one run.

Turns make whatever else the computer does fall on every engine; on a busy one the processor time of
this process says more than the clock.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from samg_ros.masking.masker import Masker
from samg_ros.masking.references.reference import Reference

WARM_UP_CALLS = 3
_INSTRUCTION_SETS = ('avx2', 'avx512f', 'avx512_vnni', 'avx512_bf16', 'amx_bf16', 'amx_int8',
                     'asimd', 'bf16', 'i8mm', 'sve')


@dataclass(frozen=True)
class EngineSpeed:
    """One row; times are of whole calls of `batch` frames, ratios over the first engine's."""

    model: str
    engine: str
    """What ran, as `Masker.engine` says."""
    batch: int
    rows: int
    columns: int
    first_call_s: float
    """With what is compiled then, or loaded from the cache."""
    median_ms: float
    p95_ms: float
    frames_per_s: float
    processor_ms: float
    """Median processor time of this process, all threads together."""
    speedup: float
    """Median over the turns of the first engine's time over this one's."""
    processor_speedup: float
    """The same of processor time."""
    mean_iou: float
    """Of its masks with the first engine's."""
    least_iou: float
    logits_difference: float
    """Largest."""


def compare(name: str, maskers: dict[str, Masker], reference: Reference, batch: int,
            turns: int) -> list[EngineSpeed]:
    """Time maskers that differ in their engine alone.

    Args:
        name: of the model.
        maskers: by engine, fitted; the first is what the others are compared with.
        reference: of whose picture frames are made, moved to one side.
        batch: frames per call.
        turns: timed calls of each.
    """
    size = reference.image.shape[1]
    shifts = np.random.default_rng(0).integers(0, size, (turns + WARM_UP_CALLS, batch))

    def frames(turn: int) -> npt.NDArray[np.uint8]:
        return np.stack([np.roll(reference.image, int(shift), 1) for shift in shifts[turn]])

    first = {}
    for engine, masker in maskers.items():
        begin = time.perf_counter()
        masker(frames(0))
        first[engine] = time.perf_counter() - begin
    found = {engine: np.zeros((turns, 2)) for engine in maskers}
    overlap = {engine: np.ones((turns, batch)) for engine in maskers}
    difference = dict.fromkeys(maskers, 0.0)
    for turn in range(-WARM_UP_CALLS, turns):
        given, expected = frames(turn), None
        for engine, masker in maskers.items():
            start = time.perf_counter(), time.process_time()
            prediction = masker.predict(given)
            end = time.perf_counter(), time.process_time()
            expected = prediction if expected is None else expected
            if turn >= 0:
                found[engine][turn] = np.subtract(end, start)
                overlap[engine][turn] = iou(prediction.masks.numpy(), expected.masks.numpy())
                difference[engine] = max(difference[engine], float(
                    (prediction.logits - expected.logits).abs().max()))
    base = next(iter(found.values()))
    rows = []
    for engine, times in found.items():
        clock, processor = np.median(times, axis=0)
        speedup, processor_speedup = np.median(base / times, axis=0)
        rows.append(EngineSpeed(
            name, maskers[engine].engine, batch, reference.mask.shape[0], size, first[engine],
            1e3 * clock, 1e3 * float(np.percentile(times[:, 0], 95)), batch / clock,
            1e3 * processor, float(speedup), float(processor_speedup),
            float(overlap[engine].mean()), float(overlap[engine].min()), difference[engine]))
    return rows


def iou(ours: npt.NDArray[np.bool_], theirs: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return (N,) of (N, H, W) masks; two empty ones are equal."""
    both = (ours & theirs).sum(axis=(1, 2))
    either = (ours | theirs).sum(axis=(1, 2))
    return np.where(either == 0, 1.0, both / np.maximum(either, 1))


HEADING = (f'{"model":30} {"engine":10} {"batch":>5} {"size":>9} {"first s":>7} {"ms":>8} '
           f'{"p95":>8} {"frames/s":>8} {"cpu ms":>8} {"faster":>6} {"cpu":>6} {"IoU":>7} '
           f'{"least":>7}')


def line(row: EngineSpeed) -> str:
    """Return a row of the table."""
    engine = row.engine.partition(';')[0] + ('' if ';' not in row.engine else '*')
    return (f'{row.model:30} {engine:10} {row.batch:5} {f"{row.rows}x{row.columns}":>9} '
            f'{row.first_call_s:7.2f} {row.median_ms:8.1f} {row.p95_ms:8.1f} '
            f'{row.frames_per_s:8.1f} {row.processor_ms:8.1f} {row.speedup:6.2f} '
            f'{row.processor_speedup:6.2f} {row.mean_iou:7.4f} {row.least_iou:7.4f}')


def instruction_sets() -> list[str]:
    """Return which of the vector instructions that engines use this processor has (Linux)."""
    try:
        words = set(Path('/proc/cpuinfo').read_text().split())
    except OSError:
        return []
    return [name for name in _INSTRUCTION_SETS if name in words]
