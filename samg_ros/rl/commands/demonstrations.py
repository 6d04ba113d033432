# SPDX-License-Identifier: Apache-2.0
"""`samg demonstrations import`: recorded episodes made into demonstrations that a run can take.

Where the recording has states and no pictures, the simulator shows each state as its camera would
have seen it; the true masks come with that for nothing.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samg_ros.errors import DemonstrationError, InvalidInputError
from samg_ros.files.outputs import write_json
from samg_ros.progress import ProgressLine
from samg_ros.rl.data.demonstrations import DemonstrationWriter, Episode, Info
from samg_ros.rl.data.hdf5 import RecordedEpisode, RecordingFile

if TYPE_CHECKING:
    from samg_ros.sim.env import SimEnv


def run_hdf5_import(args: argparse.Namespace) -> None:
    """Import, and print how much."""
    with ProgressLine() as line:
        figures = import_recordings(
            args.file, args.task, args.out, camera_size=args.camera_size,
            action_repeat=args.action_repeat, pixels=args.pixels, episodes=args.episodes,
            progress=lambda done: line.update(f'{done} episodes'))
    print(f'{figures["episodes"]} episodes, {figures["actions"]} actions, mean return '
          f'{figures["mean_return"]:.1f}: {args.out}')
    if args.json:
        write_json(args.json, figures)


def import_recordings(
    path: Path | str,
    task: str,
    folder: Path | str,
    *,
    camera_size: int = 84,
    action_repeat: int = 1,
    pixels: str | None = None,
    episodes: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Make a folder of demonstrations of recorded episodes.

    A recording that lacks the moment after its last action, as D4RL's do, loses that action.

    Args:
        path: HDF5 file in Minari's or D4RL's layout, or the folder of a Minari data set.
        task: task name.
        folder: of the demonstrations, new or empty.
        camera_size: side in pixels of the frames that are rendered from states; pictures keep
            their size.
        action_repeat: control steps of the simulation between two recorded moments.
        pixels: name of the pictures, if the recording has several.
        episodes: how many to import; None for all.
        progress: called with the number of episodes so far.

    Returns:
        'episodes', 'actions' and 'mean_return'.

    Raises:
        DemonstrationError: if the recording cannot be read, does not fit the task, or the folder
            cannot be written.
        SamgError: whatever the simulation raises.
    """
    from samg_ros.sim.env import SimEnv

    if action_repeat < 1 or (episodes is not None and episodes < 1):
        raise DemonstrationError('action_repeat and episodes must be at least 1')
    file = RecordingFile(path, pixels)
    _check_environment(file, task)
    env = SimEnv(task, height=camera_size, width=camera_size, action_repeat=1)
    writer = None
    returns: list[float] = []
    actions = 0
    try:
        env.reset()
        for recording in file.episodes():
            episode = _episode(recording, env, str(file.path))
            if writer is None:
                low, high = env.action_spec
                height, width = episode.frames.shape[1:3]
                joints = () if episode.joint_positions is None else env.joint_names
                writer = DemonstrationWriter(folder, Info(
                    task, action_repeat, tuple(low.tolist()), tuple(high.tolist()),
                    (height, width), joints, episode.masks is not None, file.path.name))
            writer.add(episode)
            returns.append(float(episode.rewards.sum()))
            actions += len(episode.actions)
            if progress is not None:
                progress(len(returns))
            if len(returns) == episodes:
                break
    finally:
        env.close()
    if writer is None:
        raise DemonstrationError(f'there is no episode in {file.path}')
    writer.close()
    return {'episodes': len(returns), 'actions': actions, 'mean_return': float(np.mean(returns))}


def _check_environment(file: RecordingFile, task: str) -> None:
    """Refuse an Adroit set that says it is from another task's environment."""
    name = file.environment()
    if name is None or not name.startswith('AdroitHand'):
        return
    own = task.removeprefix('adroit_').capitalize()
    if not name.startswith(f'AdroitHand{own}'):
        raise DemonstrationError(f"{file.path} is a recording of '{name}', not of task '{task}'")


def _episode(recording: RecordedEpisode, env: 'SimEnv', path: str) -> Episode:
    """Make a demonstration of a recorded episode, rendering its states if it has no pictures."""
    low, high = env.action_spec
    name = f'{path}, {recording.name}'
    if recording.actions.shape[1:] != low.shape:
        raise DemonstrationError(
            f"{name}: actions of task '{env.spec.name}' are {low.size} numbers, got "
            f'{recording.actions.shape[1]}; is it another task?')
    if not (np.isfinite(recording.actions).all() and np.isfinite(recording.rewards).all()):
        raise DemonstrationError(f'{name}: actions and rewards must be finite')
    pixels = recording.pixels
    count = len(recording.states['qpos'] if pixels is None else pixels) - 1
    if count < 1:
        raise DemonstrationError(f'{name}: one moment is no episode')
    whole = count == len(recording.actions)
    masks = joints = None
    if pixels is not None:
        frames = pixels
    else:
        frames, masks, joints = _render(recording.states, env, name)
    return Episode(
        frames=frames,
        actions=np.clip(recording.actions[:count].astype(np.float64), low, high),
        rewards=recording.rewards[:count].astype(np.float64),
        terminal=recording.terminal and whole,
        masks=masks,
        joint_positions=joints,
    )


def _render(states: dict[str, NDArray[Any]], env: 'SimEnv', name: str
            ) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.float64]]:
    """Return frames, true masks and joint positions of recorded states."""
    # What a reset places is where it was at the first moment: later rows hold where it has moved.
    placed = {key: values[0] for key, values in states.items() if key not in ('qpos', 'qvel')}
    frames, masks, joints = [], [], []
    for qpos, qvel in zip(states['qpos'], states['qvel'], strict=True):
        try:
            step = env.show({**placed, 'qpos': qpos, 'qvel': qvel})
        except InvalidInputError as error:
            raise DemonstrationError(f'{name}: {error}; is it another task?') from error
        assert step.mask is not None
        frames.append(step.frame)
        masks.append(step.mask)
        joints.append(step.joint_positions)
    return np.stack(frames), np.stack(masks), np.stack(joints)
