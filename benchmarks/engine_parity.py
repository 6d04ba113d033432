# SPDX-License-Identifier: Apache-2.0
"""Masks of the engines against those of torch, over simulated frames and photographs.

    python benchmarks/engine_parity.py --videos VIDEOS --real ../shared/data/real

Frames of three tasks in front of videos, and of every sequence of photographs those after its
first, which is the reference. A row for each: mean and least overlap of the masks, share of frames
with the same prompts, largest difference of the logits. Exits with 1 where the mean overlap over
all frames is under 0.999 or one is under 0.98.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from samg_ros.arguments import add_json, add_seed, whole
from samg_ros.evaluation.mask_quality.rollouts import Rollouts, collect_frames
from samg_ros.evaluation.mask_quality.sequences import load_sequence
from samg_ros.files.outputs import write_json
from samg_ros.masking import Masker, MaskerSettings, Reference
from samg_ros.masking.engines.comparison import iou
from samg_ros.masking.engines.library import is_installed
from samg_ros.sim.reference import render_reference

TASKS = ('walker_walk', 'adroit_door', 'arm_reach')
MEAN_IOU, LEAST_IOU = 0.999, 0.98

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Parity:
    """One source of frames in one engine."""

    source: str
    engine: str
    """What ran, as `Masker.engine` says."""
    frames: int
    mean_iou: float
    least_iou: float
    same_prompts: float
    """Share of frames."""
    logits_difference: float


def compare(source: str, reference: Reference, frames: list[Image], model: str,
            engines: list[str], batch: int) -> list[Parity]:
    """Compare engines with torch on frames of one size.

    Args:
        source: name of the row.
        reference: of the object in them.
        frames: (H, W, 3) each.
        model: that masks.
        engines: beside torch.
        batch: frames per call.
    """
    expected = Masker.load(model, MaskerSettings(engine='torch')).fit(reference)
    rows = []
    portions = [np.stack(frames[start:start + batch]) for start in range(0, len(frames), batch)]
    wanted = [expected.predict(portion) for portion in portions]
    for engine in engines:
        masker = Masker.load(model, MaskerSettings(engine=engine)).fit(reference)
        found = [masker.predict(portion) for portion in portions]
        pairs = list(zip(found, wanted, strict=True))
        overlap = np.concatenate([iou(ours.masks.numpy(), theirs.masks.numpy())
                                  for ours, theirs in pairs])
        same = torch.cat([(ours.prompts[0].points == theirs.prompts[0].points).all(dim=(1, 2))
                          for ours, theirs in pairs])
        rows.append(Parity(source, masker.engine, len(frames), float(overlap.mean()),
                           float(overlap.min()), float(same.float().mean()),
                           max(float((ours.logits - theirs.logits).abs().max())
                               for ours, theirs in pairs)))
        row = rows[-1]
        print(f'{source:16} {engine:12} {row.frames:6} {row.mean_iou:9.6f} {row.least_iou:9.6f} '
              f'{row.same_prompts:12.1%} {row.logits_difference:10.2g}', flush=True)
    return rows


def main() -> int:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--frames', type=whole(3), default=600, metavar='N',
                        help=f'of {", ".join(TASKS)} together (600)')
    parser.add_argument('--videos', type=Path, metavar='DIR',
                        help='videos behind the robots (painted ones)')
    parser.add_argument('--real', type=Path, metavar='DIR', help='folder of sequences')
    parser.add_argument('--model', default='mini', help='mask model (mini)')
    parser.add_argument('--engines', nargs='+', metavar='ENGINE', default=[
        name for name in ('openvino', 'onnxruntime') if is_installed(name)],
        help='beside torch (those that are installed)')
    parser.add_argument('--batch', type=whole(1), default=8, metavar='N', help='frames a call (8)')
    add_seed(parser, 'of poses and videos')
    add_json(parser, 'rows')
    args = parser.parse_args()
    print(f'{"frames of":16} {"engine":12} {"frames":>6} {"mean IoU":>9} {"least":>9} '
          f'{"same prompts":>12} {"logits":>10}')
    rows: list[Parity] = []
    for task in TASKS:
        taken = collect_frames(Rollouts(task, 'video_hard', args.frames // len(TASKS),
                                        seed=args.seed, videos=args.videos))
        rows += compare(task, render_reference(task), list(taken.images), args.model,
                        args.engines, args.batch)
    for folder in sorted(args.real.iterdir()) if args.real else []:
        if not (folder / 'frames').is_dir():
            continue
        sequence = load_sequence(folder)
        sizes = {frame.shape for frame in sequence.frames}
        for size in sorted(sizes):
            frames = [one for one in sequence.frames[1:] if one.shape == size]
            if frames:
                rows += compare(folder.name, Reference(sequence.frames[0], sequence.masks[0]),
                                frames, args.model, args.engines, 1)
    if args.json:
        write_json(args.json, [asdict(row) for row in rows])
    kept = True
    for engine in dict.fromkeys(row.engine for row in rows):
        mine = [row for row in rows if row.engine == engine]
        mean = sum(row.frames * row.mean_iou for row in mine) / sum(row.frames for row in mine)
        least = min(row.least_iou for row in mine)
        kept &= mean >= MEAN_IOU and least >= LEAST_IOU
        print(f'{engine}: mean {mean:.6f} (bar {MEAN_IOU}), least {least:.6f} (bar {LEAST_IOU})')
    return 0 if kept else 1


if __name__ == '__main__':
    sys.exit(main())
