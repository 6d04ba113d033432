# SPDX-License-Identifier: Apache-2.0
"""How well a masker finds the object, against the simulator's own truth."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from samg_ros.evaluation.mask_quality.rollouts import Frames, Rollouts
from samg_ros.evaluation.mask_quality.sequences import MaskedSequence
from samg_ros.evaluation.metrics import boundary_f, mask_iou
from samg_ros.evaluation.tables import Table, figure

if TYPE_CHECKING:
    from samg_ros.masking import Masker

BATCH = 10
SEQUENCE_PERIOD_S = 0.1
"""From frame to frame of a sequence, for a masker with a memory: they follow one another."""
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
    """The scores of one masker on one task in one setting, or on one sequence by one protocol."""

    task: str
    """Or name of the sequence."""
    setting: str
    """Or protocol; with what was done to the frames."""
    origin: Rollouts | MaskedSequence
    """Where the frames came from."""
    iou: np.ndarray
    """(N,) float64."""
    boundary_f: np.ndarray
    """(N,) float64."""
    false_area: np.ndarray
    """(N,) float64, share of the frame that is in the mask and not on the object."""
    empty: np.ndarray
    """(N,) bool, whether the mask is empty though the object is in the frame."""
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
            'task': self.task,
            'setting': self.setting,
            'frames': len(self.iou),
            'iou_mean': round(float(self.iou.mean()), 4),
            'iou_median': round(float(np.median(self.iou)), 4),
            'iou_p5': round(float(np.percentile(self.iou, 5)), 4),
            'share_under_half': round(float((self.iou < LOW_IOU).mean()), 4),
            'share_empty': round(float(self.empty.mean()), 4),
            'boundary_f_mean': round(float(self.boundary_f.mean()), 4),
            'prompts_on_object': round(self.prompts_on_object, 4),
            'clicks_on_body': None if self.clicks_on_body is None
            else round(self.clicks_on_body, 4),
            'false_area_mean': round(float(self.false_area.mean()), 4),
            'share_of_inventions': round(float((self.false_area >= LARGE_FALSE_AREA).mean()), 4),
            'steadiness': None if self.steadiness is None else round(self.steadiness, 4),
            'frame_ms': round(self.frame_ms, 2),
            **_origin(self.origin),
        }


def _origin(origin: Rollouts | MaskedSequence) -> dict[str, Any]:
    if isinstance(origin, MaskedSequence):
        return {'sequence': str(origin.folder)}
    return {'rollouts': {name: value if value is None or isinstance(value, (int, str, dict))
                         else str(value) for name, value in asdict(origin).items()}}


def evaluate_masks(masker: Masker, frames: Frames, clicked: Sequence[int] = (),
                   progress: bool = False, change: str = '') -> MaskScores:
    """Score a masker.

    Args:
        masker: fitted to a reference of the task, as its one object. With `temporal` 'prior' it
            masks the frames in their order.
        frames: with their truth.
        clicked: the body below each clicked point of the reference, see `SimEnv.bodies`.
        progress: show a bar.
        change: what was done to the frames, in table and report.

    Raises:
        SamgError: whatever the masker raises.
    """
    from samg_ros.masking.tracker import Tracker

    images, truths = frames.images, frames.truths
    masks = np.empty_like(truths)
    on_object, on_body, batch_ms = [], [], []
    task, setting = frames.rollouts.task, frames.rollouts.setting + change
    with tqdm(total=len(images), desc=f'{task} {setting}', unit='frame', leave=False,
              disable=not progress) as bar:
        tracker = Tracker(masker)
        size = 1 if tracker.remembers else BATCH
        for first in range(0, len(images), size):
            batch = slice(first, min(first + size, len(images)))
            start = time.perf_counter()
            prediction = tracker.predict(images[first], frames.times_ns[first] * 1e-9) \
                if tracker.remembers else masker.predict(images[batch])
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
        task, setting, frames.rollouts, iou, boundary_f(masks, truths),
        (masks & ~truths).mean(axis=(1, 2)),
        np.asarray(~masks.any(axis=(1, 2)) & truths.any(axis=(1, 2))),
        float(np.concatenate(on_object).mean()),
        float(np.concatenate(on_body).mean()) if clicked else None,
        _steadiness(masks, truths, frames.episodes),
        float(np.median(batch_ms[1:] or batch_ms)),
        moments(np.argsort(iou, kind='stable')[:WORST]),
        moments(np.linspace(0, len(iou) - 1, min(WORST, len(iou))).astype(int)))


def evaluate_sequence(masker: Masker, sequence: MaskedSequence, protocol: str,
                      images: Sequence[np.ndarray], change: str = '') -> MaskScores:
    """Score a masker on a recorded sequence; it is fitted to each reference that is needed.

    Args:
        masker: gets new references.
        sequence: whose frames are references, with their true masks.
        protocol: one of `sequences.PROTOCOLS`.
        images: the frames to mask, as many as the sequence has; degraded ones, say.
        change: what was done to the frames, in table and report.

    Raises:
        SamgError: whatever the masker raises.
    """
    from samg_ros.masking import Reference
    from samg_ros.masking.tracker import Tracker

    scored, hits, times, fitted = [], [], [], -1
    tracker = Tracker(masker)
    for reference, index in sequence.pairs(protocol):
        if reference != fitted:
            masker.fit(Reference(sequence.frames[reference], sequence.masks[reference]))
            fitted, tracker = reference, Tracker(masker)
        truth = sequence.masks[index]
        start = time.perf_counter()
        prediction = tracker.predict(images[index], index * SEQUENCE_PERIOD_S)
        mask = prediction.masks.cpu().numpy()[0]
        times.append((time.perf_counter() - start) * 1000)
        x, y = prediction.prompts[0].points[0, 0].tolist()
        hits.append(truth[y, x])
        scored.append(ScoredFrame(index, float(mask_iou(mask, truth)), images[index], mask, truth))
    iou = np.array([each.iou for each in scored])
    order = np.argsort(iou, kind='stable')
    return MaskScores(
        sequence.name, protocol + change, sequence, iou,
        np.array([float(boundary_f(each.mask[None], each.truth[None])[0]) for each in scored]),
        np.array([float((each.mask & ~each.truth).mean()) for each in scored]),
        np.array([bool(each.truth.any() and not each.mask.any()) for each in scored]),
        float(np.mean(hits)), None, None, float(np.median(times)),
        tuple(scored[i] for i in order[:WORST]),
        tuple(scored[:: max(1, len(scored) // WORST)][:WORST]))


def _steadiness(masks: np.ndarray, truths: np.ndarray, episodes: np.ndarray) -> float | None:
    follows = episodes[1:] == episodes[:-1]
    if not follows.any():
        return None
    shown, true = (mask_iou(which[1:], which[:-1])[follows].mean() for which in (masks, truths))
    return float(shown - true)


def score_table(results: Sequence[MaskScores]) -> Table:
    """Return the results as a table, one line a task and setting."""
    head = ('task', 'setting', 'frames', 'IoU', 'median', '5th %', '<0.5', 'empty', 'bound F',
            'prompts', 'clicks', 'invents', 'steady', 'ms')
    rows = []
    for result in results:
        row = result.summary()
        rows.append((row['task'], row['setting'], str(row['frames']), *(
            figure(row[name], form) for name, form in (
                ('iou_mean', '.3f'), ('iou_median', '.3f'), ('iou_p5', '.3f'),
                ('share_under_half', '.1%'), ('share_empty', '.1%'), ('boundary_f_mean', '.3f'),
                ('prompts_on_object', '.1%'), ('clicks_on_body', '.1%'),
                ('share_of_inventions', '.1%'), ('steadiness', '+.3f'), ('frame_ms', '.2f')))))
    return Table(head, tuple(rows))
