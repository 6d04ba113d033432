# SPDX-License-Identifier: Apache-2.0
"""Frames and true masks straight from MuJoCo, as fast as the machine allows.

dm_control's renderer spends nearly all its time at 84 x 84 on a 2048-pixel shadow map, the floor's
reflection and four-fold multisampling. `paper` keeps those and gives the very bytes of
`physics.render`; `fast` leaves them out. The truth is a second pass over the same scene that
paints every geom with its label: no light, no texture, no sky, so it costs a fraction of the first.
"""

from __future__ import annotations

import atexit
import fnmatch
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np

from samg_ros.errors import ConfigError
from samg_ros.sim.gl import (
    call_on_render_thread,
    free_context,
    make_context,
    post_to_render_thread,
    prepare_gl,
)
from samg_ros.sim.tasks import TaskSpec

QUALITIES = ('fast', 'paper')

SKY, FLOOR, OTHER, FIRST_PART = 0, 1, 2, 3
"""Values of a label image; part i of a task is `FIRST_PART + i - 1`."""

_MAX_SCENE_GEOMS = 2000


@dataclass(frozen=True)
class SceneLabels:
    """Which label every geom and site of a model is painted with."""

    geom: np.ndarray
    """(ngeom,) uint8."""
    site: np.ndarray
    """(nsite,) uint8."""


def scene_labels(model: Any, spec: TaskSpec) -> SceneLabels:
    """Return the labels of a task's model.

    Raises:
        ConfigError: if a pattern of the task matches nothing in the model.
    """
    import mujoco

    def names(kind: Any, count: int) -> list[str]:
        return [mujoco.mj_id2name(model, kind, i) or '' for i in range(count)]

    def matches(patterns: tuple[str, ...], all_names: list[str], what: str) -> np.ndarray:
        hits = np.zeros(len(all_names), dtype=bool)
        for pattern in patterns:
            hit = np.array([fnmatch.fnmatchcase(name, pattern) for name in all_names], dtype=bool)
            if not hit.any():
                raise ConfigError(f"task '{spec.name}': its model has no {what} called '{pattern}'")
            hits |= hit
        return hits

    geom_names = names(mujoco.mjtObj.mjOBJ_GEOM, model.ngeom)
    body_names = names(mujoco.mjtObj.mjOBJ_BODY, model.nbody)
    geom = np.full(model.ngeom, OTHER, dtype=np.uint8)
    site = np.full(model.nsite, OTHER, dtype=np.uint8)
    for name in spec.floor_geoms:
        geom[[fnmatch.fnmatchcase(other, name) for other in geom_names]] = FLOOR
    for label, geoms, bodies in (
            (FLOOR, (), spec.floor_bodies),
            *((label, part.geoms, part.bodies)
              for label, part in enumerate(spec.parts, start=FIRST_PART))):
        inside = matches(bodies, body_names, 'body')
        for body in range(1, model.nbody):  # parents come before their children
            inside[body] |= bool(model.body_parentid[body] and inside[model.body_parentid[body]])
        geom[inside[model.geom_bodyid]] = label
        site[inside[model.site_bodyid]] = label
        geom[matches(geoms, geom_names, 'geom')] = label
    return SceneLabels(geom, site)


class Renderer:
    """Renders one camera of one model; any thread may call it, one at a time.

    Args:
        model: `mujoco.MjModel`.
        data: `mujoco.MjData`.
        camera_id: camera of the model, by index or name; -1 is the free camera.
        height: pixels.
        width: pixels.
        quality: `paper` or `fast`.
        multisample: false leaves out multisampling in `paper` too, so that every pixel shows one
            geom and a composite has no fringes.

    Raises:
        ConfigError: if the quality, the size or the camera is not usable.
    """

    def __init__(self, model: Any, data: Any, *, camera_id: int | str, height: int, width: int,
                 quality: str = 'fast', multisample: bool = True) -> None:
        prepare_gl()
        import mujoco

        if quality not in QUALITIES:
            raise ConfigError(f"render quality '{quality}' is not one of {', '.join(QUALITIES)}")
        if height < 1 or width < 1:
            raise ConfigError(f'a frame of {height} x {width} pixels cannot be rendered; '
                              'both must be at least 1')
        if isinstance(camera_id, str):
            index = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, camera_id)
        else:
            index = camera_id
        if not -1 <= index < model.ncam or (isinstance(camera_id, str) and index < 0):
            raise ConfigError(f"the model has no camera '{camera_id}'; it has {model.ncam}")
        self.model, self.data = model, data
        self._fast = quality == 'fast'
        self._multisample = multisample and not self._fast
        self._option = mujoco.MjvOption()
        self._option.flags[mujoco.mjtVisFlag.mjVIS_RANGEFINDER] = False  # as dm_control does
        self._perturb = mujoco.MjvPerturb()
        self._camera = mujoco.MjvCamera()
        if index == -1:
            self._camera.type = mujoco.mjtCamera.mjCAMERA_FREE
            mujoco.mjv_defaultFreeCamera(model, self._camera)
        else:
            self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
            self._camera.fixedcamid = index
        self._scene = mujoco.MjvScene(model, _MAX_SCENE_GEOMS)
        flags = mujoco.mjtRndFlag
        if self._fast:
            self._scene.flags[flags.mjRND_SHADOW] = False
            self._scene.flags[flags.mjRND_REFLECTION] = False
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._rgb = np.empty((height, width, 3), dtype=np.uint8)
        self._contexts: tuple[Any, Any] | None = None
        self._finalizer: weakref.finalize[..., Any] | None = None

    def render(self, labels: SceneLabels | None = None, *, sky: bool = True,
               ) -> tuple[np.ndarray, np.ndarray | None]:
        """Render the present state.

        Args:
            labels: what to paint in the label image; None leaves that pass out.
            sky: false leaves the sky black, which is quicker, for callers that replace it.

        Returns:
            Frame (H, W, 3) uint8 RGB, and label image (H, W) uint8 or None.
        """
        return call_on_render_thread(self._render, labels, sky)

    def upload_textures(self) -> None:
        """Give the GPU the model's textures again, after they were changed."""
        if self._contexts is not None:
            call_on_render_thread(self._upload_textures)

    def close(self) -> None:
        """Free the OpenGL context; the next frame would make a new one."""
        contexts, self._contexts = self._contexts, None
        if contexts is not None and self._finalizer is not None and self._finalizer.detach():
            call_on_render_thread(free_context, *contexts)

    def _make_contexts(self) -> tuple[Any, Any]:
        global_, quality = self.model.vis.global_, self.model.vis.quality
        before = (global_.offwidth, global_.offheight, quality.offsamples, quality.shadowsize)
        global_.offwidth, global_.offheight = self._rect.width, self._rect.height
        if not self._multisample:
            quality.offsamples = 0
        if self._fast:
            quality.shadowsize = 1
        try:
            contexts = make_context(self.model, self._rect.width, self._rect.height)
        finally:
            global_.offwidth, global_.offheight, quality.offsamples, quality.shadowsize = before
        self._finalizer = weakref.finalize(self, post_to_render_thread, free_context, *contexts)
        self._finalizer.atexit = False
        atexit.register(_close_at_exit, weakref.ref(self))  # runs before dm_control's own hook
        return contexts

    def _render(self, labels: SceneLabels | None, sky: bool,
                ) -> tuple[np.ndarray, np.ndarray | None]:
        import mujoco
        if self._contexts is None:
            self._contexts = self._make_contexts()
        gl, context = self._contexts
        flags, scene = mujoco.mjtRndFlag, self._scene
        mujoco.mjv_updateScene(self.model, self.data, self._option, self._perturb, self._camera,
                               mujoco.mjtCatBit.mjCAT_ALL, scene)
        with gl.make_current():
            scene.flags[flags.mjRND_SKYBOX] = sky
            mujoco.mjr_render(self._rect, scene, context)
            mujoco.mjr_readPixels(self._rgb, None, self._rect, context)
            frame = self._rgb[::-1].copy()  # OpenGL's first row is the bottom one
            if labels is None:
                return frame, None
            self._paint_labels(labels)
            scene.flags[flags.mjRND_SEGMENT] = scene.flags[flags.mjRND_IDCOLOR] = True
            mujoco.mjr_render(self._rect, scene, context)
            scene.flags[flags.mjRND_SEGMENT] = scene.flags[flags.mjRND_IDCOLOR] = False
            mujoco.mjr_readPixels(self._rgb, None, self._rect, context)
        return frame, self._rgb[::-1, :, 0].copy()

    def _paint_labels(self, labels: SceneLabels) -> None:
        """Make each geom's segmentation id its label: MuJoCo then paints colour (id + 1, 0, 0)."""
        import mujoco
        kinds = {int(mujoco.mjtObj.mjOBJ_GEOM): labels.geom, int(mujoco.mjtObj.mjOBJ_SITE):
                 labels.site}
        for i in range(self._scene.ngeom):
            geom = self._scene.geoms[i]
            table = kinds.get(geom.objtype)
            geom.segid = int(OTHER if table is None else table[geom.objid]) - 1

    def _upload_textures(self) -> None:
        import mujoco
        assert self._contexts is not None
        gl, context = self._contexts
        with gl.make_current():
            for texture in range(self.model.ntex):
                mujoco.mjr_uploadTexture(self.model, context, texture)


def _close_at_exit(renderer: weakref.ref[Renderer]) -> None:
    alive = renderer()
    if alive is not None:
        alive.close()
