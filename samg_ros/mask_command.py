# SPDX-License-Identifier: Apache-2.0
"""`samg mask`: images, folders of images and videos, masked with one reference.

For a first look at the masks of one's own camera, without ROS. Every frame that a file announces is
counted, and every result is read back; where one is missing the exit status is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from samg_ros.arguments import add_json, add_out, add_seed, path_argument, whole
from samg_ros.errors import InvalidInputError, OutputError, PictureError, VideoError
from samg_ros.files.outputs import check_name, make_folder, write_json
from samg_ros.files.pictures import (
    MAX_PIXELS,
    PICTURE_SUFFIXES,
    VIDEO_ADVICE,
    check_pixels,
    holds_more,
    open_video,
    picture_size,
    read_picture,
    read_picture_bytes,
    shown,
    write_picture,
)
from samg_ros.files.videos import VideoFile, announced_frames
from samg_ros.masking import Masker, MaskerSettings, Reference, apply_mask

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
        size: (height, width) of its frames.
        problems: what is missing in the results, one line each.
    """

    source: Path
    target: Path
    video: bool
    seconds: float = 0.0
    areas: list[float] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)
    problems: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the row of the table as plain JSON types."""
        frames = len(self.areas)
        return {'input': shown(self.source), 'frames': frames,
                'kept_share': float(np.mean(self.areas)) if frames else 0.0,
                'empty_frames': sum(area == 0 for area in self.areas),
                'ms_per_frame': 1000 * self.seconds / max(1, frames), 'problems': self.problems}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg mask`."""
    parser.add_argument('inputs', nargs='+', type=path_argument, metavar='INPUT',
                        help='image, video, or folder of images and videos')
    parser.add_argument('--reference', type=path_argument, required=True, metavar='DIR',
                        help='folder with image.png and mask.png, or an image of the public '
                             'SAM-G data')
    add_out(parser, 'folder for the results; made when missing', required=True)
    parser.add_argument('--write', nargs='+', choices=KINDS, default=['masked', 'mask'],
                        metavar='KIND',
                        help=f'what to write, of {", ".join(KINDS)} (default: masked mask)')
    parser.add_argument('--model', default='mini', help='mask model (default: %(default)s)')
    parser.add_argument('--weights', metavar='FILE',
                        help="its weights, NAME=PATH,NAME=PATH for a pair (the package's)")
    parser.add_argument('--device', default='cpu', help="'cpu' or 'cuda' (default: %(default)s)")
    parser.add_argument('--batch', type=whole(1), default=8, metavar='N',
                        help='frames of a video masked at once (default: %(default)s)')
    add_seed(parser, 'of the fit to the reference')
    add_json(parser, 'table')


def run(args: argparse.Namespace) -> int:
    """Run `samg mask`; the exit status is 1 when a result is missing."""
    jobs = find_jobs(args.inputs, args.out)
    reference = Reference.load(args.reference)
    masker = Masker.load(args.model, MaskerSettings(seed=args.seed), args.device, args.weights)
    masker.fit(reference)
    make_folder(args.out)
    for job in jobs:
        if job.problems:
            continue
        try:
            with contextlib.closing(tqdm(read_frames(job), desc=shown(job.source.name),
                                         unit='frame', leave=False)) as frames:
                mask_job(job, frames, masker, list(dict.fromkeys(args.write)), args.batch)
        except (PictureError, VideoError) as error:
            job.problems.append(str(error))
    rows = [job.to_dict() for job in jobs]
    print_table(rows)
    if args.json:
        write_json(args.json, {'inputs': rows})
    print(shown(args.out))
    return int(any(job.problems for job in jobs))


def find_jobs(inputs: list[Path], out: Path) -> list[Job]:
    """Return what there is to mask.

    A file `a/b.png` goes to `<out>/b_*`, the file `c.png` of a folder `a` to `<out>/a/c_*`.

    Raises:
        InvalidInputError: if an input is missing or unreadable, is of no known kind or is an
            empty folder, or if two inputs would write the same file.
        VideoError: if a video cannot be opened.

    An unreadable file of a folder is no error: its job has the problem.
    """
    jobs = []
    for path in inputs:
        if path.is_dir():
            files = [file for file in sorted(path.iterdir())
                     if file.suffix.lower() in PICTURE_SUFFIXES + VIDEO_SUFFIXES]
            if not files:
                raise InvalidInputError(f'{shown(path)}: no image or video in this folder; known '
                                        f'are {" ".join(PICTURE_SUFFIXES + VIDEO_SUFFIXES)}')
            if others := sum(file.is_file() and file not in files for file in path.iterdir()):
                print(f'{shown(path)}: {others} files of other kinds are left out', file=sys.stderr)
            folder = out / path.resolve().name
        elif path.exists():
            files, folder = [path], out
        else:
            raise InvalidInputError(f'{shown(path)}: no such file or folder')
        for file in files:
            suffix = file.suffix.lower()
            if suffix not in PICTURE_SUFFIXES + VIDEO_SUFFIXES:
                raise InvalidInputError(f'{shown(file)}: neither an image nor a video; known are '
                                        f'{" ".join(PICTURE_SUFFIXES + VIDEO_SUFFIXES)}')
            jobs.append(Job(file, folder / file.stem, suffix in VIDEO_SUFFIXES))
    targets: dict[tuple[Path, bool], Path] = {}
    sources = {os.path.realpath(job.source): job.source for job in jobs}
    for job in jobs:
        for result in _results(job):
            if (read := sources.get(os.path.realpath(result))) is not None:
                raise InvalidInputError(f'{shown(read)} would be replaced by a result of '
                                        f'{shown(job.source)}; give another folder')
        try:
            _check_readable(job)
            for result in _results(job):
                check_name(result)
        except (OutputError, PictureError, VideoError) as error:
            if job.source in inputs:
                raise
            job.problems.append(str(error))
        other = targets.setdefault((job.target, job.video), job.source)
        if other != job.source:
            raise InvalidInputError(f'{shown(other)} and {shown(job.source)} would both be '
                                    f'written to {shown(job.target)}_*; mask them into two folders')
    return jobs


def read_frames(job: Job) -> Iterator[Image]:
    """Yield the frames of an image or video, (H, W, 3) uint8 RGB.

    Frames of a video that cannot be decoded are left out and noted in the job's problems.

    Raises:
        PictureError: if the image cannot be read.
        VideoError: if the video gives no frame.
    """
    if not job.video:
        yield np.asarray(read_picture(job.source)[..., ::-1], np.uint8)
        return
    capture = open_video(job.source)
    try:
        announced = announced_frames(capture, job.source)
        read = failed = 0
        # A damaged frame is a failed read; the frames after it can still be read.
        while read + failed < announced or not failed:
            there, picture = capture.read()
            read, failed = read + there, failed + (not there)
            if there:
                yield np.asarray(picture[..., ::-1], np.uint8)
    finally:
        capture.release()
    if read == 0:
        raise VideoError(f'{shown(job.source)}: OpenCV reads no frame of this video; '
                         f'{VIDEO_ADVICE}')
    if read < announced:
        job.problems.append(f'{shown(job.source)}: {announced - read} of the {announced} frames '
                            'that it announces cannot be read; they are left out')


def mask_job(job: Job, frames: Iterator[Image], masker: Masker, kinds: list[str],
             batch: int) -> None:
    """Mask the frames of a job, write the results, and check that the written files can be read.

    Raises:
        PictureError, VideoError: if a source cannot be read or a result cannot be written.
    """
    videos: dict[str, VideoFile] = {}
    job.target.parent.mkdir(parents=True, exist_ok=True)
    try:
        for images in _batches(frames, batch):
            job.size = images.shape[1:3]
            begin = time.perf_counter()
            masks: Any = masker(images)
            job.seconds += time.perf_counter() - begin
            job.areas += masks.mean(axis=(1, 2)).tolist()
            for kind in kinds:
                for picture in _pictures(kind, images, masks):
                    _write(job, kind, picture, videos)
        for video in videos.values():
            _finish(job, video)
    finally:
        for video in videos.values():
            video.discard()


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print one line an input."""
    width = max(len('input'), *(len(row['input']) for row in rows))
    print(f'{"input":{width}}  frames  kept %  empty  ms/frame')
    for row in rows:
        print(f'{row["input"]:{width}}  {row["frames"]:6}  {100 * row["kept_share"]:6.1f}  '
              f'{row["empty_frames"]:5}  {row["ms_per_frame"]:8.1f}')
    for problem in (problem for row in rows for problem in row['problems']):
        print(f'missing: {problem}')


def _check_readable(job: Job) -> None:
    """Check that a source can be opened and is not too large, before the reference is fitted."""
    name = shown(job.source)
    if not job.video:
        data = read_picture_bytes(job.source)
        size = picture_size(data)
        if size is None:
            raise PictureError(f'{name}: not a readable image')
        try:
            check_pixels(*size, MAX_PIXELS)
        except PictureError as error:
            raise PictureError(f'{name}: {error}') from error
        if holds_more(data):
            print(f'{name}: of its pictures the first is masked', file=sys.stderr)
        return
    capture = open_video(job.source)
    opened = capture.isOpened()
    capture.release()
    if not opened:
        raise VideoError(f'{name}: not a video that OpenCV can read; {VIDEO_ADVICE}')


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


def _result(job: Job, kind: str) -> Path:
    """Return the file of a result; only Motion JPEG keeps odd sides, MPEG-4 cuts them off."""
    odd = job.size[0] % 2 or job.size[1] % 2
    ending = '.png' if not job.video else '.avi' if odd else '.mp4'
    return job.target.with_name(f'{job.target.name}_{kind}{ending}')


def _results(job: Job) -> list[Path]:
    """Return every file that may be a result."""
    return [job.target.with_name(f'{job.target.name}_{kind}{ending}') for kind in KINDS
            for ending in (('.avi', '.mp4') if job.video else ('.png',))]


def _write(job: Job, kind: str, picture: Image, videos: dict[str, VideoFile]) -> None:
    bgr = np.ascontiguousarray(picture[..., ::-1])
    path = _result(job, kind)
    if not job.video:
        write_picture(path, bgr)
        if picture_size(path.read_bytes()) != job.size:
            job.problems.append(f'{shown(path)}: cannot be read back; is the disk full?')
        return
    if kind not in videos:
        capture = open_video(job.source)
        rate = capture.get(cv2.CAP_PROP_FPS) or 30.0
        capture.release()
        backend, code = (cv2.CAP_OPENCV_MJPEG, 'MJPG') if path.suffix == '.avi' \
            else (cv2.CAP_FFMPEG, 'mp4v')
        videos[kind] = VideoFile(path, code, rate, backend)
    videos[kind].write(bgr)


def _finish(job: Job, video: VideoFile) -> None:
    """Finish a video; what is missing goes to the job's problems."""
    try:
        video.finish()
    except VideoError as error:
        job.problems.append(str(error))
