# SPDX-License-Identifier: Apache-2.0
"""What a policy learns from: observations of every camera, joints, and the actions that follow.

Frames are masked and resized once, by the code that the running policy's frames go through, and
kept in the run folder: an interrupted run does not mask again, and learns from the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from samg_ros.cloning.sources import Source
from samg_ros.demonstrations.episode import ArmEpisode
from samg_ros.errors import DemonstrationError
from samg_ros.files.arrays import read_npz
from samg_ros.files.outputs import make_folder, replacing
from samg_ros.files.reading import parsing
from samg_ros.masking import apply_mask
from samg_ros.observation import ObservationSpec, Observer
from samg_ros.rl.agents.chunk_network import AS_RECORDED, VELOCITIES

if TYPE_CHECKING:
    from samg_ros.masking import Masker

_BATCH = 8
_PERIOD_TOLERANCE = 0.5
"""By how much, as a share, the period of an episode may differ from that of the first."""


@dataclass(frozen=True, eq=False)
class LearnedEpisode:
    """One episode as the learner reads it."""

    pixels: dict[str, npt.NDArray[np.uint8]]
    """Camera -> (T, C, S, S)."""
    joints: npt.NDArray[np.float32]
    """(T, k) rad or m, of the spec's proprioception."""
    actions: npt.NDArray[np.float64]
    """(T, A), as they are learned."""
    period_s: float
    """Median time between two samples."""

    def __len__(self) -> int:
        return len(self.actions)


def learned_actions(episode: ArmEpisode, learned: str) -> npt.NDArray[np.float64]:
    """Return the actions of an episode as they are learned, (T, A).

    Args:
        episode: with at least two samples.
        learned: VELOCITIES: changes of the recorded positions per second until the next sample,
            the last one repeated; AS_RECORDED: as they stand.
    """
    if learned == AS_RECORDED:
        return episode.actions
    assert learned == VELOCITIES
    seconds = np.diff(episode.stamps)[:, None] * 1e-9
    velocities = np.diff(episode.actions, axis=0) / seconds
    return np.vstack([velocities, velocities[-1:]])


def prepare(source: Source, folder: Path, spec: ObservationSpec, learned: str,
            maskers: dict[str, Masker | None],
            progress: Callable[[int, int], None] | None = None) -> list[LearnedEpisode]:
    """Mask and resize all frames, or read what an earlier call has left in the folder.

    Args:
        source: demonstrations.
        folder: of the prepared episodes.
        spec: what the policy sees of each camera.
        learned: as in `learned_actions`.
        maskers: camera -> fitted masker; None where frames are masked already or stay raw.
        progress: called with the number of episodes that are ready, and of all.

    Raises:
        DemonstrationError: if an episode cannot be used.
    """
    make_folder(folder)
    done: list[LearnedEpisode] = []
    missing = [index for index in range(source.count) if not _path(folder, index).exists()]
    episodes = source.episodes() if missing else None
    for index in range(source.count):
        episode = None if episodes is None else next(episodes)
        if not _path(folder, index).exists():
            assert episode is not None
            _write(_path(folder, index), _learned(episode, source, spec, learned, maskers))
        done.append(_read(_path(folder, index), source))
        if progress is not None:
            progress(index + 1, source.count)
    _check_periods(done, source)
    return done


def period_of(episodes: Sequence[LearnedEpisode]) -> float:
    """Return the time between two samples, s: the median of all episodes."""
    return float(np.median([episode.period_s for episode in episodes]))


def _learned(episode: ArmEpisode, source: Source, spec: ObservationSpec, learned: str,
             maskers: dict[str, Masker | None]) -> dict[str, npt.NDArray[Any]]:
    if len(episode.stamps) < 2:
        raise DemonstrationError(f'{episode.source}: an episode needs two samples at least')
    joints = [spec.select_joints(source.joints, each) for each in episode.joints]
    arrays: dict[str, npt.NDArray[Any]] = {
        'actions': learned_actions(episode, learned),
        'joints': np.array(joints, np.float32) if spec.proprioception
        else np.empty((len(joints), 0), np.float32),
        'period_s': np.array(float(np.median(np.diff(episode.stamps))) * 1e-9)}
    for camera in source.cameras:
        frames = episode.frames[camera]
        masker = maskers.get(camera)
        if masker is not None:
            frames = np.concatenate([
                apply_mask(frames[at:at + _BATCH], masker(frames[at:at + _BATCH]), spec.fill)
                for at in range(0, len(frames), _BATCH)])
        arrays[f'pixels_{camera}'] = _observed(frames, joints, spec)
    return arrays


def _observed(frames: npt.NDArray[np.uint8], joints: Sequence[Any], spec: ObservationSpec
              ) -> npt.NDArray[np.uint8]:
    observer = Observer(spec)
    return np.stack([(observer.push if index else observer.reset)(frame, seen)['pixels']
                     for index, (frame, seen) in enumerate(zip(frames, joints, strict=True))])


def _path(folder: Path, index: int) -> Path:
    return folder / f'episode_{index:05d}.npz'


def _write(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> None:
    with replacing(path) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)


def _read(path: Path, source: Source) -> LearnedEpisode:
    advice = 'delete it, and it is made again'
    arrays = read_npz(path, {}, DemonstrationError, advice)
    with parsing(f"'{path}' is not whole", DemonstrationError, advice):
        return LearnedEpisode({camera: arrays[f'pixels_{camera}'] for camera in source.cameras},
                              arrays['joints'], arrays['actions'], float(arrays['period_s']))


def _check_periods(episodes: Sequence[LearnedEpisode], source: Source) -> None:
    """Refuse episodes of other rates: a chunk has one period.

    Raises:
        DemonstrationError: for the first that differs.
    """
    period_s = period_of(episodes)
    for index, episode in enumerate(episodes):
        if abs(episode.period_s / period_s - 1) > _PERIOD_TOLERANCE:
            raise DemonstrationError(
                f"episode {index} of '{source.folder}' has {1 / episode.period_s:.3g} samples/s, "
                f'the others {1 / period_s:.3g}; import all with one rate_hz')
