# SPDX-License-Identifier: Apache-2.0
"""Furnished rooms, rendered as backgrounds: what real videos behind a robot mostly show."""

from __future__ import annotations

from xml.etree import ElementTree

import mujoco
import numpy as np
import numpy.typing as npt

from samg_ros.sim.procedural.bodies import text
from samg_ros.sim.procedural.painter import Image, Painter
from samg_ros.sim.visual.backgrounds import random_colour


def render_room(rng: np.random.Generator, count: int, size: int = 112) -> Image:
    """Render a furnished room from several viewpoints, as a background.

    Args:
        rng: source of randomness.
        count: frames to render.
        size: side of a frame in pixels.

    Returns:
        (count, size, size, 3) uint8 RGB.
    """
    xml, half = _write_room(rng, size)
    model = mujoco.MjModel.from_xml_string(xml)
    model.vis.global_.fovy = rng.uniform(40, 75)
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    mujoco.mj_camlight(model, data)
    camera = mujoco.MjvCamera()
    images = []
    with Painter(model, size) as painter:
        for _ in range(count):
            camera.lookat[:] = rng.uniform(-0.5, 0.5, 3) * half
            camera.azimuth, camera.elevation = rng.uniform(0, 360), rng.normal(-5, 10)
            camera.distance = rng.uniform(0.2, 0.9) * float(half[:2].min())
            images.append(painter.image(data, camera, shadows=True))
    return np.stack(images)


def _write_room(rng: np.random.Generator, size: int) -> tuple[str, npt.NDArray[np.float64]]:
    """Return MJCF and half the sides in metres, (3,), of a random room."""
    root = ElementTree.Element('mujoco')
    visual = ElementTree.SubElement(root, 'visual')
    ElementTree.SubElement(visual, 'global', offwidth=str(size), offheight=str(size))
    ElementTree.SubElement(visual, 'quality', offsamples='0', shadowsize='512')
    ElementTree.SubElement(visual, 'headlight', ambient=text(*[rng.uniform(0.1, 0.4)] * 3),
                           diffuse=text(*[rng.uniform(0.1, 0.5)] * 3))
    ElementTree.SubElement(visual, 'map', znear='0.01')
    asset = ElementTree.SubElement(root, 'asset')
    world = ElementTree.SubElement(root, 'worldbody')
    materials = _add_materials(rng, asset)
    half = rng.uniform(1.5, 4, 3) * (1, 1, 0.5)
    _add_walls(rng, world, half, materials)
    _add_furniture(rng, world, half, materials)
    for _ in range(int(rng.integers(1, 4))):
        ElementTree.SubElement(world, 'light', pos=text(*(rng.uniform(-0.7, 0.7, 3) * half)),
                               dir=text(*rng.normal(0, 0.5, 2), -1), cutoff='100',
                               castshadow=str(rng.choice(['true', 'false'])),
                               diffuse=text(*[rng.uniform(0.3, 0.9)] * 3))
    return ElementTree.tostring(root, encoding='unicode'), half


def _add_materials(rng: np.random.Generator, asset: ElementTree.Element) -> int:
    """Add materials m0, m1, ...; returns how many."""
    materials = int(rng.integers(5, 12))
    for index in range(materials):
        colour = random_colour(rng) / 255
        other = np.clip(colour * rng.uniform(0.5, 1.4), 0, 1)
        ElementTree.SubElement(asset, 'texture', name=f'm{index}', type='cube',
                               builtin=str(rng.choice(['checker', 'gradient', 'flat'])),
                               rgb1=text(*colour), rgb2=text(*other), width='64', height='64',
                               mark=str(rng.choice(['none', 'edge', 'random', 'cross'])),
                               markrgb=text(*random_colour(rng) / 255),
                               random=f'{rng.uniform(0.01, 0.3):.3f}')
        ElementTree.SubElement(asset, 'material', name=f'm{index}', texture=f'm{index}',
                               texuniform='true', texrepeat=text(*[rng.uniform(0.3, 4)] * 2),
                               specular=f'{rng.uniform(0, 1):.2f}',
                               shininess=f'{rng.uniform(0, 1):.2f}',
                               emission=f'{rng.choice([0, 0, 0, 0.8]):.1f}',
                               reflectance=f'{rng.choice([0, 0, 0.2]):.1f}')
    return materials


def _add_walls(rng: np.random.Generator, world: ElementTree.Element,
               half: npt.NDArray[np.float64], materials: int) -> None:
    walls = [((0, 0, -half[2]), (half[0], half[1], 0.02)), ((0, 0, half[2]),
             (half[0], half[1], 0.02)), ((half[0], 0, 0), (0.02, half[1], half[2])),
             ((-half[0], 0, 0), (0.02, half[1], half[2])), ((0, half[1], 0),
             (half[0], 0.02, half[2])), ((0, -half[1], 0), (half[0], 0.02, half[2]))]
    for position, half_sides in walls:
        extent = np.array(half_sides)
        ElementTree.SubElement(world, 'geom', type='box', pos=text(*position),
                               size=text(*extent), material=f'm{rng.integers(materials)}')
        for _ in range(int(rng.integers(0, 4))):  # windows, doors, pictures, shelves
            flat = extent < 0.05
            spot = np.array(position) + rng.uniform(-0.8, 0.8, 3) * extent * ~flat
            panel = np.where(flat, rng.uniform(0.025, 0.1),
                             extent * rng.uniform(0.05, 0.35, 3))
            ElementTree.SubElement(world, 'geom', type='box', pos=text(*spot), size=text(*panel),
                                   material=f'm{rng.integers(materials)}')


def _add_furniture(rng: np.random.Generator, world: ElementTree.Element,
                   half: npt.NDArray[np.float64], materials: int) -> None:
    for _ in range(int(rng.integers(4, 26))):  # furniture and what stands on it
        spot = rng.uniform(-0.9, 0.9, 3) * half
        shape = str(rng.choice(['box', 'box', 'cylinder', 'ellipsoid', 'capsule', 'sphere']))
        extent = np.exp(rng.normal(-1.6, 0.8, 3)).clip(0.01, 1)
        if rng.random() < 0.7:
            spot[2] = -half[2] + extent[2] * (1 if shape == 'box' else 0.5)
        turn = rng.normal(0, 1, 3) if rng.random() < 0.3 \
            else np.array([0, 0, rng.uniform(0, 180)])
        ElementTree.SubElement(world, 'geom', type=shape, pos=text(*spot), size=text(*extent),
                               euler=text(*turn), material=f'm{rng.integers(materials)}')
