# SPDX-License-Identifier: Apache-2.0
"""A data set of demonstrations as bags, one MCAP file for each episode.

Stamps, joint values, actions and frames are those of the data set, to the bit; so what
`samg demonstrations import` makes of the bags is the data set again. A bag's times of recording are
the stamps: a data set does not keep others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from samg_ros.bags import messages
from samg_ros.bags.recording import METADATA, OUTCOME, Recording
from samg_ros.bags.topics import ARRAY, IMAGE, JOINT_STATE
from samg_ros.demonstrations.contract import Contract
from samg_ros.demonstrations.episode import ArmEpisode
from samg_ros.demonstrations.lerobot_reader import LeRobotDataset
from samg_ros.errors import DemonstrationError
from samg_ros.files.outputs import make_folder, write_text

CONTRACT_NAME = 'contract.yaml'
"""Beside the bags, for importing them again."""
_JOINTS, _ACTION = '/joint_states', '/command'
_MS_NS = 10**6


def export_bags(dataset: Path | str, folder: Path) -> dict[str, int]:
    """Write the episodes of a data set as bags, and a contract for reading them.

    Args:
        dataset: folder of a LeRobotDataset v3 with images.
        folder: for the bags.

    Returns:
        'episodes' and 'frames'.

    Raises:
        SamgError: if the data set cannot be read, or the bags cannot be written.
    """
    source = LeRobotDataset(dataset)
    if any(folder.glob('*.mcap')):  # some would stay, and be imported with the new ones
        raise DemonstrationError(f"'{folder}' holds bags already; give a new folder")
    make_folder(folder)
    frames, longest_ns = 0, 0
    for index, episode in enumerate(source.episodes()):
        _write(folder / f'episode_{index:05d}.mcap', source, episode)
        frames += len(episode.stamps)
        longest_ns = max(longest_ns, int(np.diff(episode.stamps).max(initial=0)))
    # No gap within an episode may end it: to the next millisecond above the longest.
    gap_s = (longest_ns // _MS_NS + 1) * _MS_NS / 10**9
    contract: dict[str, Any] = {
        'cameras': {name: _image_topic(name) for name in source.info.cameras},
        'action': _ACTION, 'max_gap_s': max(gap_s, Contract.max_gap_s)}
    if source.info.joints:
        contract |= {'joint_topics': [_JOINTS], 'joints': list(source.info.joints)}
    write_text(folder / CONTRACT_NAME, yaml.safe_dump(contract, sort_keys=False))
    return {'episodes': len(source), 'frames': frames}


def _write(path: Path, source: LeRobotDataset, episode: ArmEpisode) -> None:
    recording, info = Recording(path), source.info
    recording.describe(METADATA, {'task': info.task})

    def add(topic: str, kind: str, stamp: int, message: Any) -> None:
        recording.add(topic, kind, stamp, bytes(messages.STORE.serialize_cdr(message, kind)))

    named = not all(name == f'action_{index}' for index, name in enumerate(info.action_names))
    for at, stamp in enumerate(episode.stamps.tolist()):
        header = messages.header(stamp)
        if info.joints:
            add(_JOINTS, JOINT_STATE, stamp,
                messages.joint_state(header, info.joints, episode.joints[at]))
        for camera, pictures in episode.frames.items():
            add(_image_topic(camera), IMAGE, stamp, messages.image(header, pictures[at], 'rgb8'))
        for camera, masks in episode.masks.items():
            add(f'/{camera}/mask', IMAGE, stamp,
                messages.image(header, masks[at].view(np.uint8) * np.uint8(255), 'mono8'))
        action = episode.actions[at]
        if named:
            add(_ACTION, JOINT_STATE, stamp,
                messages.joint_state(header, info.action_names, action))
        else:
            add(_ACTION, ARRAY, stamp, messages.array(action))
    if episode.success is not None:
        recording.describe(OUTCOME, {'success': json.dumps(episode.success)})
    recording.close()


def _image_topic(camera: str) -> str:
    return f'/{camera}/image_raw'
