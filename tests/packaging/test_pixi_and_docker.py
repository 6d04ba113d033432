# SPDX-License-Identifier: Apache-2.0
"""What cannot be solved or built here is at least well-formed and names what exists."""

import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip('tomli', reason='Python below 3.11 needs tomli')

ROOT = Path(__file__).parents[2]
EXTRAS = set(re.findall(r"'(\w+)': [A-Z]+[,}]", (ROOT / 'setup.py').read_text()))


def test_pixi_has_the_three_tasks_and_only_extras_that_exist():
    settings = tomllib.loads((ROOT / 'pixi.toml').read_text())
    assert {'demo', 'test', 'build'} <= settings['tasks'].keys()
    assert {'channels', 'platforms', 'name'} <= settings['workspace'].keys()
    assert set(settings['pypi-dependencies']['samg_ros']['extras']) <= EXTRAS
    distribution = settings['workspace']['channels'][0].removeprefix('robostack-')
    of_ros = [name for name in settings['dependencies'] if name.startswith('ros-')]
    assert of_ros and all(name.startswith(f'ros-{distribution}-') for name in of_ros)


@pytest.mark.parametrize('distribution', ['humble', 'jazzy', 'lyrical'])
def test_a_dockerfile_copies_what_it_runs(distribution):
    text = (ROOT / f'docker/{distribution}.Dockerfile').read_text()
    assert text.startswith('# ') and 'NOT BUILT' in text
    assert f'FROM ros:{distribution}-' in text and f'/opt/ros/{distribution}/setup.bash' in text
    script, extras = re.search(r'src/samg_ros/(scripts/\S+) \.venv (\S+)', text).groups()
    assert (ROOT / script).stat().st_mode & 0o100
    assert set(extras.split(',')) <= EXTRAS
