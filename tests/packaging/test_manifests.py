# SPDX-License-Identifier: Apache-2.0
"""What is written down in several places is the same in all of them."""

import ast
import json
import re
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

import pytest
from catkin_pkg.package import parse_package
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import samg_ros
from samg_ros.nodes import executables
from samg_ros.nodes.executables import NODES

ROOT = Path(__file__).resolve().parents[2]

# rosdep's keys for what setup.py asks for by another name; None: not of apt, comes by
# scripts/ros_venv.sh, which reads setup.py.
ROSDEP_KEYS = {
    'dm-control': None,
    'gymnasium': None,
    'gymnasium-robotics': None,
    'h5py': 'python3-h5py',
    'jinja2': 'python3-jinja2',
    'matplotlib': 'python3-matplotlib',
    'mcap': None,
    'msgspec': None,
    'mujoco': None,
    'numpy': 'python3-numpy',
    'opencv-python-headless': 'python3-opencv',
    'osrf-pycommon': 'launch',
    'pillow': 'python3-pil',
    'pyarrow': None,
    'pyyaml': 'python3-yaml',
    'rosbags': None,
    'safetensors': None,
    'segment-anything': None,
    'tensorboard': None,
    'timm': None,
    'torch': None,
    'torchvision': None,
    'tqdm': 'python3-tqdm',
    'transformers': None,
    'zstandard': None,
}


@pytest.fixture(scope='module')
def package():
    return parse_package(str(ROOT / 'package.xml'))


@pytest.fixture(scope='module')
def setup_arguments():
    """What setup.py passes to setup() when pip builds a wheel."""
    return arguments_of_setup('bdist_wheel')


def arguments_of_setup(command):
    """Return what setup.py passes to setup() for a command of setuptools."""
    code = ('import json, runpy, setuptools\n'
            'setuptools.setup = lambda **arguments: print(json.dumps(arguments))\n'
            'runpy.run_path("setup.py")')
    shown = subprocess.run([sys.executable, '-c', code, command], cwd=ROOT, check=True,
                           capture_output=True, text=True).stdout
    return json.loads(shown)


@pytest.fixture(scope='module')
def pins():
    lines = [line for line in (ROOT / 'constraints.txt').read_text().splitlines()
             if line and not line.startswith('#')]
    return [Requirement(line) for line in lines]


def test_version_is_the_same_everywhere(package, setup_arguments):
    assert package.version == setup_arguments['version'] == samg_ros.__version__


def test_package_is_format_3_and_ament_python(package):
    assert package.package_format == 3
    assert package.get_build_type() == 'ament_python'


def test_licence_is_the_same_everywhere(package, setup_arguments):
    assert package.licenses == [setup_arguments['license']]
    assert 'Apache License' in (ROOT / package.licenses[0].file).read_text()


def test_every_requirement_is_in_package_xml(package, setup_arguments):
    named = {dependency.name for dependency in package.exec_depends}
    extras = setup_arguments['extras_require']
    wanted = sum((extras[name] for name in ('ros', 'simulation', 'models', 'demonstrations')),
                 setup_arguments['install_requires'])
    for line in wanted:
        name = canonicalize_name(Requirement(line).name)
        key = name[4:].replace('-', '_') if name.startswith('ros-') else ROSDEP_KEYS[name]
        assert key is None or key in named, f'{line}: {key} is missing in package.xml'


def test_rosdep_installs_nothing_by_pip(package):
    """Distributions since Ubuntu 24.04 refuse that; scripts/ros_venv.sh does it instead."""
    assert not [name for name in (each.name for each in package.exec_depends)
                if name.endswith('-pip')]


def test_package_says_where_it_lives(package):
    assert {url.type for url in package.urls} == {'website', 'repository', 'bugtracker'}


def test_every_ros_import_is_in_package_xml(package):
    """An import of a ROS package that is not declared works only by luck."""
    named = {dependency.name for dependency in package.exec_depends}
    ours = [*ROOT.glob('samg_ros/**/*.py'), *ROOT.glob('sim/*.py'), *ROOT.glob('launch/*.py')]
    imported = set()
    for path in ours:
        for line in ast.walk(ast.parse(path.read_text())):
            if isinstance(line, ast.ImportFrom) and line.module and not line.level:
                imported.add(line.module.split('.')[0])
            elif isinstance(line, ast.Import):
                imported |= {alias.name.split('.')[0] for alias in line.names}
    ros = {name for name in imported if name.endswith(('_msgs', '_srvs', '_interfaces'))}
    ros |= imported & {'rclpy', 'cv_bridge', 'launch', 'launch_ros', 'ament_index_python'}
    assert ros - named == set()


@pytest.mark.parametrize('python', ['3.10', '3.11', '3.12', '3.13'])
def test_every_requirement_has_one_exact_version(setup_arguments, pins, python):
    place = {'python_version': python, 'python_full_version': f'{python}.0',
             'sys_platform': 'linux', 'platform_machine': 'x86_64'}
    exact = {}
    for pin in pins:
        if pin.marker is None or pin.marker.evaluate(place):
            assert [clause.operator for clause in pin.specifier] == ['=='], pin
            assert canonicalize_name(pin.name) not in exact, f'{pin.name} is pinned twice'
            exact[canonicalize_name(pin.name)] = next(iter(pin.specifier)).version
    wanted = setup_arguments['install_requires'] + sum(
        setup_arguments['extras_require'].values(), [])
    for requirement in map(Requirement, wanted):
        if requirement.marker is None or requirement.marker.evaluate(place):
            version = exact[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version), f'{requirement} but {version} is pinned'


def test_installed_packages_are_all_pinned(pins):
    """The environment of `make` holds nothing whose version is left to chance."""
    if not (ROOT / '.venv' / '.samg-ready').exists() or not sys.prefix.startswith(str(ROOT)):
        pytest.skip('not the environment that make made')
    pinned = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins
              if pin.marker is None or pin.marker.evaluate()}
    # Not all of sys.path: Ray, once imported, puts its own copy of psutil there.
    for found in metadata.distributions(path=[sysconfig.get_path('purelib')]):
        name = canonicalize_name(found.metadata['Name'])
        # The ROS wheels bring their packages' own metadata: rclpy beside ros-rclpy. pip is the
        # one that Python brings.
        if name not in ('pip', 'samg-ros') and f'ros-{name}' not in pinned:
            assert found.version == pinned.get(name), name


def test_no_host_or_index_is_named(pins):
    text = (ROOT / 'constraints.txt').read_text()
    assert '://' not in text
    assert not re.search(r'^\s*-', text, re.MULTILINE)
    assert all(isinstance(pin.marker, (Marker, type(None))) and not pin.url for pin in pins)


@pytest.mark.parametrize('command, prefix', [
    ('bdist_wheel', 'samg_'), ('editable_wheel', 'samg_'),  # of pip: on the PATH
    ('install', ''), ('develop', '')])  # of colcon: in lib/samg_ros, for ros2 run
def test_every_node_is_an_executable_which_on_the_path_has_a_prefix(command, prefix):
    entry_points = arguments_of_setup(command)['entry_points']
    scripts = dict(line.split(' = ') for line in entry_points['console_scripts'])
    assert scripts.pop('samg') == 'samg_ros.cli:main'
    assert scripts == {f'{prefix}{name}': f'samg_ros.nodes.executables:{name}' for name in NODES}
    assert all(callable(getattr(executables, name)) for name in NODES)
