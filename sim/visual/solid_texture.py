# SPDX-License-Identifier: Apache-2.0
"""A texture that fills space, so that it covers any body without texture coordinates.

MuJoCo's models bring their own textures and cannot take another one after they are compiled. A
solid texture (Peachey 1985) needs only the point of the body that a pixel shows, which depth and
pose give, so it sticks to every limb whatever its shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from samg_ros.sim.render import scene_eye

_WAVES = 4
_WAVELENGTHS = (0.1, 0.6)
"""Shortest and longest, in units of the robot's picture: see `SolidTexture.paint`."""
_BRIGHTER = 1.25


@dataclass(frozen=True, eq=False)
class SolidTexture:
    """Blobs and stripes in two colours: the sign of a sum of plane waves."""

    waves: npt.NDArray[np.float32]
    """(K, 3) wave vectors, radians per unit."""
    phases: npt.NDArray[np.float32]
    """(K,) radians."""
    colours: npt.NDArray[np.float32]
    """(2, 3) in 0..1."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> SolidTexture:
        """Draw a texture."""
        directions = rng.standard_normal((_WAVES, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        lengths = rng.uniform(*_WAVELENGTHS, (_WAVES, 1))
        return cls((2 * np.pi * directions / lengths).astype(np.float32),
                   rng.uniform(0, 2 * np.pi, _WAVES).astype(np.float32),
                   rng.uniform(0, 1, (2, 3)).astype(np.float32))

    def paint(self, frame: np.ndarray, where: np.ndarray, points: np.ndarray,
              strength: float) -> None:
        """Paint a frame in place; what was darker stays darker.

        Args:
            frame: (H, W, 3) uint8, changed.
            where: (H, W) bool.
            points: (P, 3) float32, the point that each of those pixels shows in the frame of its
                geom, in units of about the robot's size.
            strength: 0 leaves the frame, 1 leaves nothing of the old colour.
        """
        side = np.cos(points @ self.waves.T + self.phases).sum(axis=1) > 0
        old = frame[where].astype(np.float32)
        new = self.colours[side.astype(np.intp)] * (_BRIGHTER * old.max(axis=1, keepdims=True))
        mixed = (1 - strength) * old + strength * new
        frame[where] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


def points_on_geoms(scene: Any, geoms: np.ndarray, depth: np.ndarray, where: np.ndarray,
                    ) -> npt.NDArray[np.float32]:
    """Return the points that pixels show, each in the frame of the geom that it belongs to.

    Args:
        scene: `mujoco.MjvScene` as it was drawn.
        geoms: (H, W) int, index into the scene's geoms.
        depth: (H, W) float32 as `mjr_readPixels` gives it, 0 near and 1 far.
        where: (H, W) bool, the pixels that are wanted; each shows a geom.

    Returns:
        (P, 3) float32 in metres.
    """
    height, width = depth.shape
    eye = scene_eye(scene)
    near, far = scene.camera[0].frustum_near, scene.camera[0].frustum_far
    rows, columns = np.nonzero(where)
    away = near * far / (far - depth[rows, columns] * (far - near))
    focal = height / 2 / eye.half_height
    right = (columns + 0.5 - width / 2) / focal
    above = (height / 2 - rows - 0.5) / focal
    rays = eye.forward + right[:, None] * np.cross(eye.forward, eye.up) + above[:, None] * eye.up
    world = eye.position + away[:, None] * rays
    shown, index = np.unique(geoms[rows, columns], return_inverse=True)
    places = np.array([scene.geoms[i].pos for i in shown.tolist()]).reshape(-1, 3)
    turns = np.array([scene.geoms[i].mat for i in shown.tolist()]).reshape(-1, 3, 3)
    local = np.einsum('pij,pi->pj', turns[index], world - places[index])
    return local.astype(np.float32)
