# SPDX-License-Identifier: Apache-2.0
"""`samg mask`: images, folders of images and videos, masked with one reference.

For a first look at what the masker makes of one's own camera, without ROS.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from samg_ros.errors import ConfigError, InvalidInputError, VideoError
from samg_ros.masking import Masker, MaskerSettings, Reference, apply_mask

IMAGE_SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
VIDEO_SUFFIXES = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm')
KINDS = ('masked', 'mask', 'overlay')
OVERLAY_RGB = (0, 220, 130)

Image = npt.NDArray[np.uint8]


@dataclass
class Job:
    """One image or video and where its results go.

    Attributes:
        source: the file.
        target: the results' path without their ending, `<target>_<kind>.png` or `.mp4`.
        video: a video, not an image.
        seconds: time in the masker.
        areas: share of every frame that was kept, 0 .. 1.
    """

    source: Path
    target: Path
    video: bool
    seconds: float = 0.0
    areas: list[float] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the row of the table as plain JSON types."""
        frames = len(self.areas)
        return {'input': str(self.source), 'frames': frames,
                'kept_share': float(np.mean(self.areas)) if frames else 0.0,
                'empty_frames': sum(area == 0 for area in self.areas),
                'ms_per_frame': 1000 * self.seconds / max(1, frames)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg mask`."""
    parser.add_argument('inputs', nargs='+', type=Path, metavar='INPUT',
                        help='image, video, or folder of images and videos')
    parser.add_argument('--reference', type=Path, required=True, metavar='DIR',
                        help='folder with image.png and mask.png, or an image of the public '
                             'SAM-G data')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR',
                        help='folder for the results; made when missing')
    parser.add_argument('--write', nargs='+', choices=KINDS, default=['masked', 'mask'],
                        metavar='KIND',
                        help=f'what to write, of {", ".join(KINDS)} (default: masked mask)')
    parser.add_argument('--model', default='mini', help='mask model (default: %(default)s)')
    parser.add_argument('--weights', metavar='FILE',
                        help="its weights, NAME=PATH,NAME=PATH for a pair (the package's)")
    parser.add_argument('--device', default='cpu', help="'cpu' or 'cuda' (default: %(default)s)")
    parser.add_argument('--batch', type=int, default=8, metavar='N',
                        help='frames of a video masked at once (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of the fit to the reference')
    parser.add_argument('--json', type=Path, metavar='PATH', help='write the table there as well')


def run(args: argparse.Namespace) -> None:
    """Run `samg mask`."""
    if args.batch < 1:
        raise ConfigError(f'--batch {args.batch}: expected 1 or more')
    jobs = find_jobs(args.inputs, args.out)
    reference = Reference.load(args.reference)
    masker = Masker.load(args.model, MaskerSettings(seed=args.seed), args.device, args.weights)
    masker.fit(reference)
    for job in jobs:
        with contextlib.ExitStack() as stack:
            frames = tqdm(read_frames(job), desc=job.source.name, unit='frame', leave=False)
            stack.callback(frames.close)
            mask_job(job, frames, masker, args.write, args.batch)
    rows = [job.to_dict() for job in jobs]
    print_table(rows)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({'inputs': rows}, indent=2) + '\n')
    print(args.out)


def find_jobs(inputs: list[Path], out: Path) -> list[Job]:
    """Return what there is to mask.

    A file `a/b.png` goes to `<out>/b_*`, the file `c.png` of a folder `a` to `<out>/a/c_*`.

    Raises:
        InvalidInputError: if an input is missing or unreadable, is of no known kind or is an
            empty folder, or if two inputs would write the same file.
        VideoError: if a video cannot be opened.
    """
    jobs = []
    for path in inputs:
        if path.is_dir():
            files = [file for file in sorted(path.iterdir())
                     if file.suffix.lower() in IMAGE_SUFFIXES + VIDEO_SUFFIXES]
            if not files:
                raise InvalidInputError(f'{path}: no image or video in this folder; known are '
                                        f'{" ".join(IMAGE_SUFFIXES + VIDEO_SUFFIXES)}')
            folder = out / path.resolve().name
        elif path.is_file():
            files, folder = [path], out
        else:
            raise InvalidInputError(f'{path}: no such file or folder')
        for file in files:
            suffix = file.suffix.lower()
            if suffix not in IMAGE_SUFFIXES + VIDEO_SUFFIXES:
                raise InvalidInputError(f'{file}: neither an image nor a video; known are '
                                        f'{" ".join(IMAGE_SUFFIXES + VIDEO_SUFFIXES)}')
            jobs.append(Job(file, folder / file.stem, suffix in VIDEO_SUFFIXES))
    targets: dict[tuple[Path, bool], Path] = {}
    for job in jobs:
        _check_readable(job)
        other = targets.setdefault((job.target, job.video), job.source)
        if other != job.source:
            raise InvalidInputError(f'{other} and {job.source} would both be written to '
                                    f'{job.target}_*; mask them into two folders')
    return jobs


def read_frames(job: Job) -> Iterator[Image]:
    """Yield the frames of an image or video, (H, W, 3) uint8 RGB.

    Raises:
        InvalidInputError: if the image cannot be read.
        VideoError: if the video gives no frame.
    """
    if not job.video:
        picture = cv2.imread(str(job.source), cv2.IMREAD_COLOR)
        if picture is None:
            raise InvalidInputError(f'{job.source}: not a readable image')
        yield np.asarray(picture[..., ::-1], np.uint8)
        return
    capture = cv2.VideoCapture(str(job.source))
    try:
        count = 0
        while True:
            there, picture = capture.read()
            if not there:
                break
            count += 1
            yield np.asarray(picture[..., ::-1], np.uint8)
    finally:
        capture.release()
    if count == 0:
        raise VideoError(f'{job.source}: OpenCV reads no frame of this video; convert it to mp4')


def mask_job(job: Job, frames: Iterator[Image], masker: Masker, kinds: list[str],
             batch: int) -> None:
    """Mask the frames of a job and write the results."""
    writers: dict[str, cv2.VideoWriter] = {}
    job.target.parent.mkdir(parents=True, exist_ok=True)
    try:
        for images in _batches(frames, batch):
            begin = time.perf_counter()
            masks: Any = masker(images)
            job.seconds += time.perf_counter() - begin
            job.areas += masks.mean(axis=(1, 2)).tolist()
            for kind in kinds:
                for picture in _pictures(kind, images, masks):
                    _write(job, kind, picture, writers)
    finally:
        for writer in writers.values():
            writer.release()


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print one line an input."""
    width = max(len('input'), *(len(row['input']) for row in rows))
    print(f'{"input":{width}}  frames  kept %  empty  ms/frame')
    for row in rows:
        print(f'{row["input"]:{width}}  {row["frames"]:6}  {100 * row["kept_share"]:6.1f}  '
              f'{row["empty_frames"]:5}  {row["ms_per_frame"]:8.1f}')


def _check_readable(job: Job) -> None:
    """Look at the head of the file only: before the fit, which takes a while."""
    if not job.video:
        if not cv2.haveImageReader(str(job.source)):
            raise InvalidInputError(f'{job.source}: not a readable image')
        return
    capture = cv2.VideoCapture(str(job.source))
    opened = capture.isOpened()
    capture.release()
    if not opened:
        raise VideoError(f'{job.source}: not a video that OpenCV can read; convert it to mp4')


def _batches(frames: Iterator[Image], size: int) -> Iterator[Image]:
    batch: list[Image] = []
    for frame in frames:
        batch.append(frame)
        if len(batch) == size:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)


def _pictures(kind: str, images: Image, masks: Any) -> Image:
    if kind == 'mask':
        return np.repeat(masks[..., None], 3, axis=-1) * np.uint8(255)
    if kind == 'masked':
        return apply_mask(images, masks)
    tinted = images // 2 + np.asarray(OVERLAY_RGB, np.uint8) // 2
    return np.where(masks[..., None], tinted, images)


def _write(job: Job, kind: str, picture: Image, writers: dict[str, cv2.VideoWriter]) -> None:
    bgr = np.ascontiguousarray(picture[..., ::-1])
    path = job.target.with_name(f'{job.target.name}_{kind}{".mp4" if job.video else ".png"}')
    if not job.video:
        if not cv2.imwrite(str(path), bgr):
            raise InvalidInputError(f'{path}: cannot be written; check the folder')
        return
    if kind not in writers:
        rate = cv2.VideoCapture(str(job.source)).get(cv2.CAP_PROP_FPS) or 30.0
        writers[kind] = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), rate,
                                        bgr.shape[1::-1])
        if not writers[kind].isOpened():
            raise VideoError(f'{path}: OpenCV cannot write this video; check the folder')
    writers[kind].write(bgr)
