# SPDX-License-Identifier: Apache-2.0
"""Demonstrations on disk, and what the replay takes of them.

A folder holds camera frames as the camera gave them. They are masked, resized and stacked when a
run reads them, by the code that the run's own frames go through, so that one folder serves every
ObservationSpec, masker and action repeat. Each episode is a file of its own, `episode_00000.npz`;
`demonstrations.json` says what they have in common and is written last: without it there is no
demonstration.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from msgspec import Meta
from numpy.typing import ArrayLike, NDArray

from samg_ros.errors import DemonstrationError
from samg_ros.files.arrays import ArraySpec, read_npz
from samg_ros.files.schema import convert, read_json
from samg_ros.observation import Observer
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.data.actions import unscale_action
from samg_ros.rl.data.frame_masker import FrameMasker
from samg_ros.rl.data.time_step import TimeStep
from samg_ros.step_types import BETWEEN_EPISODES_NS, FIRST, LAST, MID

if TYPE_CHECKING:
    from samg_ros.masking import Masker

INFO_NAME = 'demonstrations.json'
_FORMAT, _VERSION = 'samg_ros.demonstrations', 1
Count = Annotated[int, Meta(ge=1)]


@dataclass(frozen=True, eq=False)
class Episode:
    """T actions and the T + 1 moments before, between and after them."""

    frames: NDArray[np.uint8]
    """(T + 1, H, W, 3) uint8 RGB camera frames, unmasked."""
    actions: NDArray[np.float64]
    """(T, A) within the task's limits."""
    rewards: NDArray[np.float64]
    """(T,) of each action."""
    terminal: bool = False
    """Whether the last moment is a terminal state, rather than one where the recording ends."""
    masks: NDArray[np.bool_] | None = None
    """(T + 1, H, W) true masks; None if they are not known."""
    joint_positions: NDArray[np.float64] | None = None
    """(T + 1, J) in the order of `Info.joint_names`, radians or metres; None without joints."""


@dataclass(frozen=True)
class Info:
    """What the episodes of a folder have in common."""

    task: str
    """Task that is demonstrated, as `samg_ros.sim.tasks` names it."""
    action_repeat: int
    """Control steps of the simulation between two moments."""
    action_low: tuple[float, ...]
    """(A,) lower limits of the actions."""
    action_high: tuple[float, ...]
    """(A,) upper limits of the actions."""
    frame_shape: tuple[int, int]
    """Height and width of the frames in pixels."""
    joint_names: tuple[str, ...] = ()
    """Joints whose positions are recorded."""
    has_masks: bool = True
    """Whether there are true masks."""
    source: str = ''
    """Where the demonstrations come from, in words."""


class DemonstrationWriter:
    """Writes a folder of demonstrations, an episode at a time; a context manager."""

    def __init__(self, folder: Path | str, info: Info) -> None:
        """Begin a folder.

        Raises:
            DemonstrationError: if there is something in it already, or it cannot be made.
        """
        self._folder = Path(folder)
        self._info = info
        self._lengths: list[int] = []
        if self._folder.exists() and (not self._folder.is_dir() or any(self._folder.iterdir())):
            raise DemonstrationError(f'{folder} exists and is not empty; choose another folder')
        self._attempt(lambda: self._folder.mkdir(parents=True, exist_ok=True))

    def __enter__(self) -> 'DemonstrationWriter':
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None
                 ) -> None:
        if kind is None:
            self.close()

    def add(self, episode: Episode) -> None:
        """Write an episode.

        Raises:
            DemonstrationError: if it does not fit the folder's `Info`, or cannot be written.
        """
        _check(episode, self._info, f'episode {len(self._lengths)}')
        arrays: dict[str, Any] = {
            name: value for name, value in vars(episode).items() if value is not None
        }
        path = self._folder / _episode_name(len(self._lengths))
        self._attempt(lambda: np.savez_compressed(path, **arrays))
        self._lengths.append(len(episode.actions))

    def close(self) -> None:
        """Complete the folder.

        Raises:
            DemonstrationError: if no episode was added, or the folder cannot be written.
        """
        if not self._lengths:
            raise DemonstrationError(f'there is no episode to put into {self._folder}')
        values = {'format': _FORMAT, 'version': _VERSION, **asdict(self._info),
                  'lengths': self._lengths}
        text = json.dumps(values, indent=2) + '\n'
        self._attempt(lambda: (self._folder / INFO_NAME).write_text(text))

    def _attempt(self, write: Callable[[], Any]) -> None:
        try:
            write()
        except OSError as error:
            raise DemonstrationError(
                f'cannot write demonstrations to {self._folder}: {error.strerror}'
            ) from error


class Demonstrations:
    """A folder of demonstrations, read an episode at a time."""

    def __init__(self, folder: Path | str) -> None:
        """Open a folder.

        Raises:
            DemonstrationError: if it holds no complete demonstrations.
        """
        self.folder = Path(folder)
        path = self.folder / INFO_NAME
        if not path.is_file():
            raise DemonstrationError(
                f'{folder} holds no demonstrations: there is no {INFO_NAME} in it; make them with '
                'samg demonstrations import'
            )
        values = read_json(path, dict[str, Any], DemonstrationError)
        if (values.pop('format', None), values.pop('version', None)) != (_FORMAT, _VERSION):
            raise DemonstrationError(f'{path} is not of format {_FORMAT}, version {_VERSION}')
        self.lengths = convert(values.pop('lengths', None), tuple[Count, ...],
                               f'lengths of {path}', DemonstrationError)
        self.info = convert(values, Info, str(path), DemonstrationError)

    def __len__(self) -> int:
        return len(self.lengths)

    def episodes(self) -> Iterator[Episode]:
        """Read the episodes one after the other.

        Raises:
            DemonstrationError: if one is missing, damaged, or not as `Info` says.
        """
        for index, length in enumerate(self.lengths):
            path = self.folder / _episode_name(index)
            values = read_npz(path, {'terminal': ArraySpec('b', ())}, DemonstrationError,
                              'import it again')
            if unknown := set(values) - {each.name for each in fields(Episode)}:
                raise DemonstrationError(f"{path} has the unknown array '{min(unknown)}'; import "
                                         'it again')
            if missing := {'frames', 'actions', 'rewards', 'terminal'} - set(values):
                raise DemonstrationError(f"{path} lacks '{min(missing)}'; import it again")
            arrays: dict[str, Any] = {**values, 'terminal': bool(values['terminal'])}
            episode = Episode(**arrays)
            _check(episode, self.info, str(path))
            if len(episode.actions) != length:
                raise DemonstrationError(f'{path} holds {len(episode.actions)} actions, not the '
                                         f'{length} that {INFO_NAME} counts; import it again')
            yield episode


class DemonstratedSteps:
    """The time steps of demonstrations as a run would have met them."""

    def __init__(self, demonstrations: Demonstrations, config: TrainConfig, action_low: ArrayLike,
                 action_high: ArrayLike, masker: 'Masker | None' = None,
                 progress: Callable[[int, int], None] | None = None) -> None:
        """Prepare demonstrations for a run.

        Args:
            demonstrations: what to read.
            config: settings of the run.
            action_low: (A,) the run's lower limits of the commands.
            action_high: (A,) the upper ones.
            masker: fitted to the run's reference; needed if the policy sees masked frames.
            progress: called with the number of episodes read and of all.

        Raises:
            DemonstrationError: if they do not fit the run.
            ConfigError: if a masker is missing.
        """
        self._from = demonstrations
        self._spec = config.observation
        self._low, self._high = np.asarray(action_low, float), np.asarray(action_high, float)
        self._mask = FrameMasker(config.observation, masker)
        self._time_ns = 0
        self._progress = progress
        info, folder = demonstrations.info, demonstrations.folder
        if info.task != config.task:
            raise DemonstrationError(
                f"{folder} demonstrates task '{info.task}', not '{config.task}'")
        if config.action_repeat % info.action_repeat:
            raise DemonstrationError(
                f'{folder} has a moment every {info.action_repeat} control steps, which does not '
                f'divide the action repeat of {config.action_repeat}; choose another action_repeat')
        if info.frame_shape != (config.camera_size, config.camera_size):
            raise DemonstrationError(
                f'{folder} holds frames of {info.frame_shape[1]} x {info.frame_shape[0]} pixels, '
                f'the run has square ones of {config.camera_size}; import them in that size, or '
                'set camera_size')
        if not (np.array_equal(info.action_low, self._low)
                and np.array_equal(info.action_high, self._high)):
            raise DemonstrationError(f'{folder} has other action limits than the run')
        if missing := set(self._spec.proprioception) - set(info.joint_names):
            raise DemonstrationError(
                f"{folder} lacks the positions of joint '{min(missing)}', which the run's "
                'observations have')
        if self._spec.source == 'truth' and not info.has_masks:
            raise DemonstrationError(
                f"{folder} holds no true masks; choose the source 'masked' or 'raw'")
        self._repeat = config.action_repeat // info.action_repeat

    def __len__(self) -> int:
        return sum(-(-length // self._repeat) + 1 for length in self._from.lengths)

    def __iter__(self) -> Iterator[tuple[TimeStep, NDArray[np.float32] | None]]:
        """Yield each time step and the action in [-1, 1] that led to it, None for a first one.

        Where the run repeats actions, one action stands for several: their mean, with the sum of
        their rewards.
        """
        for index, episode in enumerate(self._from.episodes()):
            yield from self._steps(episode)
            if self._progress is not None:
                self._progress(index + 1, len(self._from))

    def _steps(self, episode: Episode) -> Iterator[tuple[TimeStep, NDArray[np.float32] | None]]:
        observer = Observer(self._spec)
        end = len(episode.actions)
        for now in [*range(0, end, self._repeat), end]:
            truth = None if episode.masks is None else episode.masks[now]
            # They have no stamps, and need none: frames follow one another, or come a gap later.
            self._time_ns += 1 if now else BETWEEN_EPISODES_NS
            frame, iou = self._mask(episode.frames[now], truth, self._time_ns)
            joints = None
            if episode.joint_positions is not None:
                joints = self._spec.select_joints(
                    self._from.info.joint_names, episode.joint_positions[now])
            if now == 0:
                yield TimeStep(observer.reset(frame, joints), 0.0, 1.0, FIRST, iou), None
                continue
            since = slice((now - 1) // self._repeat * self._repeat, now)
            action = np.clip(episode.actions[since].mean(axis=0), self._low, self._high)
            last = now == end
            yield TimeStep(
                observer.push(frame, joints), float(episode.rewards[since].sum()),
                0.0 if last and episode.terminal else 1.0, LAST if last else MID, iou,
            ), unscale_action(action, self._low, self._high)


def _episode_name(index: int) -> str:
    return f'episode_{index:05d}.npz'


def _check(episode: Episode, info: Info, name: str) -> None:
    """Raise DemonstrationError unless shapes, types and values are as they should be."""
    count = len(episode.actions) if episode.actions.ndim else 0
    wanted: dict[str, tuple[Any, tuple[int, ...], str]] = {
        'frames': (episode.frames, (count + 1, *info.frame_shape, 3), 'u'),
        'actions': (episode.actions, (count, len(info.action_low)), 'f'),
        'rewards': (episode.rewards, (count,), 'f'),
    }
    if info.has_masks:
        wanted['masks'] = episode.masks, (count + 1, *info.frame_shape), 'b'
    if info.joint_names:
        joints = (count + 1, len(info.joint_names))
        wanted['joint_positions'] = episode.joint_positions, joints, 'f'
    if not count:
        raise DemonstrationError(f'{name}: there is no action in it')
    for key, (array, shape, kind) in wanted.items():
        if array is None:
            raise DemonstrationError(f'{name}: {key} are missing')
        if array.shape != shape or array.dtype.kind != kind:
            raise DemonstrationError(
                f"{name}: {key} of task '{info.task}' must have shape {shape}, "
                f'got {array.shape} {array.dtype}')
        if kind == 'f' and not np.isfinite(array).all():
            raise DemonstrationError(f'{name}: {key} must be finite')
