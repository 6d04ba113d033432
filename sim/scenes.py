# SPDX-License-Identifier: Apache-2.0
"""Procedural MuJoCo scenes: random articulated bodies in random places, with true labels.

This is what `mini` learns from. No DMControl or Adroit body is among them: those are its test.
A scene is written as MJCF, posed at random and rendered from a jittered camera; every geom has its
own label, so that "the same part of the same body" is known between any two frames of a scene.
"""

from __future__ import annotations

import atexit
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from xml.etree import ElementTree

import cv2
import mujoco
import numpy as np
import numpy.typing as npt

from samg_ros.sim.backgrounds import random_colour
from samg_ros.sim.gl import call_on_render_thread, prepare_gl

SKY = 255
FLOOR = 254
FIRST_DISTRACTOR = 100
SECOND_BODY = 50
"""Labels: 1.. parts of the first body, 50.. parts of the second, 100.. distractors, floor, sky."""

Labels = npt.NDArray[np.uint8]
Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class SceneFrames:
    """Frames of one scene.

    Attributes:
        images: (n, size, size, 3) uint8 RGB.
        labels: (n, size, size) uint8, see the constants of this module.
    """

    images: Image
    labels: Labels


def _text(*values: float) -> str:
    return ' '.join(f'{value:.4f}' for value in values)


class _Painter:
    """Draws one model in this process's one OpenGL context for scenes.

    A context a model, as `mujoco.Renderer` has it, compiles its shaders anew: 0.3 s a scene.
    """

    def __init__(self, model: mujoco.MjModel, size: int) -> None:
        self._model = model
        self._scene = mujoco.MjvScene(model, 400)
        self._option = mujoco.MjvOption()
        self._viewport = mujoco.MjrRect(0, 0, size, size)
        self._gl = _open_gl()
        self._context = call_on_render_thread(self._make_context)

    def _make_context(self) -> mujoco.MjrContext:
        with self._gl.make_current():
            context = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_50.value)
            mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, context)
        return context

    def _draw(self, data: mujoco.MjData, camera: mujoco.MjvCamera,
              flags: dict[mujoco.mjtRndFlag, bool]) -> Image:
        mujoco.mjv_updateScene(self._model, data, self._option, None, camera,
                               mujoco.mjtCatBit.mjCAT_ALL.value, self._scene)
        for flag, value in flags.items():
            self._scene.flags[flag] = value
        pixels = np.empty((self._viewport.height, self._viewport.width, 3), np.uint8)
        with self._gl.make_current():
            mujoco.mjr_render(self._viewport, self._scene, self._context)
            mujoco.mjr_readPixels(pixels, None, self._viewport, self._context)
        return pixels[::-1].copy()

    def image(self, data: mujoco.MjData, camera: mujoco.MjvCamera, shadows: bool) -> Image:
        """Return (size, size, 3) uint8 RGB."""
        flags = {mujoco.mjtRndFlag.mjRND_SHADOW: shadows,
                 mujoco.mjtRndFlag.mjRND_REFLECTION: shadows,
                 mujoco.mjtRndFlag.mjRND_SEGMENT: False, mujoco.mjtRndFlag.mjRND_IDCOLOR: False}
        return call_on_render_thread(self._draw, data, camera, flags)

    def geom_ids(self, data: mujoco.MjData, camera: mujoco.MjvCamera) -> npt.NDArray[np.int64]:
        """Return (size, size) geom ids, -1 where there is none."""
        flags = {mujoco.mjtRndFlag.mjRND_SHADOW: False, mujoco.mjtRndFlag.mjRND_REFLECTION: False,
                 mujoco.mjtRndFlag.mjRND_SEGMENT: True, mujoco.mjtRndFlag.mjRND_IDCOLOR: True}
        code = call_on_render_thread(self._draw, data, camera, flags).astype(np.int64)
        segment = code[..., 0] + 256 * code[..., 1] + 65536 * code[..., 2]
        ids = np.full(self._scene.ngeom + 1, -1, np.int64)
        for geom in self._scene.geoms[:self._scene.ngeom]:
            if geom.segid >= 0 and geom.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                ids[geom.segid + 1] = geom.objid
        return ids[segment]

    def close(self) -> None:
        """Give the textures and buffers back."""
        call_on_render_thread(self._close)

    def _close(self) -> None:
        from OpenGL import GL  # chooses its platform on import, as prepare_gl has it
        with self._gl.make_current():
            self._context.free()
            GL.glGetError()  # freeing a buffer without multisampling leaves a harmless error


@lru_cache(maxsize=1)
def _open_gl() -> Any:
    prepare_gl()
    from dm_control import _render
    gl = call_on_render_thread(_render.Renderer, 16, 16)
    atexit.register(call_on_render_thread, gl.free)  # before dm_control's hook, on its own thread
    return gl


def _painter(model: mujoco.MjModel, size: int) -> closing[_Painter]:
    return closing(_Painter(model, size))


class _SceneWriter:
    """Writes the MJCF of one random scene."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self._rng = rng
        self._root = ElementTree.Element('mujoco')
        ElementTree.SubElement(self._root, 'compiler', angle='radian')
        visual = ElementTree.SubElement(self._root, 'visual')
        ElementTree.SubElement(visual, 'global', offwidth=str(size), offheight=str(size))
        ElementTree.SubElement(visual, 'quality', offsamples='0', shadowsize='512')
        ElementTree.SubElement(visual, 'headlight', ambient=_text(*[rng.uniform(0.1, 0.5)] * 3),
                               diffuse=_text(*[rng.uniform(0.1, 0.6)] * 3))
        ElementTree.SubElement(visual, 'map', znear='0.01')
        self._asset = ElementTree.SubElement(self._root, 'asset')
        self._world = ElementTree.SubElement(self._root, 'worldbody')
        self.labels: dict[str, int] = {}

    def write(self) -> str:
        """Return the MJCF text of a new scene."""
        rng = self._rng
        self._add_surroundings()
        colour = random_colour(rng) / 255
        self._add_body('a', 1, colour, int(rng.integers(1, 10)), movable=True)
        if rng.random() < 0.4:
            other = colour if rng.random() < 0.4 else random_colour(rng) / 255
            self._add_body('b', SECOND_BODY, other, int(rng.choice([1, 1, 2, 4])), movable=True)
        for index in range(int(rng.choice([0, 0, 1, 2, 4]))):
            near = rng.random() < 0.25
            other = np.clip(colour + rng.normal(0, 0.05, 3), 0, 1) if near \
                else random_colour(rng) / 255
            self._add_body(f'd{index}_', FIRST_DISTRACTOR + 20 * index, other,
                           int(rng.integers(1, 6)), movable=True)
        return ElementTree.tostring(self._root, encoding='unicode')

    def _add_surroundings(self) -> None:
        rng = self._rng
        sky = dict(name='sky', type='skybox', builtin=str(rng.choice(['gradient', 'flat'])),
                   rgb1=_text(*random_colour(rng) / 255), rgb2=_text(*random_colour(rng) / 255),
                   width='128', height='768')
        if rng.random() < 0.6:
            sky |= dict(mark='random', random=f'{rng.uniform(0.002, 0.05):.3f}',
                        markrgb=_text(*random_colour(rng) / 255))
        ElementTree.SubElement(self._asset, 'texture', sky)
        for index in range(3):
            ElementTree.SubElement(
                self._asset, 'texture', name=f'floor{index}', type='2d',
                builtin=str(rng.choice(['checker', 'checker', 'gradient', 'flat'])),
                rgb1=_text(*random_colour(rng) / 255), rgb2=_text(*random_colour(rng) / 255),
                width='128', height='128', mark=str(rng.choice(['none', 'edge', 'random'])),
                markrgb=_text(*random_colour(rng) / 255), random='0.02')
            ElementTree.SubElement(
                self._asset, 'material', name=f'floor{index}', texture=f'floor{index}',
                texrepeat=_text(*[rng.uniform(0.5, 4)] * 2), texuniform='true',
                reflectance=f'{rng.choice([0, 0, 0.2, 0.5]):.1f}')
        ElementTree.SubElement(self._world, 'geom', name='floor', type='plane', size='30 30 0.1',
                               material='floor0', pos='0 0 -1')
        for _ in range(int(rng.integers(1, 3))):
            direction = rng.normal(0, 0.6, 3)
            direction[2] = -1
            ElementTree.SubElement(
                self._world, 'light', pos=_text(*(-3 * direction)), dir=_text(*direction),
                directional=str(rng.choice(['true', 'false'])),
                castshadow='true' if rng.random() < 0.5 else 'false',
                diffuse=_text(*np.clip(rng.uniform(0.2, 0.9) + rng.normal(0, 0.05, 3), 0, 1)),
                specular=_text(*[rng.uniform(0, 0.4)] * 3))

    def _material(self, name: str, colour: npt.NDArray[np.float64]) -> None:
        rng = self._rng
        attributes = dict(name=name, rgba=_text(*colour, 1.0),
                          specular=f'{rng.uniform(0, 1):.2f}', shininess=f'{rng.uniform(0, 1):.2f}')
        if rng.random() < 0.35:
            kind = rng.choice(['flat', 'gradient', 'checker'])
            other = np.clip(colour * rng.uniform(0.6, 1.2), 0, 1) if rng.random() < 0.7 \
                else random_colour(rng) / 255
            ElementTree.SubElement(
                self._asset, 'texture', name=name, type='cube', builtin=str(kind),
                rgb1=_text(*colour), rgb2=_text(*other), width='64', height='64', mark='random',
                markrgb=_text(*other), random=f'{rng.uniform(0.005, 0.3):.3f}')
            attributes |= dict(texture=name, rgba='1 1 1 1')
        ElementTree.SubElement(self._asset, 'material', attributes)

    def _add_body(self, prefix: str, label: int, colour: npt.NDArray[np.float64], links: int,
                  movable: bool) -> None:
        """Add one articulated body: a random tree of links."""
        rng = self._rng
        planar = rng.random() < 0.6
        thickness = np.exp(rng.uniform(np.log(0.015), np.log(0.16)))
        uniform_colour = rng.random() < 0.6
        self._material(prefix, colour)
        root = ElementTree.SubElement(self._world, 'body', name=f'{prefix}0', pos='0 0 0')
        if movable:
            ElementTree.SubElement(root, 'freejoint', name=f'{prefix}free')
        nodes: list[tuple[ElementTree.Element, npt.NDArray[np.float64]]] = []
        for index in range(links):
            direction = rng.normal(0, 1, 3)
            if planar:
                direction[1] = 0
            direction /= np.linalg.norm(direction) + 1e-9
            length = rng.uniform(0.12, 0.6) * (1 if links > 1 else rng.choice([0.2, 0.5, 1]))
            end = direction * length
            if index == 0:
                body = root
            else:
                parent, parent_end = nodes[int(rng.integers(max(0, index - 3), index))]
                along = 1.0 if rng.random() < 0.7 else rng.uniform(0, 1)
                body = ElementTree.SubElement(parent, 'body', name=f'{prefix}{index}',
                                              pos=_text(*(parent_end * along)))
                axis = np.array([0, 1, 0]) if planar else rng.normal(0, 1, 3)
                ElementTree.SubElement(body, 'joint', type='hinge', axis=_text(*axis),
                                       name=f'{prefix}j{index}')
            material = prefix
            if not uniform_colour and rng.random() < 0.6:
                material = f'{prefix}m{index}'
                self._material(material, random_colour(rng) / 255)
            self._add_geom(body, f'{prefix}g{index}', label + index, material, end,
                           thickness * np.exp(rng.normal(0, 0.35)))
            if rng.random() < 0.15:  # a joint, a foot, a marker
                ElementTree.SubElement(
                    body, 'geom', name=f'{prefix}s{index}', type='sphere', material=material,
                    size=f'{thickness * rng.uniform(0.8, 2):.4f}', pos=_text(*end))
                self.labels[f'{prefix}s{index}'] = label + index
            nodes.append((body, end))

    def _add_geom(self, body: ElementTree.Element, name: str, label: int, material: str,
                  end: npt.NDArray[np.float64], thickness: float) -> None:
        rng = self._rng
        shape = str(rng.choice(['capsule', 'cylinder', 'box', 'ellipsoid', 'sphere'],
                               p=[0.55, 0.1, 0.15, 0.12, 0.08]))
        attributes = dict(name=name, type=shape, material=material)
        if shape == 'sphere':
            attributes |= dict(size=f'{min(2.5 * thickness, 0.3):.4f}', pos=_text(*(end / 2)))
        elif shape in ('capsule', 'cylinder'):
            attributes |= dict(size=f'{thickness:.4f}', fromto=_text(0, 0, 0, *end))
        else:
            attributes |= dict(size=_text(thickness * rng.uniform(0.7, 2.5), thickness),
                               fromto=_text(0, 0, 0, *end))
        ElementTree.SubElement(body, 'geom', attributes)
        self.labels[name] = label


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
            nominal[address:address + 3] = rng.normal(0, 0.15 if first else 0.8, 3)
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
        writer = _SceneWriter(rng, size * scale)
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
    with _painter(model, size * scale) as painter:
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


def render_room(rng: np.random.Generator, count: int, size: int = 112) -> Image:
    """Render a furnished room from several viewpoints, as a background.

    Args:
        rng: source of randomness.
        count: frames to render.
        size: side of a frame in pixels.

    Returns:
        (count, size, size, 3) uint8 RGB.
    """
    root = ElementTree.Element('mujoco')
    visual = ElementTree.SubElement(root, 'visual')
    ElementTree.SubElement(visual, 'global', offwidth=str(size), offheight=str(size))
    ElementTree.SubElement(visual, 'quality', offsamples='0', shadowsize='512')
    ElementTree.SubElement(visual, 'headlight', ambient=_text(*[rng.uniform(0.1, 0.4)] * 3),
                           diffuse=_text(*[rng.uniform(0.1, 0.5)] * 3))
    ElementTree.SubElement(visual, 'map', znear='0.01')
    asset = ElementTree.SubElement(root, 'asset')
    world = ElementTree.SubElement(root, 'worldbody')
    materials = int(rng.integers(5, 12))
    for index in range(materials):
        colour = random_colour(rng) / 255
        other = np.clip(colour * rng.uniform(0.5, 1.4), 0, 1)
        ElementTree.SubElement(asset, 'texture', name=f'm{index}', type='cube',
                               builtin=str(rng.choice(['checker', 'gradient', 'flat'])),
                               rgb1=_text(*colour), rgb2=_text(*other), width='64', height='64',
                               mark=str(rng.choice(['none', 'edge', 'random', 'cross'])),
                               markrgb=_text(*random_colour(rng) / 255),
                               random=f'{rng.uniform(0.01, 0.3):.3f}')
        ElementTree.SubElement(asset, 'material', name=f'm{index}', texture=f'm{index}',
                               texuniform='true', texrepeat=_text(*[rng.uniform(0.3, 4)] * 2),
                               specular=f'{rng.uniform(0, 1):.2f}',
                               shininess=f'{rng.uniform(0, 1):.2f}',
                               emission=f'{rng.choice([0, 0, 0, 0.8]):.1f}',
                               reflectance=f'{rng.choice([0, 0, 0.2]):.1f}')
    half = rng.uniform(1.5, 4, 3) * (1, 1, 0.5)
    walls = [((0, 0, -half[2]), (half[0], half[1], 0.02)), ((0, 0, half[2]),
             (half[0], half[1], 0.02)), ((half[0], 0, 0), (0.02, half[1], half[2])),
             ((-half[0], 0, 0), (0.02, half[1], half[2])), ((0, half[1], 0),
             (half[0], 0.02, half[2])), ((0, -half[1], 0), (half[0], 0.02, half[2]))]
    for position, half_sides in walls:
        extent = np.array(half_sides)
        ElementTree.SubElement(world, 'geom', type='box', pos=_text(*position),
                               size=_text(*extent), material=f'm{rng.integers(materials)}')
        for _ in range(int(rng.integers(0, 4))):  # windows, doors, pictures, shelves
            flat = extent < 0.05
            spot = np.array(position) + rng.uniform(-0.8, 0.8, 3) * extent * ~flat
            panel = np.where(flat, rng.uniform(0.025, 0.1),
                             extent * rng.uniform(0.05, 0.35, 3))
            ElementTree.SubElement(world, 'geom', type='box', pos=_text(*spot), size=_text(*panel),
                                   material=f'm{rng.integers(materials)}')
    for _ in range(int(rng.integers(4, 26))):  # furniture and what stands on it
        spot = rng.uniform(-0.9, 0.9, 3) * half
        shape = str(rng.choice(['box', 'box', 'cylinder', 'ellipsoid', 'capsule', 'sphere']))
        extent = np.exp(rng.normal(-1.6, 0.8, 3)).clip(0.01, 1)
        if rng.random() < 0.7:
            spot[2] = -half[2] + extent[2] * (1 if shape == 'box' else 0.5)
        turn = rng.normal(0, 1, 3) if rng.random() < 0.3 \
            else np.array([0, 0, rng.uniform(0, 180)])
        ElementTree.SubElement(world, 'geom', type=shape, pos=_text(*spot), size=_text(*extent),
                               euler=_text(*turn), material=f'm{rng.integers(materials)}')
    for _ in range(int(rng.integers(1, 4))):
        ElementTree.SubElement(world, 'light', pos=_text(*(rng.uniform(-0.7, 0.7, 3) * half)),
                               dir=_text(*rng.normal(0, 0.5, 2), -1), cutoff='100',
                               castshadow=str(rng.choice(['true', 'false'])),
                               diffuse=_text(*[rng.uniform(0.3, 0.9)] * 3))
    model = mujoco.MjModel.from_xml_string(ElementTree.tostring(root, encoding='unicode'))
    model.vis.global_.fovy = rng.uniform(40, 75)
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    mujoco.mj_camlight(model, data)
    camera = mujoco.MjvCamera()
    images = []
    with _painter(model, size) as painter:
        for _ in range(count):
            camera.lookat[:] = rng.uniform(-0.5, 0.5, 3) * half
            camera.azimuth, camera.elevation = rng.uniform(0, 360), rng.normal(-5, 10)
            camera.distance = rng.uniform(0.2, 0.9) * float(half[:2].min())
            images.append(painter.image(data, camera, shadows=True))
    return np.stack(images)
