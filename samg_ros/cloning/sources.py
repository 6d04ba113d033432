# SPDX-License-Identifier: Apache-2.0
"""Reads demonstrations of either kind: a LeRobotDataset v3, or what HDF5 files were imported to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from samg_ros.demonstrations import lerobot_layout as layout
from samg_ros.demonstrations.episode import ArmEpisode
from samg_ros.errors import DemonstrationError
from samg_ros.rl.data.demonstrations import INFO_NAME, Demonstrations
from samg_ros.sim.tasks import task_names


@dataclass(frozen=True)
class Source:
    """Demonstrations on disk."""

    folder: Path
    task: str
    """What is demonstrated, in words, or a task of the simulator."""
    joints: tuple[str, ...]
    """Names of the numbers of an episode's `joints`."""
    action_names: tuple[str, ...]
    cameras: dict[str, tuple[int, int]]
    """Name -> height and width of its frames; the first is the policy's main camera."""
    masked: bool
    """Whether the frames are masked already."""
    masker: dict[str, object] | None
    """Mask contract of a masked data set."""
    action_repeat: int
    """Control steps of the simulator between two samples; 1 for a real arm."""
    count: int
    """Number of episodes."""

    def episodes(self) -> Iterator[ArmEpisode]:
        """Read the episodes one after the other.

        Raises:
            DemonstrationError: if one is missing or damaged.
        """
        if (self.folder / INFO_NAME).is_file():
            yield from _simulated(Demonstrations(self.folder))
        else:
            from samg_ros.demonstrations.lerobot_reader import LeRobotDataset
            yield from LeRobotDataset(self.folder).episodes()


def open_source(folder: Path | str) -> Source:
    """Open a folder of demonstrations.

    Raises:
        DemonstrationError: if it holds none, or only frames that are masked beside raw ones.
    """
    folder = Path(folder).expanduser()
    if (folder / INFO_NAME).is_file():
        info = Demonstrations(folder).info
        count = len(Demonstrations(folder))
        size = len(info.action_low)
        return Source(folder, info.task, info.joint_names, tuple(map(str, range(size))),
                      {'camera': info.frame_shape}, False, None, info.action_repeat, count)
    if not (folder / layout.INFO).is_file():
        raise DemonstrationError(
            f"'{folder}' holds neither a LeRobot data set nor imported HDF5 demonstrations; make "
            'one with samg demonstrations import')
    from samg_ros.demonstrations.lerobot_reader import LeRobotDataset
    data = LeRobotDataset(folder)
    masker = data.info.extra.get('mask_contract')
    cameras = data.info.cameras
    if masker is not None and data.info.masks:  # raw and masked frames side by side
        cameras = {name: size for name, size in cameras.items() if name not in data.info.masks}
    if not cameras:
        raise DemonstrationError(f"the data set '{folder}' has no camera; record one")
    return Source(folder, data.info.task, data.info.joints, data.info.action_names, cameras,
                  masker is not None, masker, _action_repeat(data.info.task, data.info.fps),
                  len(data))


def _action_repeat(task: str, samples_per_s: float) -> int:
    """Return control steps of the simulator between two samples; 1 if it does not know the task."""
    if task not in task_names():
        return 1
    return max(1, round(_control_hz(task) / samples_per_s))


def _simulated(demonstrations: Demonstrations) -> Iterator[ArmEpisode]:
    """Read episodes of a simulator; their time is the number of control steps."""
    info = demonstrations.info
    step_ns = round(1e9 * info.action_repeat / _control_hz(info.task))
    for index, episode in enumerate(demonstrations.episodes()):
        count = len(episode.actions)
        joints = np.empty((count, 0)) if episode.joint_positions is None else \
            episode.joint_positions[:count]
        masks = {} if episode.masks is None else {'camera': episode.masks[:count]}
        yield ArmEpisode(np.arange(count, dtype=np.int64) * step_ns,
                         {'camera': episode.frames[:count]}, joints, episode.actions, masks,
                         source=f'{demonstrations.folder}: episode {index}')


def _control_hz(task: str) -> float:
    """Control steps per second of a simulated task."""
    from samg_ros.sim.env import SimEnv
    env = SimEnv(task, action_repeat=1, height=16, width=16, truth=False)
    try:
        return 1e9 / env.control_period_ns
    finally:
        env.close()
