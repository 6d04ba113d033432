# SPDX-License-Identifier: Apache-2.0
"""What `file_fuzz.py` tries: of every kind of file a good one, and what reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import h5py
import numpy as np
import torch
from torch import nn

from samg_ros.arm.joint_limits import load_joint_limits
from samg_ros.arm.workspace import Workspace
from samg_ros.bags.bag import open_bag
from samg_ros.bags.criteria import load_criteria
from samg_ros.bags.recording import Recording
from samg_ros.demonstrations.contract import load_contract
from samg_ros.demonstrations.episode import ArmEpisode
from samg_ros.demonstrations.lerobot_layout import DatasetInfo
from samg_ros.demonstrations.lerobot_reader import LeRobotDataset
from samg_ros.demonstrations.lerobot_writer import LeRobotWriter
from samg_ros.errors import ConfigError
from samg_ros.evaluation.episode_files import load_episodes, save_episodes
from samg_ros.evaluation.episodes import EpisodeResults, View
from samg_ros.files.pictures import read_picture
from samg_ros.files.reading import check_readable
from samg_ros.masking import Reference
from samg_ros.masking.models.loading.weights_io import load_strict
from samg_ros.observation import ObservationSpec
from samg_ros.perception.description import read_description
from samg_ros.rl.agents.drqv2 import DrQv2Agent
from samg_ros.rl.commands.report import find_runs
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.data import demonstrations
from samg_ros.rl.data.hdf5 import RecordingFile
from samg_ros.rl.evaluation.policy import load_policy
from samg_ros.rl.experts.state_policy import StatePolicy
from samg_ros.rl.presets import make_config
from samg_ros.rl.training.checkpoint import Checkpoint, save_checkpoint
from samg_ros.rl.training.metrics import COLUMNS, read_metrics
from samg_ros.ros.given_parameters import given_parameters
from samg_ros.sim.tasks.colours import ColourList
from samg_ros.sim.visual.videos import VideoFolder

SIDE = 20
_RNG = np.random.default_rng(0)


class Kind(NamedTuple):
    """One kind of file."""

    name: str
    make: Callable[[Path], Path]
    """Writes a good one into a folder; returns the file or folder to spoil."""
    load: Callable[[Path], Any]
    """Reads it to its end."""


def _text(name: str, text: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path
    return make


def _words(path: Path) -> str:
    """Return a file's text, for what gets its text from a message or the command line."""
    check_readable(path, ConfigError)
    return path.read_text(errors='surrogateescape')


def _frame() -> np.ndarray:
    return _RNG.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)


def _mask() -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[5:12, 5:12] = True
    return mask


def _config() -> TrainConfig:
    return TrainConfig(task='arm_reach', camera_size=SIDE, convolutions=((4, 3, 2),), feature_dim=8,
                       hidden_dim=16, observation=ObservationSpec(size=16, proprioception=('a',)))


def _checkpoint(folder: Path) -> Path:
    config = _config()
    reference = Reference(_frame(), _mask())
    description = {'model': 'mini', 'weights': None, 'settings': {}}
    save_checkpoint(folder / 'policy.pt', Checkpoint(
        config, np.full(2, -0.5), np.full(2, 0.5), DrQv2Agent(config, 2).state_dict(), reference,
        description, {'count': 3, 'rng': '{}'}, {'steps': 3, 'episodes': 1, 'done': False}))
    return folder / 'policy.pt'


def _run(folder: Path) -> Path:
    run = folder / 'run'
    run.mkdir()
    _checkpoint(run).rename(run / 'checkpoint.pt')
    _metrics(run)
    result = {'setting': 'train', 'mean_return': 3.0, 'return_error': 0.5}
    (run / 'evaluation.json').write_text(json.dumps({'results': {'train': result}}))
    return run


def _load_run(path: Path) -> None:
    from samg_ros.rl.commands.report import side_by_side

    side_by_side(*find_runs([path]))


def _metrics(folder: Path) -> Path:
    rows = [','.join(COLUMNS)] + [','.join([str(i)] * len(COLUMNS)) for i in range(1, 9)]
    (folder / 'metrics.csv').write_text('\n'.join(rows) + '\n')
    return folder / 'metrics.csv'


def _network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


def _weights(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        from safetensors.torch import save_file

        path, state = folder / name, _network().state_dict()
        save_file(state, path) if path.suffix == '.safetensors' else torch.save(state, path)
        return path
    return make


def _reference(folder: Path) -> Path:
    return Reference(_frame(), _mask(), (_mask(),), np.array([[6.0, 7.0]])).save(
        folder / 'reference')


def _workspace(folder: Path) -> Path:
    place = folder / 'workspace'
    place.mkdir()
    (place / 'arm.xml').write_text(
        '<mujoco><worldbody><body name="upper"><joint name="a" axis="0 0 1"/><geom size=".1"/>'
        '<body name="hand" pos="1 0 0"><geom size=".1"/></body></body></worldbody></mujoco>')
    (place / 'workspace.yaml').write_text(
        'workspace:\n  model: arm.xml\n  body: hand\n  x: [-2, 2]\n  y: [-2, 2]\n  z: [-1, 1]\n')
    return place


def _expert(folder: Path) -> Path:
    one = np.ones
    StatePolicy((one((4, 3), np.float32), one((2, 4), np.float32)),
                (one(4, np.float32), one(2, np.float32)), one(3, np.float32), one(3, np.float32),
                one(2, np.float32), one(2, np.float32), 'walker_walk',
                state=(('qpos', 3),)).save(folder / 'expert.npz')
    return folder / 'expert.npz'


def _episodes(folder: Path) -> Path:
    view = View(_frame(), _mask(), _frame())
    save_episodes(folder / 'trials.npz', [EpisodeResults(
        'train', (1.0, 2.0), ((0.5,), (0.5, 0.6)), (view, view), successes=(True, False))],
        {'x': 1})
    return folder / 'trials.npz'


def _demonstrations(folder: Path) -> Path:
    info = demonstrations.Info('arm_reach', 1, (-1.0,), (1.0,), (SIDE, SIDE))
    with demonstrations.DemonstrationWriter(folder / 'demonstrations', info) as writer:
        writer.add(demonstrations.Episode(np.stack([_frame()] * 4), np.zeros((3, 1)), np.zeros(3),
                                          masks=np.stack([_mask()] * 4)))
    return folder / 'demonstrations'


def _hdf5(folder: Path) -> Path:
    with h5py.File(folder / 'main_data.hdf5', 'w') as file:
        group = file.create_group('episode_0')
        group['actions'], group['rewards'] = np.zeros((3, 1)), np.zeros(3)
        group['terminations'] = np.zeros(3, bool)
        group.create_dataset('observations', data=np.stack([_frame()] * 4), compression='gzip')
        file.attrs['env_spec'] = '{"id": "x"}'
    return folder / 'main_data.hdf5'


def _load_hdf5(path: Path) -> None:
    file = RecordingFile(path)
    file.environment()
    list(file.episodes())


def _lerobot(folder: Path) -> Path:
    info = DatasetInfo('reach', 10.0, ('a',), ('a',), {'front': (SIDE, SIDE)}, ('front',))
    with LeRobotWriter(folder / 'lerobot', info) as writer:
        for value in range(2):
            writer.add(ArmEpisode(np.arange(3) * 100_000_000, {'front': np.stack([_frame()] * 3)},
                                  np.full((3, 1), value / 2), np.full((3, 1), value / 2),
                                  {'front': np.stack([_mask()] * 3)}))
    return folder / 'lerobot'


def _bag(storage: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        from rosbags.rosbag2 import StoragePlugin, Writer
        from rosbags.typesys import Stores, get_typestore

        store = get_typestore(Stores.ROS2_KILTED)
        kind = 'std_msgs/msg/String'
        data = bytes(store.serialize_cdr(store.types[kind]('hello'), kind))
        with Writer(folder / storage, version=8,
                    storage_plugin=StoragePlugin[storage.upper()]) as writer:
            topic = writer.add_connection('/words', kind, typestore=store)
            for time_ns in range(20):
                writer.write(topic, time_ns, data)
        return folder / storage
    return make


def _recording(folder: Path) -> Path:
    recording = Recording(folder / 'session.mcap')
    data = b'\0\1\0\0\6\0\0\0hello\0'
    for time_ns in range(20):
        recording.add('/words', 'std_msgs/msg/String', time_ns, data)
    recording.close()
    return folder / 'session.mcap'


def _load_bag(path: Path) -> None:
    bag = open_bag(path)
    list(bag.messages(list(bag.topics)))


def _picture(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        cv2.imwrite(str(folder / name), _frame())
        return folder / name
    return make


def _video(folder: Path) -> Path:
    place = folder / 'videos'
    place.mkdir()
    writer = cv2.VideoWriter(str(place / 'a.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 10,
                             (64, 64))
    for _ in range(5):
        writer.write(_RNG.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    writer.release()
    return place


def _load_video(path: Path) -> None:
    folder = VideoFolder(path, SIDE, SIDE, 0)
    for index in range(8):
        folder.frame(index)


_LIMITS = """joint_limits:
  a:
    has_position_limits: true
    min_position: -3.14
    max_position: 3.14
    max_velocity: 0.6
"""
_CONTRACT = 'cameras: {front: /camera}\njoints: [a, b]\nrate_hz: 10\nclock: header\n'
_CRITERIA = 'criteria: {truth_iou.p5: {at_least: 0.6, at_most: 1}, empty_masks: {at_most: 0}}\n'
_PARAMETERS = 'policy:\n  ros__parameters:\n    rate: 10.0\n    joints: [a, b]\n'
_COLOURS = json.dumps([{name: [0.1, 0.5, 0.9] for name in
                        ('self_rgb', 'grid_rgb1', 'grid_rgb2', 'skybox_rgb')}] * 3)
_DESCRIPTION = json.dumps({'model': 'mini', 'weights': None,
                           'settings': {'passes': 2, 'grid_size': 48, 'fit_steps': 10}})

KINDS: dict[str, Kind] = {kind.name: kind for kind in (
    Kind('checkpoint', _checkpoint, load_policy),
    Kind('run', _run, _load_run),
    Kind('metrics', _metrics, lambda path: read_metrics(path.parent)),
    Kind('safetensors', _weights('w.safetensors'), lambda path: load_strict(_network(), path)),
    Kind('torch_weights', _weights('w.pth'), lambda path: load_strict(_network(), path)),
    Kind('reference', _reference, Reference.load),
    Kind('joint_limits', _text('limits.yaml', _LIMITS), load_joint_limits),
    Kind('workspace', _workspace, lambda path: Workspace(path / 'workspace.yaml', ['a'])),
    Kind('contract', _text('contract.yaml', _CONTRACT), load_contract),
    Kind('criteria', _text('criteria.yaml', _CRITERIA), load_criteria),
    Kind('parameters', _text('arm.yaml', _PARAMETERS),
         lambda path: given_parameters(path, 'policy')),
    Kind('expert', _expert, StatePolicy.load),
    Kind('episodes', _episodes, load_episodes),
    Kind('demonstrations', _demonstrations,
         lambda path: list(demonstrations.Demonstrations(path).episodes())),
    Kind('hdf5', _hdf5, _load_hdf5),
    Kind('lerobot', _lerobot, lambda path: list(LeRobotDataset(path).episodes())),
    Kind('bag_sqlite', _bag('sqlite3'), _load_bag),
    Kind('bag_mcap', _bag('mcap'), _load_bag),
    Kind('recording', _recording, _load_bag),
    Kind('png', _picture('a.png'), read_picture),
    Kind('jpeg', _picture('a.jpg'), read_picture),
    Kind('video', _video, _load_video),
    Kind('colours', _text('colours.json', _COLOURS),
         lambda path: ColourList('color_easy', path, 0)),
    Kind('description', _text('description.json', _DESCRIPTION),
         lambda path: read_description(_words(path))),
    Kind('overrides', _text('overrides.json', '{"hidden_dim": 32, "observation": {"size": 32}}'),
         lambda path: make_config('walker_walk', overrides=_words(path))),
)}
