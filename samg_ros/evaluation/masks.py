# SPDX-License-Identifier: Apache-2.0
"""How well a masker finds the object, against the simulator's own truth."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from samg_ros.evaluation.metrics import boundary_f, mask_iou
from samg_ros.evaluation.rollouts import Frames, Rollouts

if TYPE_CHECKING:
    from samg_ros.masking import Masker

BATCH = 10
WORST = 8
LOW_IOU = 0.5
LARGE_FALSE_AREA = 0.01
"""Share of a frame from which a mask beside the object counts as an invention."""


@dataclass(frozen=True, eq=False)
class ScoredFrame:
    """A frame, its mask and its truth."""

    index: int
    iou: float
    frame: np.ndarray
    """(H, W, 3) uint8 RGB."""
    mask: np.ndarray
    """(H, W) bool, the masker's."""
    truth: np.ndarray
    """(H, W) bool."""


@dataclass(frozen=True, eq=False)
class MaskScores:
    """The scores of one masker on one task in one setting."""

    rollouts: Rollouts
    iou: np.ndarray
    """(N,) float64."""
    boundary_f: np.ndarray
    """(N,) float64."""
    false_area: np.ndarray
    """(N,) float64, share of the frame that is in the mask and not on the object."""
    prompts_on_object: float
    """Share of positive point prompts that lie on the object."""
    clicks_on_body: float | None
    """Share of the clicked points' prompts that lie on the body that was clicked; left and right
    twins count as one. None without clicked points whose body is known."""
    steadiness: float | None
    """Mean IoU of the masks of consecutive frames minus that of the true masks: what flickers is
    below 0. None for episodes of one frame."""
    frame_ms: float
    """Median over batches of the masker's time per frame, the first batch left out."""
    worst: tuple[ScoredFrame, ...]
    """Lowest IoU first."""
    typical: tuple[ScoredFrame, ...]
    """Spread evenly over the frames."""

    def summary(self) -> dict[str, Any]:
        """Return the figures as plain JSON types."""
        return {
            'task': self.rollouts.task,
            'setting': self.rollouts.setting,
            'frames': len(self.iou),
            'iou_mean': round(float(self.iou.mean()), 4),
            'iou_median': round(float(np.median(self.iou)), 4),
            'iou_p5': round(float(np.percentile(self.iou, 5)), 4),
            'share_under_half': round(float((self.iou < LOW_IOU).mean()), 4),
            'boundary_f_mean': round(float(self.boundary_f.mean()), 4),
            'prompts_on_object': round(self.prompts_on_object, 4),
            'clicks_on_body': None if self.clicks_on_body is None
            else round(self.clicks_on_body, 4),
            'false_area_mean': round(float(self.false_area.mean()), 4),
            'share_of_inventions': round(float((self.false_area >= LARGE_FALSE_AREA).mean()), 4),
            'steadiness': None if self.steadiness is None else round(self.steadiness, 4),
            'frame_ms': round(self.frame_ms, 2),
            'rollouts': {name: value if value is None or isinstance(value, (int, str, dict))
                         else str(value) for name, value in asdict(self.rollouts).items()},
        }


def evaluate_masks(masker: Masker, frames: Frames, clicked: Sequence[int] = (),
                   progress: bool = False) -> MaskScores:
    """Score a masker.

    Args:
        masker: fitted to a reference of the task, as its one object.
        frames: with their truth.
        clicked: the body below each clicked point of the reference, see `SimEnv.bodies`.
        progress: show a bar.

    Raises:
        SamgError: whatever the masker raises.
    """
    images, truths = frames.images, frames.truths
    masks = np.empty_like(truths)
    on_object, on_body, batch_ms = [], [], []
    task = f'{frames.rollouts.task} {frames.rollouts.setting}'
    with tqdm(total=len(images), desc=task, unit='frame', leave=False,
              disable=not progress) as bar:
        for first in range(0, len(images), BATCH):
            batch = slice(first, min(first + BATCH, len(images)))
            start = time.perf_counter()
            prediction = masker.predict(images[batch])
            masks[batch] = prediction.masks.cpu().numpy()
            count = batch.stop - first
            batch_ms.append((time.perf_counter() - start) * 1000 / count)
            (prompts,) = prediction.prompts
            column, row = prompts.points.cpu().numpy().transpose(2, 0, 1)
            positive = prompts.labels.cpu().numpy() == 1
            frame_of = np.arange(first, batch.stop)[:, None]
            on_object.append(truths[frame_of, row, column][positive])
            if clicked:
                landed = frames.bodies[frame_of, row, column][:, -len(clicked):]
                on_body.append(landed == np.asarray(clicked))
            bar.update(count)
    iou = mask_iou(masks, truths)

    def moments(which: np.ndarray) -> tuple[ScoredFrame, ...]:
        return tuple(ScoredFrame(int(i), float(iou[i]), images[i], masks[i], truths[i])
                     for i in which)

    return MaskScores(
        frames.rollouts, iou, boundary_f(masks, truths),
        (masks & ~truths).mean(axis=(1, 2)), float(np.concatenate(on_object).mean()),
        float(np.concatenate(on_body).mean()) if clicked else None,
        _steadiness(masks, truths, frames.episodes),
        float(np.median(batch_ms[1:] or batch_ms)),
        moments(np.argsort(iou, kind='stable')[:WORST]),
        moments(np.linspace(0, len(iou) - 1, min(WORST, len(iou))).astype(int)))


def _steadiness(masks: np.ndarray, truths: np.ndarray, episodes: np.ndarray) -> float | None:
    follows = episodes[1:] == episodes[:-1]
    if not follows.any():
        return None
    shown, true = (mask_iou(which[1:], which[:-1])[follows].mean() for which in (masks, truths))
    return float(shown - true)


def table(results: Sequence[MaskScores]) -> str:
    """Return the results as lines of text, one a task and setting."""
    head = (f'{"task":18} {"setting":11} {"IoU":>6} {"median":>7} {"5th %":>6} {"<0.5":>6} '
            f'{"bound F":>8} {"prompts":>8} {"clicks":>7} {"invents":>8} {"steady":>7} {"ms":>6}')
    lines = [head]
    for result in results:
        row = result.summary()
        clicks = '-' if row['clicks_on_body'] is None else f'{row["clicks_on_body"]:.1%}'
        steady = '-' if row['steadiness'] is None else f'{row["steadiness"]:+.3f}'
        lines.append(f'{row["task"]:18} {row["setting"]:11} {row["iou_mean"]:6.3f} '
                     f'{row["iou_median"]:7.3f} {row["iou_p5"]:6.3f} '
                     f'{row["share_under_half"]:6.1%} {row["boundary_f_mean"]:8.3f} '
                     f'{row["prompts_on_object"]:8.1%} {clicks:>7} '
                     f'{row["share_of_inventions"]:8.1%} {steady:>7} {row["frame_ms"]:6.2f}')
    return '\n'.join(lines)
