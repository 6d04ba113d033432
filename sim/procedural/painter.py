# SPDX-License-Identifier: Apache-2.0
"""Renders procedural scenes. Each scene is a MuJoCo model of its own."""

from __future__ import annotations

import mujoco
import numpy as np
import numpy.typing as npt

from samg_ros.sim.gl import call_on_render_thread, drawing, free_context, make_context

Image = npt.NDArray[np.uint8]


class Painter:
    """Renders pictures of one MuJoCo model, and which geom each of their pixels shows.

    Args:
        model: the model.
        size: side of the square pictures in pixels.
    """

    def __init__(self, model: mujoco.MjModel, size: int) -> None:
        self._model = model
        self._scene = mujoco.MjvScene(model, 400)
        self._option = mujoco.MjvOption()
        self._viewport = mujoco.MjrRect(0, 0, size, size)
        self._context = call_on_render_thread(make_context, model)

    def _draw(self, data: mujoco.MjData, camera: mujoco.MjvCamera,
              flags: dict[mujoco.mjtRndFlag, bool]) -> Image:
        mujoco.mjv_updateScene(self._model, data, self._option, None, camera,
                               mujoco.mjtCatBit.mjCAT_ALL.value, self._scene)
        for flag, value in flags.items():
            self._scene.flags[flag] = value
        pixels = np.empty((self._viewport.height, self._viewport.width, 3), np.uint8)
        with drawing(self._context):
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

    def __enter__(self) -> Painter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the textures and buffers back."""
        call_on_render_thread(free_context, self._context)
