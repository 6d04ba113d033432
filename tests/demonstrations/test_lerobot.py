# SPDX-License-Identifier: Apache-2.0
"""LeRobot's own loader reads what we write, and its doctor finds no error.

Runs where $SAMG_LEROBOT_PYTHON names the Python of an environment with `lerobot` and
`lerobot-doctor`; their dependencies do not fit beside ours.
"""

import os
import subprocess
from pathlib import Path

import pytest

from samg_ros.demonstrations.bag_import import import_bags

from . import conftest as demo

LOAD = """
import sys
from lerobot.datasets.lerobot_dataset import LeRobotDataset
dataset = LeRobotDataset('samg/test', root=sys.argv[1], delta_timestamps={'action': [0, 0.05, 0.1]})
sample = dataset[5]
assert dataset.num_episodes == 2, dataset.num_episodes
assert tuple(sample['action'].shape) == (3, 2)
assert tuple(sample['observation.images.camera'].shape) == (3, 48, 48)
assert int(sample['observation.stamp_ns']) == 1_700_000_000_250_000_000
assert sample['task'] == 'reach the disc'
"""


@pytest.fixture(scope='module')
def lerobot():
    python = os.environ.get('SAMG_LEROBOT_PYTHON')
    if not python:
        pytest.skip('SAMG_LEROBOT_PYTHON does not name a Python with lerobot and lerobot-doctor')
    return Path(python)


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp('lerobot')
    paths = [demo.bags.write(folder / name, demo.recording()) for name in 'ab']
    import_bags(paths, folder / 'set', 'reach the disc')
    return folder / 'set'


def test_its_loader_reads_samples_chunks_and_tasks(lerobot, dataset):
    done = subprocess.run([lerobot, '-c', LOAD, dataset], capture_output=True, text=True,
                          check=False, env={**os.environ, 'HF_HUB_OFFLINE': '1', 'PYTHONPATH': ''})
    assert done.returncode == 0, done.stderr[-2000:]


def test_its_doctor_finds_no_failure(lerobot, dataset):
    done = subprocess.run([lerobot.with_name('lerobot-doctor'), 'check', dataset],
                          capture_output=True, text=True, check=False,
                          env={**os.environ, 'PYTHONPATH': ''})
    assert 'Summary' in done.stdout and 'FAIL' not in done.stdout, done.stdout[-3000:]
