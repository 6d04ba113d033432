# SPDX-License-Identifier: Apache-2.0
"""References from the simulator, where the mask costs nothing, and a look at any reference.

`samg reference render` and `samg reference show`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from samg_ros.arguments import OutputFile, add_out, add_overwrite, add_seed, optional_path, whole
from samg_ros.errors import ConfigError, EmptyMaskError
from samg_ros.files.pictures import write_picture
from samg_ros.sim.env import SimEnv
from samg_ros.sim.render import QUALITIES
from samg_ros.sim.sim_step import SimStep
from samg_ros.sim.tasks import get_task

if TYPE_CHECKING:
    from samg_ros.masking.references.reference import Reference

CANDIDATES = 24
"""Initial poses among which a reference is chosen."""

OVERLAY_COLOUR = (255, 40, 160)
MIN_SHOWN_HEIGHT = 336


def best_view(task: str, height: int = 84, width: int = 84, seed: int = 0, quality: str = 'fast',
              camera_id: int | str | None = None) -> tuple[SimStep, np.ndarray]:
    """Return a task's first frame with the object best seen, and its bodies.

    Of some initial poses, it takes the one whose object stands upright (where the task says what
    that means), has every part in view, touches the border least and shows most.

    Args:
        task: see `tasks.task_names`.
        height: pixels.
        width: pixels.
        seed: of the initial poses.
        quality: `fast` or `paper`.
        camera_id: None takes the task's.

    Returns:
        The step, and (H, W) uint8 of `SimEnv.bodies`.

    Raises:
        UnknownTaskError: if no task has that name.
        EmptyMaskError: if the object is never in view.
    """
    env = SimEnv(task, seed=seed, height=height, width=width, quality=quality,
                 camera_id=camera_id)
    try:
        count = len(env.spec.parts)
        candidates = []
        for _ in range(CANDIDATES):
            step = env.reset()
            candidates.append((_fitness(step, _is_upright(env), count), step, env.bodies()))
        _, step, bodies = max(candidates, key=lambda candidate: candidate[0])
    finally:
        env.close()
    if step.mask is None or not step.mask.any():
        raise EmptyMaskError(f"the object of '{task}' is not in view of camera "
                             f'{env.camera_ids[0]} in any of {CANDIDATES} initial poses; '
                             'give another camera or seed')
    return step, bodies


def render_reference(task: str, height: int = 84, width: int = 84, seed: int = 0,
                     quality: str = 'fast', points: Sequence[Sequence[float]] = (),
                     camera_id: int | str | None = None, clicks: int = 0) -> Reference:
    """Return a reference of a task, from its `best_view`.

    Args:
        task: as for `best_view`, with the next four.
        height: pixels.
        width: pixels.
        seed: of the initial poses.
        quality: `fast` or `paper`.
        points: clicked points [x, y] in pixels, to go into the reference.
        camera_id: None takes the task's.
        clicks: how many further points `choose_points` adds.

    Raises:
        UnknownTaskError: if no task has that name.
        EmptyMaskError: if the object is never in view.
        InvalidInputError: if a point lies outside the image.
        ConfigError: if there are fewer bodies in view than clicks.
    """
    from samg_ros.masking.references.reference import Reference

    step, bodies = best_view(task, height, width, seed, quality, camera_id)
    assert step.mask is not None and step.parts is not None
    clicked = np.concatenate([np.asarray(points, dtype=np.float64).reshape(-1, 2),
                              choose_points(bodies, step.mask, clicks)])
    labels = get_task(task).parts
    parts = [step.parts == label for label in range(1, len(labels) + 1)] if len(labels) > 1 else []
    return Reference(step.frame, step.mask, tuple(part for part in parts if part.any()), clicked,
                     f'{task} rendered at {width} x {height}, quality {quality}, seed {seed}')


def choose_points(bodies: np.ndarray, mask: np.ndarray, count: int) -> np.ndarray:
    """Return the points that a person would click: in the middle of the largest bodies in view.

    Args:
        bodies: (H, W) uint8 of `SimEnv.bodies`.
        mask: (H, W) bool, the object.
        count: of points.

    Returns:
        (count, 2) float64 [x, y] in pixels.

    Raises:
        ConfigError: if there are fewer bodies in view.
    """
    found, sizes = np.unique(bodies[mask], return_counts=True)
    if count > len(found):
        raise ConfigError(f'{count} points cannot be put on {len(found)} bodies in view; '
                          f'ask for at most {len(found)}')
    points = np.empty((count, 2))
    for index, body in enumerate(found[np.argsort(-sizes, kind='stable')][:count]):
        inside = np.pad((bodies == body) & mask, 1).astype(np.uint8)
        depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5)[1:-1, 1:-1]
        points[index] = np.unravel_index(depth.argmax(), depth.shape)[::-1]
    return points


def _is_upright(env: SimEnv) -> bool:
    body = env.spec.upright_body
    return body is None or bool(env.data.body(body).xmat[8] > np.cos(np.deg2rad(30)))


def _fitness(step: SimStep, upright: bool, parts: int) -> tuple[bool, int, int, int]:
    assert step.mask is not None and step.parts is not None
    border = step.mask.copy()
    border[1:-1, 1:-1] = False
    seen = len(np.intersect1d(step.parts, np.arange(1, parts + 1)))
    return upright, seen, -int(border.sum()), int(step.mask.sum())


def draw_reference(reference: Reference) -> np.ndarray:
    """Return the image, and beside it the image with mask outlines, parts and points.

    Returns:
        (H', 2 W', 3) uint8 RGB, enlarged to at least 336 rows.
    """
    height, width = reference.mask.shape
    scale = max(1, -(-MIN_SHOWN_HEIGHT // height))

    def enlarge(image: np.ndarray) -> np.ndarray:
        return cv2.resize(image, (width * scale, height * scale), interpolation=cv2.INTER_NEAREST)

    plain = enlarge(reference.image)
    shown = enlarge(np.where(reference.mask[..., None], reference.image, reference.image // 3))
    for mask in (reference.mask, *reference.parts):
        outlines, _ = cv2.findContours(enlarge(mask.astype(np.uint8)), cv2.RETR_LIST,
                                       cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(shown, outlines, -1, OVERLAY_COLOUR, max(1, scale // 4))
    for x, y in reference.points:
        centre = (int((x + 0.5) * scale), int((y + 0.5) * scale))
        cv2.drawMarker(shown, centre, (40, 255, 80), cv2.MARKER_CROSS, 4 * scale, scale)
    return np.hstack([plain, shown])


def describe_reference(reference: Reference) -> str:
    """Return what is in a reference, in words, one fact a line."""
    height, width = reference.mask.shape
    pixels = int(reference.mask.sum())
    points = ' '.join(f'({x:g}, {y:g})' for x, y in reference.points) or 'none'
    parts = ', '.join(f'{int(part.sum())} pixels' for part in reference.parts) or 'none'
    return (f'image   {width} x {height}\n'
            f'mask    {pixels} pixels, {pixels / (height * width):.1%} of the image\n'
            f'parts   {parts}\n'
            f'points  {points}\n'
            f'source  {reference.source}')


def parse_points(text: str) -> list[tuple[float, float]]:
    """Read clicked points from `x,y x,y`.

    Raises:
        ConfigError: if that is not what the text is.
    """
    try:
        points = [tuple(float(value) for value in pair.split(',')) for pair in text.split()]
    except ValueError:
        points = [()]
    if any(len(point) != 2 for point in points):
        raise ConfigError(f"points '{text}' cannot be read; write 'x,y x,y' in pixels of the "
                          "reference, such as '40,24 23,68'")
    return [(point[0], point[1]) for point in points]


def render_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg reference render`."""
    parser.add_argument('--task', required=True, help='task, such as walker_walk')
    add_out(parser, 'folder to write', required=True)
    parser.add_argument('--size', type=whole(16, 4096), default=84,
                        help='side of the image in pixels (84)')
    parser.add_argument('--quality', choices=QUALITIES, default='fast', help='render quality')
    parser.add_argument('--points', type=parse_points, default=[], metavar="'X,Y X,Y'",
                        help='clicked points to store, in pixels')
    parser.add_argument('--clicks', type=whole(0), default=0, metavar='N',
                        help='store N more points, in the middle of the largest bodies (0)')
    parser.add_argument('--camera', default=None, help="camera index or name (the task's)")
    add_seed(parser, 'of the pose')


def run_render(args: argparse.Namespace) -> None:
    """Run `samg reference render`."""
    try:
        camera: int | str | None = int(args.camera or '')
    except ValueError:
        camera = args.camera
    reference = render_reference(args.task, args.size, args.size, args.seed, args.quality,
                                 args.points, camera, args.clicks)
    reference.save(args.out, args.overwrite)
    write_picture(args.out / 'overlay.png', draw_reference(reference)[..., ::-1])
    print(describe_reference(reference))
    print(args.out)


def show_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg reference show`."""
    parser.add_argument('reference', type=optional_path,
                        help='a reference folder, or a public <domain>_0.png')
    parser.add_argument('--points', type=parse_points, default=None, metavar="'X,Y X,Y'",
                        help='show these clicked points instead')
    parser.add_argument('--out', action=OutputFile, default=None, help='picture to write (PNG)')
    add_overwrite(parser)


def run_show(args: argparse.Namespace) -> None:
    """Run `samg reference show`."""
    from samg_ros.masking.references.reference import Reference

    reference = Reference.load(args.reference)
    if args.points is not None:
        reference = reference.with_points(args.points)
    if args.out is not None:
        write_picture(args.out, draw_reference(reference)[..., ::-1])
    print(describe_reference(reference))
    if args.out is not None:
        print(args.out)

