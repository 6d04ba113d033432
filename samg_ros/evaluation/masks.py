# SPDX-License-Identifier: Apache-2.0
"""`samg eval masks`: how well a masker finds the object, against the simulator's own truth.

Frames come from seeded random rollouts with many resets, so that upright, falling and fallen poses
and many backgrounds are among them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from samg_ros.errors import ConfigError
from samg_ros.evaluation.metrics import boundary_f, mask_iou
from samg_ros.sim.env import SimEnv
from samg_ros.sim.reference import parse_points, render_reference
from samg_ros.sim.render import QUALITIES
from samg_ros.sim.settings import get_setting
from samg_ros.sim.tasks import get_task

if TYPE_CHECKING:
    from samg_ros.masking import Masker, Reference

FRAMES_PER_EPISODE = 15
STEPS_BETWEEN_FRAMES = 4
HOLD_STEPS = 6
"""Agent steps for which a random action is held: noise at every step would barely move a robot."""

BATCH = 10
WORST = 8
LOW_IOU = 0.5


@dataclass(frozen=True, eq=False)
class WorstFrame:
    """A frame on which the masker did badly."""

    index: int
    iou: float
    frame: np.ndarray
    """(H, W, 3) uint8 RGB."""
    mask: np.ndarray
    """(H, W) bool, the masker's."""
    truth: np.ndarray
    """(H, W) bool."""


@dataclass(frozen=True, eq=False)
class MaskResult:
    """The scores of one masker on one task in one setting."""

    task: str
    setting: str
    iou: np.ndarray
    """(N,) float64."""
    boundary_f: np.ndarray
    """(N,) float64."""
    prompts_on_object: float
    """Share of positive point prompts that lie on the object."""
    frame_ms: float
    """Median over batches of the masker's time per frame, the first batch left out."""
    fit_s: float
    """Time to take the reference."""
    worst: tuple[WorstFrame, ...]
    """Lowest IoU first."""

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
            'boundary_f_mean': round(float(self.boundary_f.mean()), 4),
            'prompts_on_object': round(self.prompts_on_object, 4),
            'frame_ms': round(self.frame_ms, 2),
            'fit_s': round(self.fit_s, 2),
        }


def collect_frames(task: str, setting: str, frames: int, seed: int = 0, size: int = 84,
                   videos: str | Path | None = None, quality: str = 'fast',
                   ) -> tuple[np.ndarray, np.ndarray]:
    """Return frames of random rollouts and their true masks.

    Args:
        task: see `sim.tasks`.
        setting: see `sim.settings`.
        frames: how many; every 15 come from a new episode, with its own pose and video.
        seed: of poses, actions and videos.
        size: side of a frame in pixels.
        videos: folder of videos; None for painted ones.
        quality: `fast` or `paper`.

    Returns:
        (N, size, size, 3) uint8 RGB and (N, size, size) bool.
    """
    rng = np.random.default_rng(seed)
    images = np.empty((frames, size, size, 3), dtype=np.uint8)
    truths = np.empty((frames, size, size), dtype=bool)
    env = SimEnv(task, setting, seed, size, size, quality, videos)
    try:
        low, high = env.action_spec
        for index in range(frames):
            if index % FRAMES_PER_EPISODE == 0:
                step, count, action = env.reset(), 0, low
            else:
                for _ in range(STEPS_BETWEEN_FRAMES):
                    if count % HOLD_STEPS == 0:
                        action = rng.uniform(low, high)
                    step, count = env.step(action), count + 1
            assert step.mask is not None
            images[index], truths[index] = step.frame, step.mask
    finally:
        env.close()
    return images, truths


def evaluate_masks(masker: Masker | str, reference: Reference | str | Path | None = None,
                   task: str = 'walker_walk', setting: str = 'train',
                   videos: str | Path | None = None, frames: int = 300, seed: int = 0,
                   size: int = 84, quality: str = 'fast', weights: str | Path | None = None,
                   points: Sequence[Sequence[float]] | None = None,
                   progress: bool = False) -> MaskResult:
    """Score a masker on frames whose true mask is known.

    Args:
        masker: a masker, or the name of a model.
        reference: a reference or its path; None renders one from the simulator, or leaves a
            fitted masker as it is.
        task: see `sim.tasks`.
        setting: see `sim.settings`.
        videos: folder of videos; None for painted ones.
        frames: how many, at least 1.
        seed: of the rollouts.
        size: side of a frame in pixels.
        quality: `fast` or `paper`.
        weights: weight file of a named model; None takes the one the package ships.
        points: clicked points [x, y] that replace the reference's.
        progress: show a bar.

    Raises:
        ConfigError: if the number of frames is not usable.
        SamgError: whatever masker, reference or simulation raise.
    """
    from samg_ros.masking import Masker, Reference

    if frames < 1:
        raise ConfigError(f'{frames} frames cannot be evaluated; give at least 1')
    images, truths = collect_frames(task, setting, frames, seed, size, videos, quality)
    if isinstance(masker, str):
        masker = Masker.load(masker, weights=weights)
    if reference is None and masker.reference is None:
        reference = render_reference(task, size, size, quality=quality)
    elif isinstance(reference, (str, Path)):
        reference = Reference.load(reference)
    if points is not None:
        known = reference or masker.reference
        assert known is not None
        reference = known.with_points(points)
    fit_s = 0.0
    if reference is not None:
        start = time.perf_counter()
        masker.fit(reference)
        fit_s = time.perf_counter() - start

    masks = np.empty_like(truths)
    hits, batch_ms = [], []
    with tqdm(total=frames, desc=f'{task} {setting}', unit='frame', leave=False,
              disable=not progress) as bar:
        for first in range(0, frames, BATCH):
            batch = images[first:first + BATCH]
            start = time.perf_counter()
            prediction = masker.predict(batch)
            masks[first:first + BATCH] = prediction.masks.cpu().numpy()
            batch_ms.append((time.perf_counter() - start) * 1000 / len(batch))
            points_xy = prediction.prompts.points.cpu().numpy()
            positive = prediction.prompts.labels.cpu().numpy() == 1
            frame_of = np.arange(first, first + len(batch))[:, None]
            hits.append(truths[frame_of, points_xy[..., 1], points_xy[..., 0]][positive])
            bar.update(len(batch))
    iou = mask_iou(masks, truths)
    worst = tuple(WorstFrame(int(i), float(iou[i]), images[i], masks[i], truths[i])
                  for i in np.argsort(iou, kind='stable')[:WORST])
    return MaskResult(task, setting, iou, boundary_f(masks, truths),
                      float(np.concatenate(hits).mean()),
                      float(np.median(batch_ms[1:] or batch_ms)), fit_s, worst)


def table(results: Sequence[MaskResult]) -> str:
    """Return the results as lines of text, one a task and setting."""
    head = (f'{"task":18} {"setting":11} {"IoU":>6} {"median":>7} {"5th %":>6} {"<0.5":>6} '
            f'{"bound F":>8} {"prompts":>8} {"ms":>7}')
    lines = [head]
    for result in results:
        row = result.summary()
        lines.append(f'{row["task"]:18} {row["setting"]:11} {row["iou_mean"]:6.3f} '
                     f'{row["iou_median"]:7.3f} {row["iou_p5"]:6.3f} '
                     f'{row["share_under_half"]:6.1%} {row["boundary_f_mean"]:8.3f} '
                     f'{row["prompts_on_object"]:8.1%} {row["frame_ms"]:7.2f}')
    return '\n'.join(lines)


def write_worst(results: Sequence[MaskResult], folder: str | Path) -> list[Path]:
    """Write a picture of the worst frames of each result.

    Rows: frame; mask; truth; and the frame with what is missing in red, what is too much in green.

    Returns:
        The pictures' paths, `worst_<task>_<setting>.png`.
    """
    import cv2

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for result in results:
        columns = []
        for worst in result.worst:
            cut, whole = (np.where(mask[..., None], worst.frame, 0).astype(np.uint8)
                          for mask in (worst.mask, worst.truth))
            errors = worst.frame // 2
            errors[worst.truth & ~worst.mask] = (255, 40, 40)
            errors[worst.mask & ~worst.truth] = (40, 255, 40)
            columns.append(np.vstack([worst.frame, cut, whole, errors]))
        sheet = np.hstack(columns)
        scale = max(1, 168 // result.worst[0].frame.shape[1])
        sheet = cv2.resize(sheet, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
        path = folder / f'worst_{result.task}_{result.setting}.png'
        if not cv2.imwrite(str(path), sheet[..., ::-1]):
            raise ConfigError(f"the picture '{path}' cannot be written; choose another --out")
        paths.append(path)
    return paths


def find_reference(path: str | Path | None, task: str) -> Path | None:
    """Return the reference of a task.

    Args:
        path: a reference; or a folder of them, by task name or as public `<domain>_0.png`; or
            None.
        task: whose reference is wanted from a folder of them.
    """
    if path is None:
        return None
    path = Path(path)
    for candidate in (path / task, path / f'{get_task(task).domain}_0.png'):
        if not (path / 'image.png').exists() and candidate.exists():
            return candidate
    return path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg eval masks`."""
    def names(text: str) -> list[str]:
        return [name for name in text.split(',') if name]

    parser.add_argument('--task', type=names, action='extend', metavar='NAME[,NAME]',
                        help='tasks (walker_walk)')
    parser.add_argument('--setting', type=names, action='extend', metavar='NAME[,NAME]',
                        help='visual settings (train,video_hard)')
    parser.add_argument('--videos', default=None, metavar='DIR',
                        help='folder of videos for the video settings (painted ones)')
    parser.add_argument('--reference', default=None, metavar='PATH',
                        help='reference, or a folder of them by task (rendered)')
    parser.add_argument('--points', type=parse_points, default=None, metavar="'X,Y X,Y'",
                        help="clicked points in the reference's pixels")
    parser.add_argument('--model', default='mini', help='mask model (mini)')
    parser.add_argument('--weights', default=None, metavar='FILE', help='its weights')
    parser.add_argument('--frames', type=int, default=300, help='per task and setting (300)')
    parser.add_argument('--size', type=int, default=84, help='side of a frame in pixels (84)')
    parser.add_argument('--quality', choices=QUALITIES, default='fast', help='render quality')
    parser.add_argument('--seed', type=int, default=0, help='of poses, actions and videos (0)')
    parser.add_argument('--json', type=Path, default=None, metavar='FILE',
                        help='write the figures there too')
    parser.add_argument('--out', type=Path, default=None, metavar='DIR',
                        help='write pictures of the worst frames and masks.json there')


def run(args: argparse.Namespace) -> None:
    """Run `samg eval masks`."""
    from samg_ros.masking import Masker

    tasks = args.task or ['walker_walk']
    settings = [get_setting(name).name for name in args.setting or ['train', 'video_hard']]
    references = {get_task(task).name: find_reference(args.reference, task) for task in tasks}
    masker = Masker.load(args.model, weights=args.weights)
    results: list[MaskResult] = []
    for task in tasks:
        reference = references[task] or render_reference(task, args.size, args.size,
                                                         quality=args.quality)
        for setting in settings:
            # The reference fits the masker once; the next setting finds it fitted.
            videos = args.videos if get_setting(setting).has_video else None
            result = evaluate_masks(
                masker, reference if setting == settings[0] else None, task, setting, videos,
                args.frames, args.seed, args.size, args.quality,
                points=args.points if setting == settings[0] else None, progress=True)
            results.append(result)
    print(table(results))
    figures = json.dumps([result.summary() for result in results], indent=2)
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(figures + '\n')
    if args.out is not None:
        for path in write_worst(results, args.out):
            print(path)
        (args.out / 'masks.json').write_text(figures + '\n')
