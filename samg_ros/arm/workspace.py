# SPDX-License-Identifier: Apache-2.0
"""A box that the hand must not leave, from a file beside the arm's model.

    workspace:
      model: arm.urdf          # URDF or MJCF, relative to this file
      body: hand               # whose origin is kept inside
      x: [-0.4, 0.4]           # metres in the model's world
      y: [0.1, 0.7]
      z: [0.05, 0.8]

Only that one point is checked: links, fingers and what they hold reach beyond it, so leave room.
MuJoCo computes the kinematics; it reads both kinds of model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from samg_ros.errors import ConfigError, plain
from samg_ros.files.reading import check_readable, parsing
from samg_ros.files.schema import convert, read_yaml

_AXES = ('x', 'y', 'z')


class Workspace:
    """Computes from joint positions where the hand is, and how far outside the box."""

    def __init__(self, path: Path | str, joints: Sequence[str]) -> None:
        """Read the box and load the model.

        Args:
            path: YAML file.
            joints: names in the order of the command; the model must have them.

        Raises:
            ConfigError: if file or model cannot be read, or lack what they need.
        """
        import mujoco  # needed for a workspace only

        path = Path(path).expanduser()
        box = _read(path)
        self._low, self._high = np.transpose([getattr(box, axis) for axis in _AXES])
        model_path = path.parent / Path(box.model).expanduser()
        check_readable(model_path, ConfigError)
        with parsing(f"the model '{model_path}' of the workspace cannot be loaded", ConfigError,
                     'give an URDF or MJCF file'):
            self._model = mujoco.MjModel.from_xml_path(str(model_path))
        self._data = mujoco.MjData(self._model)
        self._kinematics = mujoco.mj_kinematics
        self._body = self._index(mujoco.mjtObj.mjOBJ_BODY, 'body', box.body)
        if self._model.body_weldid[self._body] == 0:
            raise ConfigError(f"body '{box.body}' of the workspace '{path}' does not move "
                              'with any joint; name the hand')
        indices = [self._index(mujoco.mjtObj.mjOBJ_JOINT, 'joint', joint) for joint in joints]
        for joint, index in zip(joints, indices, strict=True):
            if mujoco.mjtJoint(self._model.jnt_type[index]) not in (
                    mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE):
                raise ConfigError(f"joint '{joint}' of the workspace's model has more than one "
                                  'position; only hinges and slides can be commanded')
        self._addresses = self._model.jnt_qposadr[indices]
        if unknown := sorted(self._joints_of_the_hand() - set(indices)):
            name = mujoco.mj_id2name(self._model, mujoco.mjtObj.mjOBJ_JOINT, unknown[0])
            raise ConfigError(f"joint '{plain(name or unknown[0], 60)}' of '{model_path}' "
                              f"moves '{box.body}' too, and its position is not known here; "
                              'command it, or make it fixed in the model')

    def hand(self, positions: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return where the body's origin is, (3,) metres.

        Args:
            positions: (A,) of the joints, rad or m.
        """
        self._data.qpos[self._addresses] = positions
        self._kinematics(self._model, self._data)
        hand: npt.NDArray[np.float64] = self._data.xpos[self._body].copy()
        return hand

    def distance(self, positions: npt.ArrayLike) -> float:
        """Return how far outside the box the hand is, metres; 0 inside."""
        hand = self.hand(positions)
        return float(np.linalg.norm(hand - np.clip(hand, self._low, self._high)))

    def allows(self, to: npt.ArrayLike, start: npt.ArrayLike) -> bool:
        """Whether the hand may go from one set of joint positions to another.

        It may if it is inside the box then, or less far outside than at the start.
        """
        distance = self.distance(to)
        return distance == 0.0 or distance < self.distance(start)

    def _joints_of_the_hand(self) -> set[int]:
        """Return the indices of all joints between the world and the body."""
        body, found = self._body, set[int]()
        while body:
            first = int(self._model.body_jntadr[body])
            found |= set(range(first, first + int(self._model.body_jntnum[body])))
            body = int(self._model.body_parentid[body])
        return found

    def _index(self, kind: Any, what: str, name: str) -> int:
        import mujoco

        index = int(mujoco.mj_name2id(self._model, kind, name))
        if index < 0:
            count = {'body': self._model.nbody, 'joint': self._model.njnt}[what]
            names = [mujoco.mj_id2name(self._model, kind, i) for i in range(count)]
            raise ConfigError(f"the model of the workspace has no {what} '{name}'; it has "
                              f'{", ".join(filter(None, names))}')
        return index


@dataclass(frozen=True)
class _Box:
    """What stands under the key workspace."""

    model: str
    body: str
    x: tuple[float, float]
    y: tuple[float, float]
    z: tuple[float, float]


def _read(path: Path) -> _Box:
    content = read_yaml(path, dict[str, Any], ConfigError)
    box = convert(content.get('workspace'), _Box, f"the workspace of '{path}'", ConfigError)
    for axis in _AXES:
        least, greatest = getattr(box, axis)
        if not least < greatest:
            raise ConfigError(f"{axis} of the workspace '{path}' must be [least, greatest] in "
                              f'metres, got {[least, greatest]}')
    return box
