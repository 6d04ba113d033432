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

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from samg_ros.errors import ConfigError, first_line

_AXES = ('x', 'y', 'z')
_FIELDS = ('model', 'body', *_AXES)


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
        values = _read(path)
        self._low, self._high = np.transpose([_interval(path, axis, values[axis])
                                              for axis in _AXES])
        model_path = path.parent / str(values['model'])
        try:
            self._model = mujoco.MjModel.from_xml_path(str(model_path))
        except ValueError as error:
            raise ConfigError(f"the model '{model_path}' of the workspace cannot be loaded: "
                              f'{first_line(error)}') from error
        self._data = mujoco.MjData(self._model)
        self._kinematics = mujoco.mj_kinematics
        self._body = self._index(mujoco.mjtObj.mjOBJ_BODY, 'body', str(values['body']))
        if self._model.body_weldid[self._body] == 0:
            raise ConfigError(f"body '{values['body']}' of the workspace '{path}' does not move "
                              'with any joint; name the hand')
        self._addresses = [self._model.jnt_qposadr[self._index(
            mujoco.mjtObj.mjOBJ_JOINT, 'joint', joint)] for joint in joints]

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

    def _index(self, kind: Any, what: str, name: str) -> int:
        import mujoco

        index = int(mujoco.mj_name2id(self._model, kind, name))
        if index < 0:
            count = {'body': self._model.nbody, 'joint': self._model.njnt}[what]
            names = [mujoco.mj_id2name(self._model, kind, i) for i in range(count)]
            raise ConfigError(f"the model of the workspace has no {what} '{name}'; it has "
                              f'{", ".join(filter(None, names))}')
        return index


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"the workspace '{path}' cannot be read: {first_line(error)}") from error
    values = content.get('workspace') if isinstance(content, dict) else None
    if not isinstance(values, dict) or sorted(map(str, values)) != sorted(_FIELDS):
        found = ', '.join(map(str, values)) if isinstance(values, dict) else 'none'
        raise ConfigError(f"the workspace '{path}' must have, under the key workspace, the fields "
                          f'{", ".join(_FIELDS)}; it has {found}')
    return values


def _interval(path: Path, axis: str, value: Any) -> tuple[float, float]:
    good = isinstance(value, list) and len(value) == 2 and all(
        isinstance(end, int | float) and math.isfinite(end) for end in value)
    if not good or not value[0] < value[1]:
        raise ConfigError(f"{axis} of the workspace '{path}' must be [least, greatest] in metres, "
                          f'got {value!r}')
    return float(value[0]), float(value[1])
