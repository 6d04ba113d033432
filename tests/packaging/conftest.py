# SPDX-License-Identifier: Apache-2.0
"""A clean copy of the sources, as a clone would have them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='session')
def environment():
    """The environment of a fresh shell: no trace of this checkout or of another workspace."""
    traces = ('PYTHONPATH', 'AMENT_PREFIX_PATH', 'COLCON_PREFIX_PATH', 'CMAKE_PREFIX_PATH')
    return {name: value for name, value in os.environ.items() if name not in traces}


@pytest.fixture(scope='session')
def tracked_files():
    """Every file of a clone, relative to its root."""
    if not (ROOT / '.git').exists() or not shutil.which('git'):
        pytest.skip('not a git checkout, so what a clone holds is not known')
    listed = subprocess.run(['git', 'ls-files', '-z'], cwd=ROOT, capture_output=True, text=True,
                            check=True).stdout
    return [Path(name) for name in listed.split('\0') if name and (ROOT / name).exists()]


@pytest.fixture
def clone(tracked_files, tmp_path):
    """A clone with the tracked files as they are now."""
    folder = tmp_path / 'workspace' / 'src' / 'samg_ros'
    for name in tracked_files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    return folder


@pytest.fixture(scope='session')
def package_files(tracked_files):
    """Every file that belongs into the installed Python package, relative to it."""
    return sorted([name.relative_to('samg_ros') for name in tracked_files
                   if name.parts[0] == 'samg_ros' and name != Path('samg_ros/sim')]
                  + [name for name in tracked_files if name.parts[0] == 'sim'])
