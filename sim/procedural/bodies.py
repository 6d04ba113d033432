# SPDX-License-Identifier: Apache-2.0
"""Writes random articulated bodies and their surroundings as MJCF.

Trees of links, cups, balls and hands; no DMControl or Adroit body is among them: those are the
test of what is trained on these.
"""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from samg_ros.sim.visual.backgrounds import random_colour

SKY = 255
FLOOR = 254
FIRST_DISTRACTOR = 100
SECOND_BODY = 50
"""Labels: 1.. parts of the first body, 50.. parts of the second, 100.. distractors, floor, sky."""


def text(*values: float) -> str:
    """Return numbers as MJCF has them."""
    return ' '.join(f'{value:.4f}' for value in values)


class SceneWriter:
    """Writes the MJCF of one random scene."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self._rng = rng
        self._root = ElementTree.Element('mujoco')
        ElementTree.SubElement(self._root, 'compiler', angle='radian')
        visual = ElementTree.SubElement(self._root, 'visual')
        ElementTree.SubElement(visual, 'global', offwidth=str(size), offheight=str(size))
        ElementTree.SubElement(visual, 'quality', offsamples='0', shadowsize='512')
        ElementTree.SubElement(visual, 'headlight', ambient=text(*[rng.uniform(0.1, 0.5)] * 3),
                               diffuse=text(*[rng.uniform(0.1, 0.6)] * 3))
        ElementTree.SubElement(visual, 'map', znear='0.01')
        self._asset = ElementTree.SubElement(self._root, 'asset')
        self._world = ElementTree.SubElement(self._root, 'worldbody')
        self.labels: dict[str, int] = {}

    def write_surroundings(self) -> str:
        """Return the MJCF text of a new scene of floor, sky, lights and distractors alone."""
        self._add_surroundings()
        self._add_distractors(random_colour(self._rng) / 255)
        return ElementTree.tostring(self._root, encoding='unicode')

    def write(self) -> str:
        """Return the MJCF text of a new scene."""
        rng = self._rng
        self._add_surroundings()
        colour = random_colour(rng) / 255
        first = str(rng.choice(['tree', 'hand', 'cup'], p=[0.62, 0.14, 0.24]))
        if first == 'hand':
            self._add_hand('a', 1, colour)
        elif first == 'cup':
            self._add_cup('a', 1, colour)
        else:
            self._add_tree('a', 1, colour, int(rng.integers(1, 10)))
        if rng.random() < (0.8 if first == 'cup' else 0.4):
            other = colour if rng.random() < 0.5 else random_colour(rng) / 255
            if first == 'cup' or rng.random() < 0.3:
                self._add_ball('b', SECOND_BODY, other)
            else:
                self._add_tree('b', SECOND_BODY, other, int(rng.choice([1, 1, 2, 4])))
        self._add_distractors(colour)
        return ElementTree.tostring(self._root, encoding='unicode')

    def _add_distractors(self, colour: npt.NDArray[np.float64]) -> None:
        """Add other bodies, a quarter of them of nearly the given colour."""
        rng = self._rng
        for index in range(int(rng.choice([0, 0, 1, 2, 4]))):
            near = rng.random() < 0.25
            other = np.clip(colour + rng.normal(0, 0.05, 3), 0, 1) if near \
                else random_colour(rng) / 255
            self._add_tree(f'd{index}_', FIRST_DISTRACTOR + 20 * index, other,
                           int(rng.integers(1, 6)))

    def _add_surroundings(self) -> None:
        rng = self._rng
        sky = dict(name='sky', type='skybox', builtin=str(rng.choice(['gradient', 'flat'])),
                   rgb1=text(*random_colour(rng) / 255), rgb2=text(*random_colour(rng) / 255),
                   width='128', height='768')
        if rng.random() < 0.6:
            sky |= dict(mark='random', random=f'{rng.uniform(0.002, 0.05):.3f}',
                        markrgb=text(*random_colour(rng) / 255))
        ElementTree.SubElement(self._asset, 'texture', sky)
        for index in range(3):
            ElementTree.SubElement(
                self._asset, 'texture', name=f'floor{index}', type='2d',
                builtin=str(rng.choice(['checker', 'checker', 'gradient', 'flat'])),
                rgb1=text(*random_colour(rng) / 255), rgb2=text(*random_colour(rng) / 255),
                width='128', height='128', mark=str(rng.choice(['none', 'edge', 'random'])),
                markrgb=text(*random_colour(rng) / 255), random='0.02')
            ElementTree.SubElement(
                self._asset, 'material', name=f'floor{index}', texture=f'floor{index}',
                texrepeat=text(*[rng.uniform(0.5, 4)] * 2), texuniform='true',
                reflectance=f'{rng.choice([0, 0, 0.2, 0.5]):.1f}')
        ElementTree.SubElement(self._world, 'geom', name='floor', type='plane', size='30 30 0.1',
                               material='floor0', pos='0 0 -1')
        for _ in range(int(rng.integers(1, 3))):
            direction = rng.normal(0, 0.6, 3)
            direction[2] = -1
            ElementTree.SubElement(
                self._world, 'light', pos=text(*(-3 * direction)), dir=text(*direction),
                directional=str(rng.choice(['true', 'false'])),
                castshadow='true' if rng.random() < 0.5 else 'false',
                diffuse=text(*np.clip(rng.uniform(0.2, 0.9) + rng.normal(0, 0.05, 3), 0, 1)),
                specular=text(*[rng.uniform(0, 0.4)] * 3))

    def _material(self, name: str, colour: npt.NDArray[np.float64]) -> None:
        rng = self._rng
        attributes = dict(name=name, rgba=text(*colour, 1.0),
                          specular=f'{rng.uniform(0, 1):.2f}', shininess=f'{rng.uniform(0, 1):.2f}')
        if rng.random() < 0.35:
            kind = rng.choice(['flat', 'gradient', 'checker'])
            other = np.clip(colour * rng.uniform(0.6, 1.2), 0, 1) if rng.random() < 0.7 \
                else random_colour(rng) / 255
            ElementTree.SubElement(
                self._asset, 'texture', name=name, type='cube', builtin=str(kind),
                rgb1=text(*colour), rgb2=text(*other), width='64', height='64', mark='random',
                markrgb=text(*other), random=f'{rng.uniform(0.005, 0.3):.3f}')
            attributes |= dict(texture=name, rgba='1 1 1 1')
        ElementTree.SubElement(self._asset, 'material', attributes)

    def _add_root(self, prefix: str) -> ElementTree.Element:
        root = ElementTree.SubElement(self._world, 'body', name=f'{prefix}0', pos='0 0 0')
        ElementTree.SubElement(root, 'freejoint', name=f'{prefix}free')
        return root

    def _add_shape(self, body: ElementTree.Element, name: str, label: int,
                   **attributes: str) -> None:
        ElementTree.SubElement(body, 'geom', attributes, name=name)
        self.labels[name] = label

    def _add_ball(self, prefix: str, label: int, colour: npt.NDArray[np.float64]) -> None:
        """Add a ball, down to two pixels wide."""
        self._material(prefix, colour)
        radius = np.exp(self._rng.uniform(np.log(0.02), np.log(0.12)))
        self._add_shape(self._add_root(prefix), f'{prefix}g0', label, type='sphere',
                        material=prefix, size=f'{radius:.4f}')

    def _add_cup(self, prefix: str, label: int, colour: npt.NDArray[np.float64]) -> None:
        """Add a cup, a hook or a ring: straight pieces along an arc, seen from the side."""
        rng = self._rng
        self._material(prefix, colour)
        root = self._add_root(prefix)
        radius = np.exp(rng.uniform(np.log(0.06), np.log(0.3)))
        thickness = radius * rng.uniform(0.08, 0.3)
        pieces = int(rng.integers(3, 9))
        angles = rng.uniform(-np.pi, 0) + np.linspace(0, rng.uniform(0.6, 2) * np.pi, pieces + 1)
        corners = radius * np.stack([np.cos(angles), 0 * angles, np.sin(angles)], axis=1)
        corners[:, 2] *= rng.uniform(0.6, 1.5)
        shape = str(rng.choice(['capsule', 'box']))
        for index in range(pieces):
            self._add_shape(root, f'{prefix}g{index}', label + index, type=shape, material=prefix,
                            size=f'{thickness:.4f}',
                            fromto=text(*corners[index], *corners[index + 1]))

    def _add_hand(self, prefix: str, label: int, colour: npt.NDArray[np.float64]) -> None:
        """Add a hand: a palm, three to five fingers of three links, often an arm."""
        rng = self._rng
        self._material(prefix, colour)
        other = f'{prefix}m'
        self._material(other, colour if rng.random() < 0.5 else random_colour(rng) / 255)
        root = self._add_root(prefix)
        size = rng.uniform(0.08, 0.25)
        self._add_shape(root, f'{prefix}g0', label, type='box', material=prefix,
                        size=text(size, size * rng.uniform(0.2, 0.5), size))
        if rng.random() < 0.6:
            self._add_shape(root, f'{prefix}g1', label + 1, type='capsule', material=other,
                            size=f'{size * rng.uniform(0.4, 0.8):.4f}',
                            fromto=text(0, 0, -size, 0, 0, -size - rng.uniform(0.2, 1.2)))
        fingers = int(rng.integers(3, 6))
        thickness = size / fingers * rng.uniform(0.5, 0.9)
        for finger in range(fingers):
            body, place = root, np.array([size * (2 * finger / (fingers - 1) - 1), 0, size])
            direction = np.array([rng.normal(0, 0.2), 0, 1])
            for link in range(3):
                index = 2 + 3 * finger + link
                body = ElementTree.SubElement(body, 'body', name=f'{prefix}{index}',
                                              pos=text(*place))
                ElementTree.SubElement(body, 'joint', type='hinge', axis='1 0 0',
                                       name=f'{prefix}j{index}')
                place = direction * size * rng.uniform(0.5, 0.9)
                self._add_shape(body, f'{prefix}g{index}', label + index, type='capsule',
                                material=other if link == 2 else prefix,
                                size=f'{thickness:.4f}', fromto=text(0, 0, 0, *place))

    def _add_tree(self, prefix: str, label: int, colour: npt.NDArray[np.float64],
                  links: int) -> None:
        """Add one articulated body: a random tree of links."""
        rng = self._rng
        planar = rng.random() < 0.6
        thickness = np.exp(rng.uniform(np.log(0.012), np.log(0.16)))
        uniform_colour = rng.random() < 0.6
        self._material(prefix, colour)
        root = self._add_root(prefix)
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
                                              pos=text(*(parent_end * along)))
                axis = np.array([0, 1, 0]) if planar else rng.normal(0, 1, 3)
                ElementTree.SubElement(body, 'joint', type='hinge', axis=text(*axis),
                                       name=f'{prefix}j{index}')
            material = prefix
            if not uniform_colour and rng.random() < 0.6:
                material = f'{prefix}m{index}'
                self._material(material, random_colour(rng) / 255)
            self._add_geom(body, f'{prefix}g{index}', label + index, material, end,
                           thickness * np.exp(rng.normal(0, 0.35)))
            if rng.random() < 0.15:  # a joint, a foot, a marker
                self._add_shape(body, f'{prefix}s{index}', label + index, type='sphere',
                                material=material, pos=text(*end),
                                size=f'{thickness * rng.uniform(0.8, 2):.4f}')
            nodes.append((body, end))

    def _add_geom(self, body: ElementTree.Element, name: str, label: int, material: str,
                  end: npt.NDArray[np.float64], thickness: float) -> None:
        rng = self._rng
        shape = str(rng.choice(['capsule', 'cylinder', 'box', 'ellipsoid', 'sphere'],
                               p=[0.55, 0.1, 0.15, 0.12, 0.08]))
        attributes = dict(type=shape, material=material)
        if shape == 'sphere':
            attributes |= dict(size=f'{min(2.5 * thickness, 0.3):.4f}', pos=text(*(end / 2)))
        elif shape in ('capsule', 'cylinder'):
            attributes |= dict(size=f'{thickness:.4f}', fromto=text(0, 0, 0, *end))
        else:
            attributes |= dict(size=text(thickness * rng.uniform(0.7, 2.5), thickness),
                               fromto=text(0, 0, 0, *end))
        self._add_shape(body, name, label, **attributes)
