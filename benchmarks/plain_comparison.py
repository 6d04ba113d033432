# SPDX-License-Identifier: Apache-2.0
"""The masker against a plain transcription of the method, with the paper's models at full size.

The transcription is tests/masking/plain_samg.py: float64, one frame at a time, a decoder pass for
every step of the fit. DINOv2-B and EfficientViT-SAM-L1 have random weights, the same for both, so
that masks mean nothing, but are far from empty or full, which is printed.

    python benchmarks/plain_comparison.py --references ../shared/data/samg_references

takes some minutes for the frames and, on one core, a quarter of an hour for 1,000 plain steps
(`--fit-steps 0` leaves them out).
"""

import argparse
import copy
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

from samg_ros.masking import Masker, MaskerSettings, Reference
from samg_ros.masking.models.loading.untrained import untrained_model

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'tests' / 'masking'))
from plain_samg import PlainSamg  # the tests are no package

POINTS = [(40, 24), (23, 68), (68, 57)]  # the public clicks on the walker


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--references', type=Path, required=True, metavar='DIR',
                        help='folder of the public SAM-G references')
    parser.add_argument('--model', default='dinov2-b+efficientvit-sam-l1')
    parser.add_argument('--frames', type=int, default=20)
    parser.add_argument('--fit-steps', type=int, default=1000)
    parser.add_argument('--seed', type=int, default=0, help='of weights and frames')
    parser.add_argument('--json', type=Path, metavar='PATH', help='write the figures there as well')
    args = parser.parse_args()

    walker = Reference.load(args.references / 'walker_0.png').with_points(POINTS)
    rng = np.random.default_rng(args.seed)
    frames = np.stack([np.roll(walker.image, tuple(rng.integers(-12, 13, 2)), (0, 1))
                       for _ in range(args.frames)])
    model = untrained_model(args.model, args.seed)
    twin = copy.deepcopy(model).double()
    settings = MaskerSettings(fit_steps=max(1, args.fit_steps))
    masker = Masker(model, settings)
    start = time.perf_counter()
    masker.fit(walker)
    figures = {'model': args.model, 'fit_s': time.perf_counter() - start,
               'weights': masker.weights[0].tolist()}
    plain = PlainSamg(twin, walker, masker.weights[0])

    pixels, overlaps, areas = [], [], []
    for frame in frames:
        found, ours = plain.mask(frame), masker.predict(frame[None])
        points = ours.prompts[0].points[0].numpy()
        pixels.append(int(np.abs(np.array(found.points) - points).max()))
        both, either = found.mask & ours.masks[0], found.mask | ours.masks[0]
        overlaps.append(float(both.sum() / either.sum()))
        areas.append(float(found.mask.float().mean()))
    figures |= {'frames': args.frames, 'prompts_px_max': max(pixels), 'iou_min': min(overlaps),
                'area_min': min(areas), 'area_max': max(areas)}
    print(f'{args.model}, random weights (seed {args.seed}), {args.frames} frames')
    print(f'prompts: at most {max(pixels)} px apart; masks: IoU at least {min(overlaps):.4f} '
          f'(they cover {min(areas):.1%} to {max(areas):.1%} of the frame)')
    print(f'fit: {figures["fit_s"]:.2f} s, {torch.get_num_threads()} threads, weights '
          f'{[round(w, 5) for w in figures["weights"]]}', flush=True)
    if args.fit_steps:
        start = time.perf_counter()
        wanted = plain.fit(args.fit_steps)
        apart = max(abs(a - b) for a, b in zip(figures['weights'], wanted, strict=True))
        figures |= {'plain_fit_s': time.perf_counter() - start, 'plain_weights': wanted,
                    'weights_apart': apart}
        print(f'{args.fit_steps} plain steps: {figures["plain_fit_s"]:.0f} s, weights '
              f'{[round(w, 5) for w in wanted]}, {apart:.1e} apart')
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + '\n')


if __name__ == '__main__':
    main()
