# SPDX-License-Identifier: Apache-2.0
"""The frames that `mini` is trained on, made once and kept in shards.

A shard is a pure function of (seed, kind, index), so an interrupted build goes on where it was and
several processes can build side by side.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from samg_ros.errors import ConfigError
from samg_ros.files.arrays import Arrays, ArraySpec, read_npz
from samg_ros.files.pictures import read_picture
from samg_ros.interruption import end_with_parent
from samg_ros.sim.procedural.rooms import render_room
from samg_ros.sim.procedural.scenes import render_scene
from samg_ros.sim.visual.backgrounds import paint_canvas

FRAME_SIZE = 192
BACKGROUND_SIZE = 224
SCENES_PER_SHARD = 10
FRAMES_PER_SCENE = 10
ABSENT_FRAMES = 2
"""How many of a scene's frames, the last ones, show it without the bodies."""
BACKGROUNDS_PER_SHARD = 100

PICTURE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.webp')
CUTOUT_SIDE = 180
"""Longer side of a cut-out in its picture: turned by up to 30 degrees, it stays inside."""
PHOTOGRAPHED = 64
"""Colours, of 32 levels a channel, that a photograph of an object has at least."""

HELD_OUT_EVERY = 20
"""One scene of this many, and one background, are for validation alone."""

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class DatasetSize:
    """How much data is made.

    Attributes:
        scenes: scenes with a body of random geoms, each seen in 10 frames.
        meshes: scenes with a robot or object from a file.
        backgrounds: number of painted and rendered background pictures.
    """

    scenes: int = 600
    meshes: int = 600
    backgrounds: int = 1500


def _scene_shard(rng: np.random.Generator, meshes: tuple[Path, ...]) -> dict[str, Images]:
    frames = [render_scene(rng, FRAMES_PER_SCENE, FRAME_SIZE, ABSENT_FRAMES, meshes)
              for _ in range(SCENES_PER_SHARD)]
    return {'images': np.stack([f.images for f in frames]),
            'labels': np.stack([f.labels for f in frames])}


def random_crop(rng: np.random.Generator, picture: Images, size: int) -> Images:
    """Return (size, size, 3) uint8: a random window of the picture at a random scale."""
    rows, columns = picture.shape[:2]
    side = int(min(rows, columns) * np.exp(rng.uniform(np.log(0.3), 0)))
    top, left = int(rng.integers(0, rows - side + 1)), int(rng.integers(0, columns - side + 1))
    window = picture[top:top + side, left:left + side]
    way = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(window, (size, size), interpolation=way), np.uint8)


def _background_shard(rng: np.random.Generator) -> dict[str, Images]:
    pictures: list[Images] = []
    while len(pictures) < BACKGROUNDS_PER_SHARD:
        if rng.random() < 0.5:
            pictures.extend(render_room(rng, 5, BACKGROUND_SIZE))
        else:
            canvas = paint_canvas(rng, 2 * BACKGROUND_SIZE, 2 * BACKGROUND_SIZE)
            pictures.extend(random_crop(rng, canvas, BACKGROUND_SIZE) for _ in range(3))
    return {'images': np.stack(pictures[:BACKGROUNDS_PER_SHARD])}


KINDS = ('scenes', 'backgrounds', 'meshes')


def _build(job: tuple[str, Path, int, int, tuple[Path, ...]]) -> Path:
    kind, path, seed, index, meshes = job
    rng = np.random.default_rng([seed, index, KINDS.index(kind)])
    shard = _background_shard(rng) if kind == 'backgrounds' else _scene_shard(rng, meshes)
    partial = path.with_suffix(f'.{os.getpid()}.tmp')
    with partial.open('wb') as file:
        np.savez(file, allow_pickle=False, **shard)
    partial.replace(path)
    return path


def shard_paths(folder: Path, kind: str, count: int) -> list[Path]:
    """Return the paths of the shards that hold `count` pictures or scenes of a kind of KINDS."""
    per_shard = BACKGROUNDS_PER_SHARD if kind == 'backgrounds' else SCENES_PER_SHARD
    return [folder / f'{kind}-{index:04d}.npz' for index in range(-(-count // per_shard))]


def build_dataset(folder: Path, size: DatasetSize, seed: int = 0, workers: int = 1,
                  meshes: tuple[Path, ...] = ()) -> None:
    """Make every shard that is not there yet.

    Args:
        folder: where the shards lie; made when missing.
        size: how much data.
        seed: source of all randomness.
        workers: processes that render side by side.
        meshes: MJCF files of robots and objects; without them no such scenes are made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {'backgrounds': size.backgrounds, 'scenes': size.scenes,
              'meshes': size.meshes if meshes else 0}
    jobs = [(kind, path, seed, index, meshes if kind == 'meshes' else ())
            for kind, count in wanted.items()
            for index, path in enumerate(shard_paths(folder, kind, count)) if not path.exists()]
    jobs.sort(key=lambda job: job[3])  # some of every kind first
    if not jobs:
        return
    spawn = multiprocessing.get_context('spawn')  # OpenGL does not survive a fork
    with ProcessPoolExecutor(workers, spawn, end_with_parent) as pool:
        waiting = [pool.submit(_build, job) for job in jobs]
        try:
            for done in tqdm(as_completed(waiting), total=len(jobs), desc='scenes', unit='shard'):
                done.result()
        except BaseException:  # Ctrl-C too: the executor would first wait for all jobs
            for child in multiprocessing.active_children():
                child.terminate()
            raise


def _read(path: Path, specs: dict[str, ArraySpec]) -> Arrays:
    advice = 'delete it, and it is made again'
    arrays = read_npz(path, specs, ConfigError, advice)
    if missing := specs.keys() - arrays.keys():
        raise ConfigError(f"'{path}' lacks '{min(missing)}'; {advice}")
    return arrays


def load_scenes(folder: Path, size: DatasetSize, meshes: bool) -> tuple[Images, Images]:
    """Return images (scenes, 10, 192, 192, 3) and labels (scenes, 10, 192, 192), both uint8.

    Args:
        folder: where the shards lie.
        size: how much to read.
        meshes: whether there are scenes with robots and objects from files.
    """
    frames = (None, FRAMES_PER_SCENE, FRAME_SIZE, FRAME_SIZE)
    specs = {'images': ArraySpec('u', (*frames, 3)), 'labels': ArraySpec('u', frames)}
    paths = shard_paths(folder, 'scenes', size.scenes) \
        + (shard_paths(folder, 'meshes', size.meshes) if meshes else [])
    shards = [_read(path, specs) for path in paths]
    return (np.concatenate([s['images'] for s in shards]),
            np.concatenate([s['labels'] for s in shards]))


def load_backgrounds(folder: Path, count: int) -> Images:
    """Return (n, 224, 224, 3) uint8 RGB: painted and rendered backgrounds.

    Args:
        folder: where the shards lie.
        count: pictures to read.
    """
    paths = shard_paths(folder, 'backgrounds', count)
    square = ArraySpec('u', (None, BACKGROUND_SIZE, BACKGROUND_SIZE, 3))
    return np.concatenate([_read(path, {'images': square})['images'] for path in paths])[:count]


def photograph_crops(photographs: Sequence[Path], count: int, seed: int) -> Images:
    """Return (n, 224, 224, 3) uint8 RGB: as many crops of each photograph, at least `count`.

    Args:
        photographs: image files; without one, n is 0.
        count: crops.
        seed: of the crops' places.

    Raises:
        PictureError: if a photograph cannot be read.
    """
    rng = np.random.default_rng([seed, 2])
    crops = [np.zeros((0, BACKGROUND_SIZE, BACKGROUND_SIZE, 3), np.uint8)]
    for path in photographs:
        picture = np.ascontiguousarray(read_picture(path)[..., ::-1])
        each = [random_crop(rng, picture, BACKGROUND_SIZE)
                for _ in range(-(-count // len(photographs)))]
        crops.append(np.stack(each))
    return np.concatenate(crops)


def load_cutouts(pictures: Sequence[Path]) -> Images:
    """Return (n, 224, 224, 4) uint8 RGB and alpha: photographed objects with nothing around them.

    Args:
        pictures: image files with an alpha channel. Drawings and letters, which have fewer than
            PHOTOGRAPHED colours, are left out.
    """
    found = []
    for path in pictures:
        picture = read_picture(path, cv2.IMREAD_UNCHANGED)
        inside = picture[picture[..., 3] > 127, :3]
        if len(np.unique(inside // 8, axis=0)) < PHOTOGRAPHED:
            continue
        scale = CUTOUT_SIDE / max(picture.shape[:2])
        size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1
                             else cv2.INTER_LINEAR)
        room = np.zeros((BACKGROUND_SIZE, BACKGROUND_SIZE, 4), np.uint8)
        top, left = (BACKGROUND_SIZE - size[1]) // 2, (BACKGROUND_SIZE - size[0]) // 2
        room[top:top + size[1], left:left + size[0]] = picture[..., [2, 1, 0, 3]]
        found.append(room)
    return np.stack(found) if found else np.zeros((0, BACKGROUND_SIZE, BACKGROUND_SIZE, 4),
                                                  np.uint8)


def picture_files(folder: Path) -> list[Path]:
    """Return the pictures below a folder.

    Raises:
        ConfigError: if there are none.
    """
    found = sorted(path for path in folder.rglob('*') if path.suffix.lower() in PICTURE_SUFFIXES)
    if not found:
        raise ConfigError(f'{folder}: no picture in it ({", ".join(PICTURE_SUFFIXES)}); give a '
                          'folder of photographs')
    return found


def is_cutout(path: Path) -> bool:
    """Return whether a picture has an alpha channel with something transparent in it."""
    if path.suffix.lower() in ('.jpg', '.jpeg'):
        return False
    picture = read_picture(path, cv2.IMREAD_UNCHANGED)
    return picture.ndim == 3 and picture.shape[2] == 4 and bool((picture[..., 3] < 128).any())


def split(count: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return (count,) bool twice: which of some items are trained on, which are for validation."""
    held_out = np.arange(count) % HELD_OUT_EVERY == 0
    return ~held_out, held_out
