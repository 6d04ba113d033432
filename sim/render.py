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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from samg_ros.errors import ConfigError
from samg_ros.sim.gl import (
    call_on_render_thread,
    drawing,
    free_context,
    make_context,
    post_to_render_thread,
    prepare_gl,
)
from samg_ros.sim.tasks import TaskSpec

QUALITIES = ('fast', 'paper')

SKY, FLOOR, OTHER, FIRST_PART = 0, 1, 2, 3
"""Values of a label image; part i of a task is `FIRST_PART + i - 1`."""

HIDDEN_GROUP = 5
"""MuJoCo draws groups 0 to 2 by default, so never this one."""

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
    site_names = names(mujoco.mjtObj.mjOBJ_SITE, model.nsite)
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
    for label, part in enumerate(spec.parts, start=FIRST_PART):
        site[matches(part.sites, site_names, 'site')] = label
    return SceneLabels(geom, site)


class Rendering(NamedTuple):
    """What the renderer returns: a picture and, if asked for, labels, geoms and depth."""

    frame: np.ndarray
    """(H, W, 3) uint8 RGB."""
    labels: np.ndarray | None = None
    """(H, W) uint8; None without labels."""
    geoms: np.ndarray | None = None
    """(H, W) int32, which geom of `Renderer.scene` shows, -1 for none; None unless asked for."""
    depth: np.ndarray | None = None
    """(H, W) float32 as OpenGL has it, 0 near and 1 far; None unless asked for."""


class Eye(NamedTuple):
    """The camera of a scene; its right is forward x up."""

    position: np.ndarray
    """(3,) metres."""
    forward: np.ndarray
    """(3,)"""
    up: np.ndarray
    """(3,)"""
    half_height: float
    """Of the picture, in units of the distance."""


def scene_eye(scene: Any) -> Eye:
    """Return where a `mujoco.MjvScene` is seen from: the middle of its two stereo cameras."""
    left, right = scene.camera
    return Eye((np.array(left.pos, float) + right.pos) / 2, np.array(left.forward, float),
               np.array(left.up, float), left.frustum_top / left.frustum_near)


class Renderer:
    """Renders cameras of one model; any thread may call it, one at a time.

    Args:
        model: `mujoco.MjModel`.
        data: `mujoco.MjData`.
        camera_id: camera of the model, by index or name; -1 is the free camera.
        more_cameras: further ones.
        height: pixels.
        width: pixels.
        quality: `paper` or `fast`.
        multisample: false leaves out multisampling in `paper` too, so that every pixel shows one
            geom and a composite has no fringes.

    Raises:
        ConfigError: if the quality, the size or the camera is not usable.
    """

    def __init__(self, model: Any, data: Any, *, camera_id: int | str, height: int, width: int,
                 quality: str = 'fast', multisample: bool = True,
                 more_cameras: Sequence[int | str] = ()) -> None:
        prepare_gl()
        import mujoco

        if quality not in QUALITIES:
            raise ConfigError(f"render quality '{quality}' is not one of {', '.join(QUALITIES)}")
        if height < 1 or width < 1:
            raise ConfigError(f'a frame of {height} x {width} pixels cannot be rendered; '
                              'both must be at least 1')
        self.model, self.data = model, data
        self._fast = quality == 'fast'
        self._multisample = multisample and not self._fast
        self._option = mujoco.MjvOption()
        self._option.flags[mujoco.mjtVisFlag.mjVIS_RANGEFINDER] = False  # as dm_control does
        self._perturb = mujoco.MjvPerturb()
        self._cameras = [_camera(model, wanted) for wanted in (camera_id, *more_cameras)]
        self.scene = mujoco.MjvScene(model, _MAX_SCENE_GEOMS)
        flags = mujoco.mjtRndFlag
        if self._fast:
            self.scene.flags[flags.mjRND_SHADOW] = False
            self.scene.flags[flags.mjRND_REFLECTION] = False
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._rgb = np.empty((height, width, 3), dtype=np.uint8)
        self._context: Any = None
        self._finalizer: weakref.finalize[..., Any] | None = None

    def render(self, labels: SceneLabels | None = None, *, sky: bool = True, camera: int = 0,
               change_scene: Callable[[Any], None] | None = None, surface: bool = False,
               ) -> Rendering:
        """Render the present state.

        Args:
            labels: what to paint in the label image; None leaves that pass out.
            sky: false leaves the sky black, which is quicker, for callers that replace it.
            camera: 0 for `camera_id`, i for the i-th of `more_cameras`.
            change_scene: called with the scene before it is drawn.
            surface: give geoms and depth as well, which needs labels.
        """
        return call_on_render_thread(self._render, labels, sky, camera, change_scene, surface)

    def upload_textures(self) -> None:
        """Give the GPU the model's textures again, after they were changed."""
        if self._context is not None:
            call_on_render_thread(self._upload_textures)

    def close(self) -> None:
        """Free buffers and textures; the next frame would make new ones."""
        context, self._context = self._context, None
        if context is not None and self._finalizer is not None and self._finalizer.detach():
            call_on_render_thread(free_context, context)

    def _make_context(self) -> Any:
        global_, quality = self.model.vis.global_, self.model.vis.quality
        before = (global_.offwidth, global_.offheight, quality.offsamples, quality.shadowsize)
        global_.offwidth, global_.offheight = self._rect.width, self._rect.height
        if not self._multisample:
            quality.offsamples = 0
        if self._fast:
            quality.shadowsize = 1
        try:
            context = make_context(self.model)
        finally:
            global_.offwidth, global_.offheight, quality.offsamples, quality.shadowsize = before
        self._finalizer = weakref.finalize(self, post_to_render_thread, free_context, context)
        self._finalizer.atexit = False
        atexit.register(_close_at_exit, weakref.ref(self))  # runs before dm_control's own hook
        return context

    def _render(self, labels: SceneLabels | None, sky: bool, camera: int,
                change_scene: Callable[[Any], None] | None, surface: bool) -> Rendering:
        import mujoco
        if self._context is None:
            self._context = self._make_context()
        context = self._context
        flags, scene = mujoco.mjtRndFlag, self.scene
        mujoco.mjv_updateScene(self.model, self.data, self._option, self._perturb,
                               self._cameras[camera], mujoco.mjtCatBit.mjCAT_ALL, scene)
        if change_scene is not None:
            change_scene(scene)
        with drawing(context):
            scene.flags[flags.mjRND_SKYBOX] = sky
            mujoco.mjr_render(self._rect, scene, context)
            mujoco.mjr_readPixels(self._rgb, None, self._rect, context)
            frame = self._rgb[::-1].copy()  # OpenGL's first row is the bottom one
            if labels is None:
                return Rendering(frame)
            self._paint_labels(labels)
            depth = np.empty(self._rgb.shape[:2], dtype=np.float32) if surface else None
            scene.flags[flags.mjRND_SEGMENT] = scene.flags[flags.mjRND_IDCOLOR] = True
            mujoco.mjr_render(self._rect, scene, context)
            scene.flags[flags.mjRND_SEGMENT] = scene.flags[flags.mjRND_IDCOLOR] = False
            mujoco.mjr_readPixels(self._rgb, depth, self._rect, context)
        painted = self._rgb[::-1]
        if depth is None:
            return Rendering(frame, painted[:, :, 0].copy())
        geoms = painted[:, :, 1] + painted[:, :, 2].astype(np.int32) * 256 - 1
        return Rendering(frame, painted[:, :, 0].copy(), geoms, depth[::-1])

    def _paint_labels(self, labels: SceneLabels) -> None:
        """Make MuJoCo paint each geom's label in red, and which geom it is in green and blue.

        It paints the segmentation id plus one, with red for its lowest byte.
        """
        import mujoco
        kinds = {int(mujoco.mjtObj.mjOBJ_GEOM): labels.geom, int(mujoco.mjtObj.mjOBJ_SITE):
                 labels.site}
        for i in range(self.scene.ngeom):
            geom = self.scene.geoms[i]
            table = kinds.get(geom.objtype)
            label = int(OTHER if table is None else table[geom.objid])
            geom.segid = label + 256 * (i + 1) - 1

    def _upload_textures(self) -> None:
        import mujoco
        with drawing(self._context):
            for texture in range(self.model.ntex):
                mujoco.mjr_uploadTexture(self.model, self._context, texture)


def _camera(model: Any, camera_id: int | str) -> Any:
    """Return the `mujoco.MjvCamera` of a camera of the model."""
    import mujoco
    index = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, camera_id) \
        if isinstance(camera_id, str) else camera_id
    if not -1 <= index < model.ncam or (isinstance(camera_id, str) and index < 0):
        raise ConfigError(f"the model has no camera '{camera_id}'; it has {model.ncam}")
    camera = mujoco.MjvCamera()
    if index == -1:
        camera.type = mujoco.mjtCamera.mjCAMERA_FREE
        mujoco.mjv_defaultFreeCamera(model, camera)
    else:
        camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        camera.fixedcamid = index
    return camera


def _close_at_exit(renderer: weakref.ref[Renderer]) -> None:
    alive = renderer()
    if alive is not None:
        alive.close()
