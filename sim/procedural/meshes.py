# SPDX-License-Identifier: Apache-2.0
"""Robots and objects of meshes and textures, from MJCF files, in random surroundings.

The files are those of simulators that come as wheels (robosuite's and Meta-World's, both MIT). A
gripper is put on a robot that has a place for one.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
import numpy.typing as npt

from samg_ros.errors import ConfigError
from samg_ros.sim.procedural.bodies import FIRST_DISTRACTOR, SECOND_BODY, SKY, SceneWriter
from samg_ros.sim.visual.backgrounds import random_colour

_LOG = logging.getLogger(__name__)
HAND = 'right_hand'
"""Body of a robot of robosuite that grippers are mounted on."""
TESTED = 'jaco'
GRIPPER_SHARE = 0.7
REPAINTED_SHARE = 0.5
LARGEST_GEOMS = 400
"""Geoms that a scene of `Painter` has room for."""


@dataclass(frozen=True)
class Subject:
    """A model with a body to look at.

    Attributes:
        model: compiled, with a geom `floor` and materials `floor0` to `floor2`.
        labels: (ngeom,) uint8, see the constants of `bodies`.
        centre: (3,) metres, where the body is in its first pose.
        extent: about half its size, metres.
    """

    model: mujoco.MjModel
    labels: npt.NDArray[np.uint8]
    centre: npt.NDArray[np.float64]
    extent: float

    def place(self, data: mujoco.MjData) -> npt.NDArray[np.float64]:
        """Return (3,) metres: where the body is now."""
        first: npt.NDArray[np.float64] = data.geom_xpos[self.labels < SECOND_BODY].mean(axis=0)
        return first


def mesh_files(folder: Path) -> list[Path]:
    """Return the MJCF files below a folder that MuJoCo can compile by themselves.

    Kinova's Jaco is left out: it is the arm of this package's own tasks, on which masks are tested.

    Raises:
        ConfigError: if there are none.
    """
    found = []
    for path in sorted(folder.rglob('*.xml')):
        if TESTED in str(path).lower():
            continue
        try:
            model = mujoco.MjSpec.from_file(str(path)).compile()
        except (ValueError, mujoco.FatalError):
            continue  # a part of another file, or without its meshes
        if model.nmesh and model.ngeom <= LARGEST_GEOMS // 2:
            found.append(path)
    if not found:
        raise ConfigError(f'{folder}: no MJCF file in it that MuJoCo can compile; give a folder of '
                          'robots or objects, such as the assets of the wheel robosuite')
    return found


def mesh_subject(rng: np.random.Generator, size: int, path: Path) -> Subject | None:
    """Put a robot or an object into random surroundings.

    Args:
        rng: source of randomness.
        size: side of a frame in pixels.
        path: an MJCF file.

    Returns:
        None if MuJoCo cannot compile it together with a gripper that was drawn.
    """
    surroundings = SceneWriter(rng, size).write_surroundings()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # solver options of the files differ
            model = _compiled(rng, surroundings, path)
    except (ValueError, mujoco.FatalError) as error:
        _LOG.debug('%s: %s', path, error)
        return None
    if model.ngeom > LARGEST_GEOMS:
        return None
    labels = _labels(model)
    if not (labels < SECOND_BODY).any():
        return None
    if rng.random() < REPAINTED_SHARE:
        _repaint(rng, model, labels < SECOND_BODY)
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    places = data.geom_xpos[labels < SECOND_BODY]
    reach = model.geom_rbound[labels < SECOND_BODY]
    low, high = (places - reach[:, None]).min(axis=0), (places + reach[:, None]).max(axis=0)
    model.geom_pos[model.geom('floor').id, 2] = places[:, 2].min() - rng.uniform(0, 0.5)
    return Subject(model, labels, (low + high) / 2, float((high - low).max()) / 2)


def _compiled(rng: np.random.Generator, surroundings: str, path: Path) -> mujoco.MjModel:
    scene = mujoco.MjSpec.from_string(surroundings)
    child = mujoco.MjSpec.from_file(str(path))
    if rng.random() < GRIPPER_SHARE and child.body(HAND) is not None:
        grippers = [one for one in sorted((path.parent.parent.parent / 'grippers').glob('*.xml'))
                    if TESTED not in one.name]
        if grippers:
            hand = mujoco.MjSpec.from_file(str(grippers[int(rng.integers(len(grippers)))]))
            child.attach(hand, prefix='hand_', frame=child.body(HAND).add_frame())
    body = scene.worldbody.add_body(name='a0')
    if not child.joints:
        body.add_freejoint(name='afree')
    scene.attach(child, prefix='m_', frame=body.add_frame())
    return scene.compile()


def _labels(model: mujoco.MjModel) -> npt.NDArray[np.uint8]:
    """Label the subject's geoms by their body, and make its collision geoms invisible."""
    labels = np.full(model.ngeom, SKY, np.uint8)
    own = model.body_rootid[model.geom_bodyid] == model.body('a0').id
    labels[~own] = FIRST_DISTRACTOR
    opacity = np.where(model.geom_matid < 0, model.geom_rgba[:, 3],
                       model.mat_rgba[model.geom_matid, 3] if model.nmat else 1.0)
    hidden = own & (opacity < 1)
    if (model.geom_group[own] == 1).any():  # robosuite: 0 is for collisions, 1 is seen
        hidden |= own & (model.geom_group != 1)
    if hidden.any():
        model.geom_matid[hidden] = -1
        model.geom_rgba[hidden] = 0
    own &= ~hidden
    _, order = np.unique(model.geom_bodyid[own], return_inverse=True)
    labels[own] = 1 + order.clip(max=SECOND_BODY - 2)
    return labels


def _repaint(rng: np.random.Generator, model: mujoco.MjModel, geoms: npt.NDArray[np.bool_]) -> None:
    """Give a body other paint: one to three colours, without textures."""
    palette = [random_colour(rng) / 255 for _ in range(int(rng.integers(1, 4)))]
    for geom in np.flatnonzero(geoms):
        model.geom_matid[geom] = -1
        model.geom_rgba[geom] = (*palette[int(model.geom_bodyid[geom]) % len(palette)], 1)
