# SPDX-License-Identifier: Apache-2.0
"""Prints `mini`'s mean IoU on held-out scenes of its training, with and without two settings.

The defaults of `mini` for the second look and for fitted weights were chosen by such a table, not
on the tasks and sequences that masks are tested on. It reads what `samg train mini` has made.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

from samg_ros.evaluation.metrics import mask_iou
from samg_ros.masking import Masker, MaskerSettings, Reference
from samg_ros.pretraining.batches import BatchSource
from samg_ros.pretraining.dataset import (
    HELD_OUT_EVERY,
    DatasetSize,
    load_scenes,
    picture_files,
)
from samg_ros.pretraining.losses import SEEN_SHARE
from samg_ros.pretraining.pieces import load_pictures


def main() -> None:
    """Print a line for each pair of settings: mean IoU by the pictures' size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--data', type=Path, default=Path('runs/mini-data'))
    parser.add_argument('--backgrounds', type=Path, action='append', default=[],
                        help='as given to samg train mini')
    parser.add_argument('--weights', default=None, help="of mini (the package's)")
    parser.add_argument('--batches', type=int, default=40, help='of 4 references, 2 targets (40)')
    args = parser.parse_args()
    photographs = tuple(path for folder in args.backgrounds for path in picture_files(folder))
    size, rng = DatasetSize(), np.random.default_rng(123)
    images, labels = load_scenes(args.data, size, meshes=True)
    source = BatchSource(images[::HELD_OUT_EVERY], labels[::HELD_OUT_EVERY],
                         load_pictures(args.data, size.backgrounds, 0, photographs)[1],
                         absent_share=0.0)
    batches = [source.draw(rng, 4, 2, 0.2) for _ in range(args.batches)]
    for second_look in (False, True):
        for fit_weights in (False, True):
            masker = Masker.load('mini', MaskerSettings(
                second_look=second_look, fit_weights=fit_weights), weights=args.weights)
            ious: dict[str, list[float]] = defaultdict(list)
            for batch in batches:
                for index, reference in enumerate(batch.references):
                    masker.fit(Reference(reference, batch.reference_labels[index] > 0))
                    for target, truth in zip(batch.targets[index],
                                             batch.target_labels[index] > 0, strict=True):
                        if truth.mean() > SEEN_SHARE:
                            ious['{} x {}'.format(*truth.shape)].append(
                                float(mask_iou(masker(target[None])[0], truth)))
            print(f'second look {second_look}, weights fitted {fit_weights}: ' + ', '.join(
                f'{name} {np.mean(values):.3f} ({len(values)})'
                for name, values in sorted(ious.items())), flush=True)


if __name__ == '__main__':
    main()
