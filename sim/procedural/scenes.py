# SPDX-License-Identifier: Apache-2.0
"""Procedural MuJoCo scenes: random articulated bodies in random places, with true labels.

This is what `mini` learns from. A scene is written as MJCF, posed at random and rendered from a
jittered camera; every geom has its own label, so that "the same part of the same body" is known
between any two frames of a scene.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import mujoco
import numpy as np
import numpy.typing as npt

from samg_ros.sim.procedural.bodies import FLOOR, SECOND_BODY, SKY, SceneWriter
from samg_ros.sim.procedural.painter import Image, Painter

Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class SceneFrames:
    """Frames of one scene.

    Attributes:
        images: (n, size, size, 3) uint8 RGB.
        labels: (n, size, size) uint8, see the constants of this module.
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
        else:
            nominal[address] = rng.normal(0, 0.6)
    return nominal


def render_scene(rng: np.random.Generator, count: int, size: int = 84) -> SceneFrames:
    """Build one random scene and render it in several poses.

    Args:
        rng: source of randomness; the same state gives the same frames.
        count: frames to render.
        size: side of a frame in pixels.

    Returns:
        Frames in which the first body covers 0.4 to 45 % of the picture; poses that do not are
        drawn again, and a scene that yields none is replaced by the next one.
    """
    while True:
        scale = int(rng.choice([1, 1, 2]))  # a third of the scenes is antialiased
        writer = SceneWriter(rng, size * scale)
        model = mujoco.MjModel.from_xml_string(writer.write())
        frames = _render_poses(rng, model, writer.labels, count, size, scale)
        if frames is not None:
            return frames


def _render_poses(rng: np.random.Generator, model: mujoco.MjModel, labels: dict[str, int],
                  count: int, size: int, scale: int) -> SceneFrames | None:
    data = mujoco.MjData(model)
    lookup = np.full(model.ngeom + 1, SKY, np.uint8)  # the last entry is "no geom"
    for name, label in labels.items():
        lookup[model.geom(name).id] = label
    floor = model.geom('floor').id
    lookup[floor] = FLOOR
    nominal = _nominal(rng, model)
    shadows = bool(rng.random() < 0.5)
    camera = mujoco.MjvCamera()
    azimuth, elevation = rng.uniform(0, 360), -rng.uniform(-3, 55) * rng.choice([0.3, 1.0])
    if rng.random() < 0.5:
        azimuth = 90 + rng.normal(0, 10)  # planar bodies seen from the side
    model.vis.global_.fovy = rng.uniform(25, 70)
    distance = rng.uniform(0.35, 1.3) / np.tan(np.radians(model.vis.global_.fovy) / 2)
    offset = rng.normal(0, 0.12, 3)
    images: list[Image] = []
    truths: list[Labels] = []
    with Painter(model, size * scale) as painter:
        for _ in range(3 * count):
            if len(images) == count:
                break
            _pose(rng, model, data, nominal, float(rng.choice([0.15, 0.6, 1.0])))
            model.geom_matid[floor] = model.material(f'floor{rng.integers(3)}').id
            follow = data.body('a0').xpos if rng.random() < 0.5 else nominal[:3]
            camera.lookat[:] = follow + offset + rng.normal(0, 0.05, 3)
            camera.azimuth = azimuth + rng.normal(0, 4)
            camera.elevation = elevation + rng.normal(0, 3)
            camera.distance = distance * np.exp(rng.normal(0, 0.08))
            truth = lookup[painter.geom_ids(data, camera)]  # -1, no geom, reads the last entry
            share = float((truth < SECOND_BODY).mean())
            if not 0.004 <= share <= 0.45:
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
