# SPDX-License-Identifier: Apache-2.0
"""What else can change between training and use: light, camera pose, looks, things in view, camera.

Everything happens to the scene that is about to be drawn or to the picture afterwards, never to
the model, so rewards and physics stay bit for bit those of the undisturbed task. The kinds follow
the Distracting Control Suite (arXiv 2101.02722) and RL-ViGen (arXiv 2307.10224); those of the
object itself are in `object_changes`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from samg_ros.errors import ConfigError
from samg_ros.sim.render import FIRST_PART, Eye, Rendering, SceneLabels, scene_eye
from samg_ros.sim.visual.object_changes import ObjectChanges
from samg_ros.sim.visual.solid_texture import SolidTexture, points_on_geoms

_Vector = npt.NDArray[np.float64]

LIGHT_TURN, LIGHT_COLOUR = math.radians(60), 0.6
CAMERA_ORBIT, CAMERA_ROLL = math.radians(15), math.radians(8)
DISTRACTORS, DISTRACTOR_SIZE = 8, 0.06
NOISE_SIGMA = 40.0
BLUR_LENGTH = 0.12
"""Full strength: radians; share of a colour; number, and radius as a share of the distance between
camera and robot; grey levels of 255; share of the picture's height."""


@dataclass(frozen=True)
class Nuisances:
    """How strong each disturbance is, from 0, not there, to 1.

    Raises:
        ConfigError: if a strength is not in 0..1.
    """

    light: float = 0.0
    """Direction (up to 60 degrees) and colour (up to 60 %) of every light; by episode."""
    camera: float = 0.0
    """Camera pose: orbit about the robot (up to 15 degrees) and roll (8); by episode."""
    body_texture: float = 0.0
    """Blend from the robot's own looks to a two-coloured solid texture; by episode."""
    distractors: float = 0.0
    """Moving coloured solids in view, up to eight; by episode."""
    sensor_noise: float = 0.0
    """Gaussian noise, up to 40 grey levels, independent in every pixel and frame."""
    motion_blur: float = 0.0
    """Blur along a line as of a camera that shakes, up to 12 % of the height; by frame."""
    body_colour: float = 0.0
    """Blend from the object's own colours to shades of another one; by episode."""
    body_size: float = 0.0
    """The object larger or smaller, up to 1.6 times; by episode."""
    double: float = 0.0
    """A second object beside the first, from nothing to its size; by episode."""
    cover: float = 0.0
    """A bar before the object, over up to 60 % of its width; by episode."""

    def __post_init__(self) -> None:
        for field in fields(self):
            strength = getattr(self, field.name)
            if not isinstance(strength, (int, float)) or not 0 <= strength <= 1:
                raise ConfigError(f'nuisance {field.name} is {strength!r}; '
                                  'a strength is a number from 0 to 1')

    @classmethod
    def of(cls, strengths: Nuisances | Mapping[str, float] | None) -> Nuisances:
        """Return nuisances from their strengths by name, such as {'light': 0.5}; None is none.

        Raises:
            ConfigError: if a name or a strength is not usable.
        """
        if isinstance(strengths, Nuisances):
            return strengths
        known = [field.name for field in fields(cls)]
        for name in strengths or {}:
            if name not in known:
                raise ConfigError(f"no nuisance is called '{name}'; known: {', '.join(known)}")
        return cls(**(strengths or {}))

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in fields(self))


def parse_nuisance(text: str) -> tuple[str, float]:
    """Read `kind=strength` from a command line.

    Raises:
        ConfigError: if that is not what the text is.
    """
    name, _, strength = text.partition('=')
    try:
        return name, float(strength)
    except ValueError:
        raise ConfigError(f"nuisance '{text}' cannot be read; write KIND=STRENGTH, such as "
                          'light=0.5') from None


class Disturbance:
    """The nuisances of one environment; `next_episode` comes before everything else.

    Args:
        nuisances: strengths.
        seed: of everything drawn.
    """

    def __init__(self, nuisances: Nuisances, seed: int) -> None:
        self.nuisances = nuisances
        self._object = ObjectChanges(nuisances.body_colour, nuisances.body_size,
                                     nuisances.double, nuisances.cover)
        self.seed(seed)

    @property
    def textured(self) -> bool:
        """Whether `paint_body` needs a rendering with its surface."""
        return self.nuisances.body_texture > 0

    @property
    def painted(self) -> bool:
        """Whether `paint_body` has something to do, and needs a rendering with its labels."""
        return self.textured or self.nuisances.body_colour > 0

    def seed(self, seed: int) -> None:
        """Start the randomness anew."""
        self._rng = np.random.default_rng([seed, 0x5A3])  # not the stream of colours or videos
        self._object_rng = np.random.default_rng([seed, 0x0B7])

    def next_episode(self) -> None:
        """Draw what stays the same for an episode.

        As much is drawn at every strength, so one kind's strength leaves the others as they are.
        """
        rng, strengths = self._rng, self.nuisances
        self._light_turn = _rotation(_direction(rng), LIGHT_TURN * strengths.light * rng.uniform())
        self._light_colour = 1 + LIGHT_COLOUR * strengths.light * rng.uniform(-1, 1, 3)
        self._orbit = CAMERA_ORBIT * strengths.camera * rng.uniform(-1, 1, 2)
        self._roll = CAMERA_ROLL * strengths.camera * rng.uniform(-1, 1)
        self._texture = SolidTexture.draw(rng)
        solids = [_Solid.draw(rng) for _ in range(DISTRACTORS)]
        self._solids = solids[:math.ceil(DISTRACTORS * strengths.distractors)]
        self._camera_rng = np.random.default_rng(rng.integers(2**63))
        self._object.next_episode(self._object_rng)

    def change_scene(self, scene: Any, centre: _Vector, step: int, labels: SceneLabels) -> None:
        """Turn lights and camera of a scene that is about to be drawn, and put solids into it.

        The object is changed with it.

        Args:
            scene: `mujoco.MjvScene`, fresh from `mjv_updateScene`.
            centre: (3,) where the robot is, metres.
            step: agent steps since the reset; the solids move with it.
            labels: which of the model's geoms and sites are the object.
        """
        if self.nuisances.light:
            for light in scene.lights[:scene.nlight]:
                light.dir[:] = self._light_turn @ light.dir
                light.diffuse[:] *= self._light_colour
        eye = scene_eye(scene)
        distance = max(float((centre - eye.position) @ eye.forward), 1e-3)
        if self.nuisances.camera:
            turn = _rotation(eye.up, self._orbit[0]) @ _rotation(np.cross(eye.forward, eye.up),
                                                                 self._orbit[1])
            forward = turn @ eye.forward
            up = _rotation(forward, self._roll) @ turn @ eye.up
            for camera in scene.camera:
                camera.pos[:] += distance * (eye.forward - forward)
                camera.forward[:], camera.up[:] = forward, up
        # The solids stand where the undisturbed camera sees them: the nuisances do not mix.
        self._unit = distance * eye.half_height
        for solid in self._solids:
            solid.put_into(scene, eye, distance, step)
        self._object.change_scene(scene, scene_eye(scene), labels)

    def paint_body(self, rendering: Rendering, scene: Any) -> None:
        """Paint the robot's pixels of a rendering's frame, in place.

        Args:
            rendering: with its labels where `painted`, with its surface where `textured`.
            scene: as it was drawn.
        """
        if not self.painted:
            return
        assert rendering.labels is not None
        if self.nuisances.body_colour:
            self._object.paint(rendering.frame, rendering.labels)
        if not self.textured:
            return
        assert rendering.geoms is not None and rendering.depth is not None
        where = rendering.labels >= FIRST_PART
        points = points_on_geoms(scene, rendering.geoms, rendering.depth, where)
        self._texture.paint(rendering.frame, where, points / np.float32(self._unit),
                            self.nuisances.body_texture)

    def change_picture(self, frame: np.ndarray) -> np.ndarray:
        """Return the picture as a worse camera takes it, (H, W, 3) uint8 like the one given."""
        rng, strengths = self._camera_rng, self.nuisances
        if strengths.motion_blur:
            length = BLUR_LENGTH * strengths.motion_blur * len(frame)
            frame = cv2.filter2D(frame, -1, _line_kernel(length, rng.uniform(0, math.pi)),
                                 borderType=cv2.BORDER_REPLICATE)
        if strengths.sensor_noise:
            noise = rng.standard_normal(frame.shape, dtype=np.float32)
            noise *= NOISE_SIGMA * strengths.sensor_noise
            frame = np.clip(np.rint(noise + frame), 0, 255).astype(np.uint8)
        return frame


@dataclass(frozen=True)
class _Solid:
    """A coloured solid in front of the camera, swinging about its place."""

    kind: int
    place: _Vector
    """Right and up in half-heights of the picture, and distance in distances of the robot."""
    swing: _Vector
    """How far it swings, in the units of `place`."""
    period: float
    """Agent steps."""
    turn: _Vector
    """(3, 3)"""
    stretch: _Vector
    """(3,)"""
    colour: tuple[float, float, float, float]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> _Solid:
        import mujoco
        kinds = (mujoco.mjtGeom.mjGEOM_SPHERE, mujoco.mjtGeom.mjGEOM_BOX,
                 mujoco.mjtGeom.mjGEOM_CAPSULE, mujoco.mjtGeom.mjGEOM_CYLINDER)
        red, green, blue = rng.uniform(0, 1, 3)
        return cls(int(kinds[rng.integers(len(kinds))]),
                   np.append(rng.uniform(-0.9, 0.9, 2), rng.uniform(0.75, 1.25)),
                   np.append(rng.uniform(-0.2, 0.2, 2), 0.0), rng.uniform(40, 200),
                   _rotation(_direction(rng), rng.uniform(0, math.pi)), rng.uniform(0.4, 1.2, 3),
                   (red, green, blue, 1.0))

    def put_into(self, scene: Any, eye: Eye, distance: float, step: int) -> None:
        import mujoco
        right, above, away = self.place + self.swing * math.sin(2 * math.pi * step / self.period)
        sideways = right * np.cross(eye.forward, eye.up) + above * eye.up
        centre = eye.position + away * distance * (eye.forward + eye.half_height * sideways)
        geom = scene.geoms[scene.ngeom]
        mujoco.mjv_initGeom(geom, self.kind, DISTRACTOR_SIZE * distance * self.stretch, centre,
                            self.turn.reshape(-1), np.array(self.colour, dtype=np.float32))
        # These are left as they were when the place belonged to another geom.
        geom.objtype, geom.objid = mujoco.mjtObj.mjOBJ_UNKNOWN, -1
        geom.category = mujoco.mjtCatBit.mjCAT_DECOR
        scene.ngeom += 1


def _direction(rng: np.random.Generator) -> _Vector:
    vector = rng.standard_normal(3)
    unit: _Vector = vector / np.linalg.norm(vector)
    return unit


def _rotation(axis: _Vector, angle: float) -> _Vector:
    """Return the (3, 3) matrix that turns by radians about a unit axis."""
    matrix: _Vector = cv2.Rodrigues(axis * angle)[0]
    return matrix


def _line_kernel(length: float, angle: float) -> npt.NDArray[np.float32]:
    """Return a filter that smears along a line of that many pixels; its sum is 1."""
    radius = math.ceil(length / 2)
    rows, columns = np.mgrid[-radius:radius + 1, -radius:radius + 1]
    along = columns * math.cos(angle) + rows * math.sin(angle)
    across = rows * math.cos(angle) - columns * math.sin(angle)
    kernel = np.clip(length / 2 + 0.5 - abs(along), 0, 1) * np.clip(1 - abs(across), 0, 1)
    return (kernel / kernel.sum()).astype(np.float32)
