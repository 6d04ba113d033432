# SPDX-License-Identifier: Apache-2.0
"""What else can happen to the object itself: another colour or size, a double, something before it.

Like all nuisances it is done to the scene that is about to be drawn, or to the picture, so the
truth follows: the pixels of the resized object, of what is not covered, and none of the double.
"""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
import numpy.typing as npt

from samg_ros.sim.render import FIRST_PART, Eye, SceneLabels

_Vector = npt.NDArray[np.float64]

LARGEST = 1.6
COVERED = 0.6
DOUBLE_AT = 0.75
COVER_AT = 0.8
"""Full strength: by how much larger or smaller; share of the width covered. How far the double
stands aside, in half-heights of the picture; how far the cover is, in distances of the object."""

_COPIED = ('category', 'dataid', 'emission', 'matid', 'reflectance', 'shininess', 'specular',
           'texcoord')


class ObjectChanges:
    """The changes of one object; `next_episode` comes before everything else.

    Args:
        colour: strength of the recolouring, like the others from 0 to 1.
        size: of the resizing.
        double: of the doubling.
        cover: of the covering.
    """

    def __init__(self, colour: float, size: float, double: float, cover: float) -> None:
        self.colour, self.size, self.double, self.cover = colour, size, double, cover

    def next_episode(self, rng: np.random.Generator) -> None:
        """Draw what stays the same for an episode, as much at every strength."""
        self._colour = np.array(colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(0.6, 1), 1.0))
        self._factor = LARGEST ** (self.size * rng.choice((-1, 1)))
        self._side = float(rng.choice((-1, 1)))
        self._place = rng.uniform()
        self._cover_colour = rng.uniform(0, 1, 3)

    def change_scene(self, scene: Any, eye: Eye, labels: SceneLabels) -> None:
        """Resize, double and cover the object in a scene that is about to be drawn.

        Args:
            scene: `mujoco.MjvScene`.
            eye: where it is seen from.
            labels: which of the model's geoms and sites are the object.
        """
        if not (self.size or self.double or self.cover):
            return
        object_geoms = _object_geoms(scene, labels)
        if not object_geoms:
            return
        centre = np.mean([geom.pos for geom in object_geoms], axis=0)
        right = np.cross(eye.forward, eye.up)
        if self.size:
            for geom in object_geoms:
                _resize(geom, centre, self._factor)
        if self.double:
            distance = float((centre - eye.position) @ eye.forward)
            aside = self._side * DOUBLE_AT * eye.half_height * distance * right
            for geom in object_geoms:
                _resize(_copy(scene, geom), centre, self.double, aside)
        if self.cover:
            self._put_before(scene, eye, right, object_geoms)

    def paint(self, frame: np.ndarray, labels: np.ndarray) -> None:
        """Give the object's pixels another colour, shading kept, in place.

        Args:
            frame: (H, W, 3) uint8 RGB.
            labels: (H, W) uint8, see `render`.
        """
        where = labels >= FIRST_PART
        own = frame[where].astype(np.float32)
        other = own.max(axis=1, keepdims=True) * self._colour
        frame[where] = np.rint((1 - self.colour) * own + self.colour * other).astype(np.uint8)

    def _put_before(self, scene: Any, eye: Eye, right: _Vector, object_geoms: list[Any]) -> None:
        import mujoco
        axes = np.stack([right, eye.up], axis=1)
        low, high = np.full(2, np.inf), np.full(2, -np.inf)
        nearest = np.inf
        for geom in object_geoms:
            towards = geom.pos - eye.position
            depth = max(float(towards @ eye.forward), 1e-3)
            middle = towards @ axes / depth
            half = geom.size @ np.abs(geom.mat.T @ axes) / depth
            low, high = np.minimum(low, middle - half), np.maximum(high, middle + half)
            nearest = min(nearest, depth)
        low, high = np.clip((low, high), -eye.half_height, eye.half_height)
        covered = (high - low) * (COVERED * self.cover, 1)
        middle = low + covered / 2 + (high - low - covered) * (self._place, 0)
        depth = COVER_AT * nearest
        thickness = 0.01 * depth
        place = eye.position + depth * (eye.forward + middle[0] * right + middle[1] * eye.up)
        turn = np.stack([right, eye.up, -eye.forward], axis=1)
        mujoco.mjv_initGeom(scene.geoms[scene.ngeom], mujoco.mjtGeom.mjGEOM_BOX,
                            (*(covered / 2 * depth), thickness), place, turn.reshape(-1),
                            np.append(self._cover_colour, 1).astype(np.float32))
        _add_as_background(scene)


def _object_geoms(scene: Any, labels: SceneLabels) -> list[Any]:
    import mujoco
    tables = {int(mujoco.mjtObj.mjOBJ_GEOM): labels.geom, int(mujoco.mjtObj.mjOBJ_SITE):
              labels.site}
    return [geom for geom in scene.geoms[:scene.ngeom]
            if geom.objtype in tables and tables[geom.objtype][geom.objid] >= FIRST_PART]


def _resize(geom: Any, centre: _Vector, factor: float, aside: _Vector | float = 0.0) -> None:
    """Draw a geom larger about a centre; its matrix scales meshes too, which have no size."""
    geom.pos[:] = centre + factor * (geom.pos - centre) + aside
    geom.mat[:] *= factor


def _copy(scene: Any, geom: Any) -> Any:
    """Append a copy of a geom to a scene, which is no part of the object."""
    import mujoco
    copy = scene.geoms[scene.ngeom]
    mujoco.mjv_initGeom(copy, geom.type, geom.size, geom.pos, geom.mat.reshape(-1), geom.rgba)
    copy.size[:] = geom.size  # which mjv_initGeom reads otherwise for some types
    for name in _COPIED:
        setattr(copy, name, getattr(geom, name))
    _add_as_background(scene)
    return copy


def _add_as_background(scene: Any) -> None:
    """Count the geom behind the last one in, as none of the model's."""
    import mujoco
    geom = scene.geoms[scene.ngeom]
    geom.objtype, geom.objid = mujoco.mjtObj.mjOBJ_UNKNOWN, -1
    scene.ngeom += 1
