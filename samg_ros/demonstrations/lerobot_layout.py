# SPDX-License-Identifier: Apache-2.0
"""Names, paths and features of a LeRobotDataset v3.

Source of the layout: the package lerobot 0.4, lerobot/datasets/utils.py, and data sets that it
wrote. Frames are rows of parquet files under data/, `meta/info.json` describes the columns,
`meta/episodes` says which rows belong to which episode, `meta/tasks.parquet` names the tasks, and
`meta/stats.json` has the statistics that policies normalise with. What LeRobot does not know goes
under the key `samg_ros` of info.json, which its loader ignores.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

VERSION = 'v3.0'
INFO, STATS, TASKS = 'meta/info.json', 'meta/stats.json', 'meta/tasks.parquet'
DATA_PATTERN = 'data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet'
EPISODES_PATTERN = 'meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet'
FILES_PER_CHUNK = 1000
STATE, ACTION, IMAGES = 'observation.state', 'action', 'observation.images.'
MASKS = 'observation.masks.'
"""Text: the run lengths of a camera's mask, see `run_lengths`."""
STAMP = 'observation.stamp_ns'
"""(1,) int64: the stamp of the sample's frame. `timestamp` is the frame number over `fps`, as
LeRobot's loader demands, so it cannot hold the recorded times."""
JOINTS, COMMANDS = 'observation.joints_float64', 'action_float64'
"""State and action as recorded; STATE and ACTION hold them in float32, for LeRobot's policies."""
EXTRA = 'samg_ros'
INDEX_FEATURES: dict[str, dict[str, Any]] = {
    'timestamp': {'dtype': 'float32', 'shape': [1], 'names': None},
    'frame_index': {'dtype': 'int64', 'shape': [1], 'names': None},
    'episode_index': {'dtype': 'int64', 'shape': [1], 'names': None},
    'index': {'dtype': 'int64', 'shape': [1], 'names': None},
    'task_index': {'dtype': 'int64', 'shape': [1], 'names': None}}


@dataclass(frozen=True)
class DatasetInfo:
    """What the episodes of a data set have in common."""

    task: str
    """What is demonstrated, in words."""
    fps: float
    """Samples per second."""
    joints: tuple[str, ...]
    """Names of the joints in the state."""
    action_names: tuple[str, ...]
    """Names of the numbers of an action."""
    cameras: dict[str, tuple[int, int]]
    """Camera -> height and width of its frames."""
    masks: tuple[str, ...] = ()
    """Cameras whose masks are stored."""
    robot: str = ''
    """Type of the robot, as LeRobot shows it."""
    extra: dict[str, Any] = field(default_factory=dict)
    """What is added under EXTRA: mask contract, operator's notes, contract of the import."""

    def features(self) -> dict[str, dict[str, Any]]:
        """Return `features` of info.json: dtype, shape and names of every column."""
        images = {IMAGES + name: {'dtype': 'image', 'shape': [height, width, 3],
                                  'names': ['height', 'width', 'channels']}
                  for name, (height, width) in self.cameras.items()}
        state = {STATE: {'dtype': 'float32', 'shape': [len(self.joints)],
                         'names': list(self.joints)}} if self.joints else {}
        return {**state,
                ACTION: {'dtype': 'float32', 'shape': [len(self.action_names)],
                         'names': list(self.action_names)},
                **({JOINTS: {**state[STATE], 'dtype': 'float64'}} if self.joints else {}),
                COMMANDS: {'dtype': 'float64', 'shape': [len(self.action_names)],
                           'names': list(self.action_names)},
                **images, **{MASKS + name: {'dtype': 'string', 'shape': [1], 'names': None}
                             for name in self.masks},
                STAMP: {'dtype': 'int64', 'shape': [1], 'names': None},
                **INDEX_FEATURES}
