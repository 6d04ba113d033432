# SPDX-License-Identifier: Apache-2.0
"""What the policy sees, defined once.

The Gymnasium wrapper, the trainer node, the policy node and the bag evaluator all turn camera
frames into observations with the one class below. Training and serving can then not drift
apart quietly: the spec travels in the checkpoint, and the same frames give the same bits.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from samg_ros.errors import ConfigError, InvalidInputError

SOURCES = ('masked', 'raw', 'truth')
"""Where the pixels come from: the masker, the camera as it is, the simulator's true mask."""

Observation = dict[str, NDArray[Any]]
"""'pixels' (3 * frame_stack, size, size) uint8; 'proprioception' (k,) float32 when asked for; and
'pixels.NAME' of each further camera."""

Frames = Mapping[str, NDArray[np.uint8]]
"""Further cameras by name -> (H, W, 3) uint8 RGB."""


@dataclass(frozen=True)
class ObservationSpec:
    """How a camera frame becomes an observation.

    Raises:
        ConfigError: if a value is out of range; the message names the field.
    """

    crop: tuple[int, int, int, int] | None = None
    """x, y, width, height in camera pixels; None keeps the whole frame."""
    size: int = 84
    """Side of the square observation in pixels."""
    frame_stack: int = 3
    """Consecutive frames in one observation, oldest first."""
    source: str = 'masked'
    """One of SOURCES. The masking itself happens before the Observer, on the full frame."""
    fill: tuple[int, int, int] = (0, 0, 0)
    """RGB colour that replaces what is outside the mask."""
    proprioception: tuple[str, ...] = ()
    """Joints whose positions go with the pixels, in this order; empty for none."""

    def __post_init__(self) -> None:
        if self.crop is not None:
            crop = _integers('crop', self.crop, 4)
            if min(crop[:2]) < 0 or min(crop[2:]) < 1:
                raise ConfigError(
                    f'crop {crop} is not usable: x and y must be at least 0, '
                    'width and height at least 1'
                )
            object.__setattr__(self, 'crop', crop)
        for name, least, most in (('size', 8, 8192), ('frame_stack', 1, 1024)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                raise ConfigError(f'{name} must be an integer from {least} to {most}, got '
                                  f'{value!r}')
        if self.source not in SOURCES:
            raise ConfigError(f"source must be one of {', '.join(SOURCES)}, got '{self.source}'")
        fill = _integers('fill', self.fill, 3)
        if min(fill) < 0 or max(fill) > 255:
            raise ConfigError(f'fill must be three values from 0 to 255, got {fill}')
        object.__setattr__(self, 'fill', fill)
        if isinstance(self.proprioception, str) or not all(
            isinstance(name, str) for name in self.proprioception
        ):
            raise ConfigError(
                f'proprioception must be a list of joint names, got {self.proprioception!r}'
            )
        object.__setattr__(self, 'proprioception', tuple(self.proprioception))

    @property
    def pixels_shape(self) -> tuple[int, int, int]:
        """Shape of 'pixels': (3 * frame_stack, size, size)."""
        return 3 * self.frame_stack, self.size, self.size

    def to_dict(self) -> dict[str, Any]:
        """Return the spec in plain JSON types (lists for tuples)."""
        values = asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> 'ObservationSpec':
        """Rebuild a spec from `to_dict`, a YAML file or a checkpoint.

        Raises:
            ConfigError: if a key is unknown or a value out of range.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ConfigError(
                f"unknown observation setting '{unknown[0]}'; known are {', '.join(known)}"
            )
        typed: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return cls(**typed)

    def select_joints(
        self, names: Sequence[str], positions: ArrayLike
    ) -> NDArray[np.float32] | None:
        """Pick the spec's joints out of a joint state, in the spec's order.

        Args:
            names: joint names, as in sensor_msgs/JointState.
            positions: one number per name.

        Returns:
            (k,) float32, or None if the spec asks for no joints.

        Raises:
            InvalidInputError: if a joint of the spec is not among the names.
        """
        if not self.proprioception:
            return None
        values = np.asarray(positions, dtype=np.float64).reshape(-1)
        index = {name: i for i, name in enumerate(names)}
        missing = [name for name in self.proprioception if name not in index]
        if missing or len(values) != len(names):
            raise InvalidInputError(
                f"the joint state lacks joint '{missing[0]}' of the observation spec"
                if missing
                else f'the joint state has {len(names)} names but {len(values)} positions'
            )
        return values[[index[name] for name in self.proprioception]].astype(np.float32)


def camera_key(index: int, name: str) -> str:
    """Return where the pixels of a policy's i-th camera stand in an observation."""
    return 'pixels' if index == 0 else f'pixels.{name}'


class Observer:
    """Turns a stream of frames into observations; holds the frame stacks and nothing else.

    Frames are full camera frames, already masked where the spec says so, since the masking
    works on the full frame and the perception node has done it by then.
    """

    def __init__(self, spec: ObservationSpec, more_cameras: Sequence[str] = ()) -> None:
        """Take what the policy sees, and the names of the cameras that it sees beside the first."""
        self.spec = spec
        self._more = tuple(more_cameras)
        self._stacks: tuple[deque[NDArray[np.uint8]], ...] = tuple(
            deque(maxlen=spec.frame_stack) for _ in ('', *self._more))

    def reset(
        self, frame: NDArray[np.uint8], proprioception: ArrayLike | None = None,
        more: Frames | None = None,
    ) -> Observation:
        """Start an episode: the stacks are filled with copies of its first frames.

        Args and errors as in `push`.
        """
        for stack, first in zip(self._stacks, self._resized(frame, more), strict=True):
            stack.extend([first] * self.spec.frame_stack)
        return self._observation(proprioception)

    def push(
        self, frame: NDArray[np.uint8], proprioception: ArrayLike | None = None,
        more: Frames | None = None,
    ) -> Observation:
        """Add the next frame and return the observation that ends with it.

        Args:
            frame: (H, W, 3) uint8 RGB camera frame.
            proprioception: (k,) numbers in the spec's joint order; needed if the spec asks.
            more: frames of the further cameras, by name.

        Returns:
            'pixels' (3 * frame_stack, size, size) uint8, oldest frame first, a fresh array; the
            same of each further camera under its `camera_key`; and 'proprioception' (k,) float32
            if the spec has joints.

        Raises:
            InvalidInputError: if frames or joint values do not fit the spec, a camera is missing,
                or no episode was started.
        """
        if not self._stacks[0]:
            raise InvalidInputError('no episode has been started: call reset with its first frame')
        for stack, newest in zip(self._stacks, self._resized(frame, more), strict=True):
            stack.append(newest)
        return self._observation(proprioception)

    def _resized(self, frame: NDArray[np.uint8], more: Frames | None) -> list[NDArray[np.uint8]]:
        more = more or {}
        if missing := [name for name in self._more if name not in more]:
            raise InvalidInputError(
                f'the policy also sees the camera {", ".join(missing)}, and was shown the first '
                'camera alone; run it in the graph of the arm, which has all of its cameras')
        return [self._resize(each) for each in (frame, *(more[name] for name in self._more))]

    def _resize(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        frame = np.asarray(frame)
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise InvalidInputError(
                f'a frame must be (H, W, 3) uint8 RGB, got {frame.shape} {frame.dtype}'
            )
        if self.spec.crop is not None:
            x, y, width, height = self.spec.crop
            if x + width > frame.shape[1] or y + height > frame.shape[0]:
                raise InvalidInputError(
                    f'crop {self.spec.crop} reaches outside the frame of '
                    f'{frame.shape[1]} x {frame.shape[0]} pixels'
                )
            frame = frame[y : y + height, x : x + width]
        size = self.spec.size
        if frame.shape[:2] != (size, size):
            shrinks = min(frame.shape[:2]) >= size
            method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            resized = cv2.resize(np.ascontiguousarray(frame), (size, size), interpolation=method)
            frame = np.asarray(resized, dtype=np.uint8)
        return np.array(frame.transpose(2, 0, 1), order='C')

    def _observation(self, proprioception: ArrayLike | None) -> Observation:
        observation: Observation = {
            camera_key(index, name): np.concatenate(stack)
            for index, (name, stack) in enumerate(zip(('', *self._more), self._stacks,
                                                      strict=True))}
        joints = self.spec.proprioception
        if joints:
            if proprioception is None:
                raise InvalidInputError(
                    f"the observation spec asks for joints ({', '.join(joints)}); none were given"
                )
            values = np.array(proprioception, dtype=np.float32).reshape(-1)
            if len(values) != len(joints):
                raise InvalidInputError(
                    f'the observation spec asks for {len(joints)} joints, got {len(values)} values'
                )
            observation['proprioception'] = values
        return observation


def _integers(name: str, values: Sequence[int], count: int) -> tuple[int, ...]:
    """Check that values are `count` integers and return them as a tuple."""
    result = tuple(values)
    if len(result) != count or not all(type(v) is int for v in result):
        raise ConfigError(f'{name} must be {count} integers, got {values!r}')
    return result
