# SPDX-License-Identifier: Apache-2.0
"""Frames with true masks that variants of `mini` are compared on, and tables of their mean IoU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from samg_ros.evaluation.mask_quality.degradations import Degradation, degraded, recolour
from samg_ros.evaluation.mask_quality.rollouts import Rollouts, collect_frames
from samg_ros.evaluation.mask_quality.sequences import load_sequence
from samg_ros.evaluation.metrics import mask_iou
from samg_ros.masking import Masker, Reference
from samg_ros.sim.reference import render_reference


@dataclass(frozen=True)
class Frames:
    """What is masked, and what should come out.

    Attributes:
        name: of the task or sequence.
        real: recorded by a camera, not rendered.
        reference: rendered in `train`; of a sequence its first frame.
        images: (H, W, 3) uint8 RGB each.
        truths: (H, W) bool each.
        episodes: in which episode each was taken.
    """

    name: str
    real: bool
    reference: Reference
    images: Sequence[npt.NDArray[np.uint8]]
    truths: Sequence[npt.NDArray[np.bool_]]
    episodes: Sequence[int]

    def iou(self, masker: Masker) -> float:
        """Return the mean IoU of a masker, which is fitted to the reference."""
        masker.fit(self.reference)
        return float(np.mean([mask_iou(masker(image[None])[0], truth)
                              for image, truth in zip(self.images, self.truths, strict=True)]))

    def degraded(self, degradation: Degradation) -> Frames:
        """Return them as a camera shows them; the reference stays as it is."""
        return replace(self, images=degraded(self.images, degradation, seed=0))

    def recoloured(self, strength: float) -> Frames:
        """Return them with an object of other colours, in each episode of others."""
        return replace(self, images=[
            recolour(image[None], truth[None], np.array([episode]), strength, seed=0)[0]
            for image, truth, episode in zip(self.images, self.truths, self.episodes, strict=True)])


def task_frames(task: str, setting: str, count: int, videos: Path | None) -> Frames:
    """Return frames of a task, see `Rollouts`."""
    found = collect_frames(Rollouts(task, setting, count, videos=videos))
    return Frames(task, False, render_reference(task), [*found.images], [*found.truths],
                  found.episodes.tolist())


def sequence_frames(folder: Path) -> Frames:
    """Return the frames of a recorded sequence after its first, see `load_sequence`."""
    found = load_sequence(folder)
    return Frames(found.name, True, Reference(found.frames[0], found.masks[0]), found.frames[1:],
                  found.masks[1:], [0] * (len(found.frames) - 1))


def all_frames(tasks: str, setting: str, count: int, videos: Path | None,
               sequences: Sequence[Path]) -> Iterator[Frames]:
    """Yield the frames of every task of a list NAME,NAME and of every sequence's folder."""
    for task in filter(None, tasks.split(',')):
        yield task_frames(task, setting, count, videos)
    yield from map(sequence_frames, sequences)


def table(rows: Mapping[str, Mapping[str, str]]) -> str:
    """Return a table in Markdown: of each row its cells by column, in the order of the first."""
    columns = [*next(iter(rows.values()))]
    lines = [['', *columns], ['---'] * (1 + len(columns)),
             *([name, *(row[column] for column in columns)] for name, row in rows.items())]
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)
