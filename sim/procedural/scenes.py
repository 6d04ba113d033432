# SPDX-License-Identifier: Apache-2.0
"""Procedural MuJoCo scenes: random articulated bodies in random places, with true labels.

This is what `mini` learns from. A scene is written as MJCF, posed at random and rendered from a
jittered camera; every geom has its own label, so that "the same part of the same body" is known
between any two frames of a scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import mujoco
import numpy as np
import numpy.typing as npt

from samg_ros.errors import ConfigError
from samg_ros.sim.procedural.bodies import FIRST_DISTRACTOR, FLOOR, SECOND_BODY, SKY, SceneWriter
from samg_ros.sim.procedural.meshes import Subject, mesh_subject
from samg_ros.sim.procedural.painter import Image, Painter

Labels = npt.NDArray[np.uint8]
MOST_SCENES = 200
FAR_OR_NEAR_SHARE = 0.25
"""Share of frames whose camera is up to three times nearer or farther than the scene's."""


@dataclass(frozen=True)
class SceneFrames:
    """Frames of one scene.

    Attributes:
        images: (n, size, size, 3) uint8 RGB.
        labels: (n, size, size) uint8, see the constants of `bodies`.
    """

    images: Image
    labels: Labels


def _pose(rng: np.random.Generator, model: mujoco.MjModel, data: mujoco.MjData,
          nominal: npt.NDArray[np.float64], spread: float) -> None:
    """Draw a pose near (small `spread`) or far from the nominal one."""
    for joint in range(model.njnt):
        address = model.jnt_qposadr[joint]
        if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE:
            data.qpos[address:address + 3] = nominal[address:address + 3] \
                + spread * rng.normal(0, 0.25, 3)
            axis = np.array([0.0, 1.0, 0.0]) if rng.random() < 0.7 else rng.normal(0, 1, 3)
            axis /= np.linalg.norm(axis) + 1e-9
            turn = np.zeros(4)
            mujoco.mju_axisAngle2Quat(turn, axis, spread * rng.normal(0, 0.8))
            mujoco.mju_mulQuat(data.qpos[address + 3:address + 7], turn,
                               nominal[address + 3:address + 7])
        else:
            data.qpos[address] = nominal[address] + spread * rng.normal(0, 0.8)
            if model.jnt_limited[joint]:
                data.qpos[address] = np.clip(data.qpos[address], *model.jnt_range[joint])
    mujoco.mj_kinematics(model, data)
    mujoco.mj_camlight(model, data)


def _nominal(rng: np.random.Generator, model: mujoco.MjModel) -> npt.NDArray[np.float64]:
    nominal = np.array(model.qpos0)
    for joint in range(model.njnt):
        address = model.jnt_qposadr[joint]
        if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE:
            first = model.joint(joint).name.startswith('a')
            spread = 0.15 if first else float(rng.choice([0.25, 0.8]))
            nominal[address:address + 3] = rng.normal(0, spread, 3)
        elif model.jnt_limited[joint]:
            nominal[address] = rng.uniform(*model.jnt_range[joint])
        else:
            nominal[address] = rng.normal(0, 0.6)
    return nominal


def _written_subject(rng: np.random.Generator, size: int) -> Subject:
    """Return a scene of random geoms."""
    writer = SceneWriter(rng, size)
    model = mujoco.MjModel.from_xml_string(writer.write())
    labels = np.full(model.ngeom, SKY, np.uint8)
    for name, label in writer.labels.items():
        labels[model.geom(name).id] = label
    return Subject(model, labels, np.zeros(3), 1.0)


def render_scene(rng: np.random.Generator, count: int, size: int = 84, absent: int = 0,
                 meshes: Sequence[Path] = ()) -> SceneFrames:
    """Build one random scene and render it in several poses.

    Args:
        rng: source of randomness; the same state gives the same frames.
        count: frames to render.
        size: side of a frame in pixels.
        absent: how many of them, the last ones, show the same place, light and distractors
            without the bodies.
        meshes: MJCF files of robots and objects; one of them stands in the scene. None: a body of
            random geoms.

    Returns:
        Frames in which the first body covers 0.4 to 45 % of the picture; poses that do not are
        drawn again, and a scene that yields none is replaced by the next one.

    Raises:
        ConfigError: if MOST_SCENES in a row yield none.
    """
    for _ in range(MOST_SCENES):
        scale = int(rng.choice([1, 1, 2]))  # a third of the scenes is antialiased
        subject = mesh_subject(rng, size * scale, meshes[int(rng.integers(len(meshes)))]) \
            if meshes else _written_subject(rng, size * scale)
        frames = None if subject is None else _render_poses(rng, subject, count, absent, size,
                                                            scale)
        if frames is not None:
            return frames
    raise ConfigError(f'{MOST_SCENES} scenes in a row show nothing of their body; give other MJCF '
                      f'files than {", ".join(map(str, meshes[:3]))}')


class _Lights:
    """The lights of a model, as they were built; each frame has them a little different."""

    def __init__(self, model: mujoco.MjModel) -> None:
        headlight = model.vis.headlight
        self._values = (model.light_diffuse, headlight.diffuse, headlight.ambient)
        self._built = [np.array(value) for value in self._values]

    def vary(self, rng: np.random.Generator) -> None:
        for value, built in zip(self._values, self._built, strict=True):
            value[:] = np.clip(built * np.exp(rng.normal(0, 0.25)), 0, 1)


def _hide(model: mujoco.MjModel, geoms: npt.NDArray[np.bool_]) -> None:
    """Make geoms invisible; MuJoCo draws nothing of what is fully transparent."""
    model.geom_matid[geoms] = -1
    model.geom_rgba[geoms] = 0


def _render_poses(rng: np.random.Generator, subject: Subject, count: int, absent: int, size: int,
                  scale: int) -> SceneFrames | None:
    model = subject.model
    data = mujoco.MjData(model)
    lookup = np.append(subject.labels, np.uint8(SKY))  # the last entry is "no geom"
    floor = model.geom('floor').id
    lookup[floor] = FLOOR
    nominal = _nominal(rng, model)
    shadows = bool(rng.random() < 0.5)
    camera = mujoco.MjvCamera()
    azimuth, elevation = rng.uniform(0, 360), -rng.uniform(-3, 55) * rng.choice([0.3, 1.0])
    if rng.random() < 0.5:
        azimuth = 90 + rng.normal(0, 10)  # planar bodies seen from the side
    turn = float(rng.choice([4, 20]))
    model.vis.global_.fovy = rng.uniform(25, 70)
    distance = subject.extent * rng.uniform(0.35, 1.3) / np.tan(
        np.radians(model.vis.global_.fovy) / 2)
    offset = rng.normal(0, 0.12, 3) * subject.extent
    lights = _Lights(model)
    images: list[Image] = []
    truths: list[Labels] = []
    with Painter(model, size * scale) as painter:
        for _ in range(6 * count):
            if len(images) == count:
                break
            if len(images) == count - absent:
                _hide(model, subject.labels < FIRST_DISTRACTOR)
            _pose(rng, model, data, nominal, float(rng.choice([0.15, 0.6, 1.0])))
            lights.vary(rng)
            model.geom_matid[floor] = model.material(f'floor{rng.integers(3)}').id
            follow = subject.place(data) if rng.random() < 0.5 else subject.centre
            camera.lookat[:] = follow + offset + rng.normal(0, 0.05, 3) * subject.extent
            camera.azimuth = azimuth + rng.normal(0, turn)
            camera.elevation = elevation + rng.normal(0, 3)
            nearness = rng.uniform(-np.log(3), np.log(3)) if rng.random() < FAR_OR_NEAR_SHARE \
                else rng.normal(0, 0.08)
            camera.distance = distance * np.exp(nearness)
            truth = lookup[painter.geom_ids(data, camera)]  # -1, no geom, reads the last entry
            share = float((truth < SECOND_BODY).mean())
            if len(images) < count - absent and not 0.004 <= share <= 0.45:
                continue
            image = painter.image(data, camera, shadows)
            if scale > 1:
                image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
                truth = np.ascontiguousarray(truth[scale // 2::scale, scale // 2::scale])
            images.append(image)
            truths.append(truth)
    if len(images) < count:
        return None
    return SceneFrames(np.stack(images), np.stack(truths))
