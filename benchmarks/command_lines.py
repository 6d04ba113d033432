# SPDX-License-Identifier: Apache-2.0
"""What `command_fuzz.py` tries: of every command small lines that work, and what spoils them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from file_kinds import KINDS, SIDE
from rosbags.typesys import Stores, get_typestore

from samg_ros import cli
from samg_ros.bags.recording import Recording
from samg_ros.masking import Masker, Reference
from samg_ros.observation import ObservationSpec
from samg_ros.rl.agents.drqv2 import DrQv2Agent
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.experts.state_policy import StatePolicy
from samg_ros.rl.training.checkpoint import Checkpoint, save_checkpoint

HEAVY = ('torch._dynamo', 'torch._inductor.compile_fx', 'cv2', 'mujoco', 'rclpy',
         'safetensors.torch', 'h5py', 'pyarrow.parquet', 'matplotlib.figure', 'rosbags.rosbag2',
         'rosbags.typesys', 'uvicorn', 'sensor_msgs.msg')

FILES = {'checkpoint': 'policy.pt', 'run': 'run', 'safetensors': 'w.safetensors',
         'reference': 'reference', 'joint_limits': 'limits.yaml', 'contract': 'contract.yaml',
         'expert': 'expert.npz', 'demonstrations': 'demonstrations', 'hdf5': 'main_data.hdf5',
         'lerobot': 'lerobot', 'bag_mcap': 'mcap', 'bag_sqlite': 'sqlite3', 'png': 'a.png',
         'jpeg': 'a.jpg', 'video': 'videos', 'colours': 'colours.json'}
"""Kinds of files, and what the user has called them."""
PATHS = frozenset((*FILES.values(), 'videos/a.avi', 'session.mcap', 'arm.pt'))

NUMBERS = (('-1', False), ('0', False), ('', True), ('abc', True), ('nan', True), ('1e999', True),
           ('99999999999999999999999', False), ('1.5', False), ('0x10', True), ('--', True))
"""Words in place of a number, and whether none of the commands can take them."""
ODD_PATHS = ('', 'gone', 'gone/there', '/dev/null', '/dev/zero', 'pipe.mp4', 'empty', 'noise',
             '/proc/self/mem', '~nobody-at-all/x', '\x1b[2J', 'x' * 300, '/', 'noise.mcap',
             'empty.yaml', 'words.txt')
"""Paths that no command has a use for; an empty one may stand for none."""
BAD_OUTPUTS = ('/proc/new', '/dev/null/new', 'words.txt/new', '', '/dev/full', 'x' * 300)
"""Outputs that cannot be written, as file or as folder."""
USERS_OUTPUTS = ('words.txt', 'mine', 'a.png', 'reference', 'reference/image.png', 'videos',
                 'policy.pt', 'limits.yaml', 'run')
SETTINGS = ('x', '=1', 'steps', 'steps=', 'steps=nan', 'nothing=1', 'steps="a"', 'observation=1',
            'batch_size=-1', 'batch_size=1e9999', 'learning_rate=NaN', 'observation={"size":"x"}',
            'observation={"size":', 'hidden_dim=[]', 'task=', 'seed=-1', 'camera_size=0',
            'observation={"crop":[0,0,-1,5]}', 'discount=7', 'learning_rate=-1', '\x1b[2J=1')
WORDS = (('--device', 'nothing'), ('--model', 'nothing'), ('--task', 'nothing'), ('--seed', '-1'),
         ('--seed', '99999999999999'), ('--seed', 'x'), ('--setting', 'nothing'), ('--weights', ''),
         ('--weights', 'words.txt'), ('--device', 'cuda:77'), ('--preset', 'nothing'))
ODD_WORDS = ('', '-', '--', 'nan', '\u00b1', '\x1b[31m', '-1', 'x' * 1000, '=', ',', '{}', '\ud800')
ENVIRONMENT = (
    ('MUJOCO_GL', 'nonsense'), ('MUJOCO_GL', 'EGL'), ('MUJOCO_GL', 'off'),
    ('PYOPENGL_PLATFORM', 'nonsense'), ('HOME', '/dev/null'), ('HOME', '/nowhere'),
    ('ROS_LOG_DIR', '/dev/null/x'), ('ROS_DOMAIN_ID', 'abc'), ('ROS_DOMAIN_ID', '-1'),
    ('ROS_DOMAIN_ID', '500'), ('TMPDIR', '/nowhere'), ('XDG_CACHE_HOME', '/dev/null/x'),
    ('RMW_IMPLEMENTATION', 'rmw_nothing'), ('DISPLAY', ':77'), ('COLUMNS', 'x'),
    ('ROS_AUTOMATIC_DISCOVERY_RANGE', 'nonsense'))

_TINY = ('--set', 'batch_size=4', '--set', 'hidden_dim=8', '--set', 'random_steps=4', '--set',
         'update_after=6', '--set', 'observation={"size":16}')


class Line(NamedTuple):
    """A command line that works."""

    path: tuple[str, ...]
    """The words of the command."""
    arguments: tuple[str, ...]
    """Those words, and all that follows."""


def _line(command: str, *arguments: str) -> Line:
    path = tuple(command.split())
    return Line(path, (*path, *arguments))


_LINES = (
    _line('run sim_train', '--task', 'cartpole_swingup', '--steps', '4', '--run-dir', 'new_run',
          '--seed', '1', '--overrides', '{"batch_size": 4}', '--episodes', '0'),
    _line('run arm', '--use-sim', '--policy', 'arm.pt', '--reference', 'reference', '--episodes',
          '1', '--json', 'new.json', '--seed', '1'),
    _line('run sim_eval', '--policy', 'policy.pt', '--episodes', '1', '--seed', '1', '--json',
          'new.json', '--videos', 'videos'),
    _line('run bag_eval', '--bag', 'session.mcap', '--reference', 'reference', '--out', 'new',
          '--rate', '10', '--json', 'new.json'),
    _line('train policy', '--source', 'raw', '--steps', '8', '--episodes', '0', '--seed', '1',
          '--run-dir', 'new_run', '--json', 'new.json', *_TINY),
    _line('train policy', '--source', 'raw,truth', '--steps', '8', '--episodes', '1', '--ray',
          'none', '--cores', '1', '--retries', '0', '--run-dir', 'new_run', *_TINY),
    _line('train clone', '--task', 'walker_walk', '--source', 'raw', '--steps', '8',
          '--episodes', '0', '--seed', '1', '--expert', 'expert.npz', '--run-dir', 'new_run',
          *_TINY, '--set', 'convolutions=[[4,3,2]]'),
    _line('train clone', '--demonstrations', 'lerobot', '--reference', 'reference', '--chunk', '2',
          '--every', '1', '--steps', '4', '--run-dir', 'new_run', '--seed', '1', '--set',
          'hidden_dim=8'),
    _line('train expert', '--task', 'cartpole_swingup', '--steps', '1', '--run-dir', 'new_run',
          '--seed', '1'),
    _line('train mini', '--data', 'new_data', '--run-dir', 'new_run', '--steps', '1', '--workers',
          '1', '--seed', '1', '--backgrounds', 'reference'),
    _line('eval masks', '--task', 'cartpole_swingup', '--setting', 'train', '--frames', '2',
          '--every', '4', '--size', '64', '--seed', '1', '--json', 'new.json', '--out', 'new',
          '--reference', 'reference'),
    _line('eval policy', 'policy.pt', '--setting', 'train', '--episodes', '1', '--max-steps', '2',
          '--seed', '1', '--json', 'new.json', '--out', 'new', '--videos', 'videos'),
    _line('eval bag', 'session.mcap', '--reference', 'reference', '--out', 'new', '--json',
          'new.json', '--frame-lines', 'new.jsonl', '--limits', 'limits.yaml', '--seed', '1'),
    _line('eval replay', 'session.mcap', '--checkpoint', 'policy.pt', '--json', 'new.json'),
    _line('demo arm', '--out', 'new', '--recorded', '1', '--steps', '1', '--episodes', '1',
          '--seed', '1'),
    _line('bench sim', '--task', 'cartpole_swingup', '--seconds', '0.1', '--size', '32', '--seed',
          '1', '--json', 'new.json'),
    _line('bench masking', '--models', 'mini', '--batches', '1', '--size', '64', '64', '--turns',
          '1', '--json', 'new.json'),
    _line('bench learning', '--agents', 'drqv2', '--turns', '1', '--actions', '1', '--preset',
          'quick', '--threads', '1', '--json', 'new.json', *_TINY[:4]),
    _line('bench graph', '--frames', '2', '--size', '48', '64', '--json', 'new.json'),
    _line('demonstrations import', 'session.mcap', '--task', 'reach', '--contract', 'contract.yaml',
          '--out', 'new', '--json', 'new.json', '--size', '32', '32'),
    _line('demonstrations import', 'main_data.hdf5', '--task', 'cartpole_swingup', '--out', 'new',
          '--camera-size', '20', '--action-repeat', '1', '--episodes', '1'),
    _line('demonstrations export', 'lerobot', '--reference', 'reference', '--out', 'new', '--json',
          'new.json'),
    *(_line(f'study {name}', '--task', 'cartpole_swingup', '--masks-only', '--frames', '2', '--out',
            'new', '--json', 'new.json', '--episode-seed', '1', '--run-dir', 'new_run')
      for name in ('ablation', 'robustness', 'annotation')),
    _line('reference make', 'a.png', '--out', 'new', '--seed', '1', '--port', '0',
          '--no-browser'),
    _line('reference render', '--task', 'cartpole_swingup', '--size', '64', '--seed', '1', '--out',
          'new', '--clicks', '1'),
    _line('reference show', 'reference', '--out', 'new.png'),
    _line('mask', 'a.png', 'videos/a.avi', '--reference', 'reference', '--out', 'new', '--batch',
          '4', '--json', 'new.json', '--seed', '1'),
    _line('export', '--format', 'onnx', '--reference', 'reference', '--size', '64', '64', '--out',
          'new'),
    _line('report', 'run', '--out', 'new', '--json', 'new.json'),
    _line('doctor', '--json', 'new.json'),
)
LINES: dict[str, list[Line]] = {' '.join(path): [line for line in _LINES if line.path == path]
                                for path in cli.COMMANDS}


def make_files(folder: Path) -> Path:
    """Write the user's files into a new folder, and return it."""
    folder.mkdir()
    for kind, name in FILES.items():
        made = KINDS[kind].make(folder)
        if made != folder / name:
            made.rename(folder / name)
    (folder / 'mine').mkdir()
    for name, text in (('mine/notes.txt', 'mine'), ('words.txt', 'some words\n'), ('empty', ''),
                       ('empty.yaml', '')):
        (folder / name).write_text(text)
    _record(folder / 'session.mcap')
    _save_expert(folder / FILES['expert'])
    for path, task, actions in (('policy.pt', 'cartpole_swingup', 1), ('arm.pt', 'arm_reach', 9),
                                ('run/checkpoint.pt', 'cartpole_swingup', 1)):
        _save_policy(folder / path, task, actions, Reference.load(folder / 'reference'))
    (folder / 'contract.yaml').write_text(yaml.safe_dump({
        'cameras': {'front': '/camera/image_raw'}, 'joints': ['a'], 'action': '/command'}))
    for name in ('noise', 'noise.mcap'):
        (folder / name).write_bytes(bytes(range(7, 256)) * 100)
    return folder


def _save_policy(path: Path, task: str, actions: int, reference: Reference) -> None:
    """Write an untrained policy of a task."""
    config = TrainConfig(task=task, camera_size=SIDE, convolutions=((4, 3, 2),), feature_dim=8,
                         hidden_dim=16, observation=ObservationSpec(size=16))
    save_checkpoint(path, Checkpoint(
        config, np.full(actions, -0.5), np.full(actions, 0.5),
        DrQv2Agent(config, actions).state_dict(), reference, Masker.load('mini').describe()))


def _save_expert(path: Path) -> None:
    """Write an untrained expert of walker_walk, in place of one of no task."""
    state = (('orientations', 14), ('height', 1), ('velocity', 9))
    inputs, hidden, actions = sum(size for _, size in state), 4, 6

    def full(*shape: int) -> np.ndarray:
        return np.full(shape, 0.1, np.float32)

    StatePolicy((full(hidden, inputs), full(actions, hidden)), (full(hidden), full(actions)),
                full(inputs), full(inputs), -np.ones(actions, np.float32),
                np.ones(actions, np.float32), 'walker_walk', state=state).save(path)


def _record(path: Path) -> None:
    """Write a bag of camera frames, joint states and commands."""
    store = get_typestore(Stores.ROS2_KILTED)
    kinds, recording = store.types, Recording(path)
    empty = np.empty(0)
    for index in range(6):
        stamp_ns = index * 10**8
        header = kinds['std_msgs/msg/Header'](stamp=kinds['builtin_interfaces/msg/Time'](
            sec=0, nanosec=stamp_ns), frame_id='camera')
        image = kinds['sensor_msgs/msg/Image'](
            header=header, height=SIDE, width=SIDE, encoding='rgb8', is_bigendian=0,
            step=3 * SIDE, data=np.full(3 * SIDE * SIDE, 40 * index, np.uint8))
        joints = kinds['sensor_msgs/msg/JointState'](
            header=header, name=['a'], position=np.array([0.01 * index]), velocity=empty,
            effort=empty)
        command = kinds['std_msgs/msg/Float64MultiArray'](
            layout=kinds['std_msgs/msg/MultiArrayLayout'](dim=[], data_offset=0),
            data=np.array([0.01 * index]))
        for topic, kind, message in (('/camera/image_raw', 'sensor_msgs/msg/Image', image),
                                     ('/joint_states', 'sensor_msgs/msg/JointState', joints),
                                     ('/command', 'std_msgs/msg/Float64MultiArray', command)):
            recording.add(topic, kind, stamp_ns, bytes(store.serialize_cdr(message, kind)))
    recording.close()
