# SPDX-License-Identifier: Apache-2.0
"""Build description, read alike by colcon (ament_python), pip and uv.

``samg_ros/sim`` is a symbolic link to ``../sim``; ``find_packages`` follows it, so the simulator
is an ordinary subpackage in every kind of install. colcon's ``--symlink-install`` runs this file
in its build folder, where only what is named here exists: read no other file.
"""

import sys
from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = 'samg_ros'


def share_files(*folders):
    """Return the data_files entries that install whole folders below share/samg_ros."""
    entries = {}
    for folder in folders:
        for path in sorted(Path(folder).rglob('*')):
            hidden = any(part.startswith('.') or part == '__pycache__' for part in path.parts)
            if path.is_file() and not hidden:
                entries.setdefault(f'share/{PACKAGE}/{path.parent.as_posix()}', []).append(
                    path.as_posix())
    return sorted(entries.items())


SIMULATION = [  # a robot that only masks, or runs a policy, does without
    'mujoco==3.17.*',
    # labmaze, which dm_control asks for, has no wheel for Python 3.13.
    'dm_control==1.0.50; python_version < "3.13"',
    'gymnasium>=1.0',
    'gymnasium-robotics>=1.3',  # Adroit
]
LEARNING = [
    'numpy>=1.21',
    'opencv-python-headless>=4.5',
    'pillow>=9.0',
    'torch>=2.1',
    'safetensors>=0.4',
    'msgspec>=0.18',  # checks what files from elsewhere hold
    'pyyaml>=5.4',
    'tqdm>=4.57',
    'jinja2>=3.0',
    'matplotlib>=3.5',
    'tensorboard>=2.12',
]
BAGS = [
    'rosbags>=0.11',
    'mcap>=1.2',  # what a cut-off recording left, record by record
    'zstandard>=0.20',  # likewise
]
# On a ROS 2 machine these come from the distribution (package.xml); elsewhere from wheels.
ROS = [
    'ros-rclpy[fastrtps]==9.1.2',
    'ros-ament-index-python==1.11.0',
    'ros-builtin-interfaces==2.3.0',
    'ros-diagnostic-msgs==5.5.1',
    'ros-geometry-msgs==5.5.1',
    'ros-lifecycle-msgs==2.3.0',
    'ros-rcl-interfaces==2.3.0',
    'ros-rosgraph-msgs==2.3.0',
    'ros-sensor-msgs==5.5.1',
    'ros-std-msgs==5.5.1',
    'ros-std-srvs==5.5.1',
    'ros-trajectory-msgs==5.5.1',
    # What the launch library imports; the library itself has no wheel.
    'osrf-pycommon>=2.0',
]
ENGINES = ['openvino>=2024.4']  # networks compiled for a CPU
ONNX = ['onnxruntime>=1.17']  # networks as ONNX; also what `samg export` wrote
DEMONSTRATIONS = ['h5py>=3.6', 'pyarrow>=14']  # HDF5 files; LeRobot data sets
MODELS = ['segment-anything>=1.0', 'timm>=1.0', 'torchvision>=0.16', 'transformers>=4.57']
WEB = ['starlette>=0.40', 'uvicorn>=0.30']  # the page of `samg reference make`
EXPERTS = ['jax>=0.4.30']  # training on states
RAY = ['ray>=2.52']  # many runs at once; older ones run the code of strangers
DOCS = ['mkdocs-material>=9.6', 'mkdocstrings[python]>=0.26']  # the site that `make docs` builds
DEVELOPMENT = [
    'colcon-common-extensions',
    'import-linter>=2.0',
    'mypy>=1.10',
    'playwright>=1.40',  # drives the Chromium of the machine
    'pytest>=7.0',
    'pytest-xdist>=3.2',  # one worker a core; 3.2 is the first that steals work
    'ruff>=0.5',
    # The last setuptools whose `develop` knows what colcon's --symlink-install asks for.
    'setuptools>=61,<80',
    'types-PyYAML',
    'wheel',
]

NODES = ['arm_episodes', 'bag_evaluator', 'bag_player', 'command_guard', 'evaluator',
         'lifecycle_manager', 'mujoco_bridge', 'perception', 'policy', 'recorder', 'teleop',
         'trainer']
# colcon installs into lib/samg_ros, for `ros2 run samg_ros perception`. pip installs on the PATH,
# where a plain `policy` could be anybody's: there it is `samg_policy`.
PREFIX = '' if {'install', 'develop'} & set(sys.argv) else 'samg_'

setup(
    name=PACKAGE,
    version='0.1.0',
    packages=find_packages(include=[PACKAGE, f'{PACKAGE}.*']),
    package_data={'': ['py.typed', 'assets/*', 'templates/*', 'weights/*', 'policies/*',
                       'static/*']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{PACKAGE}']),
        (f'share/{PACKAGE}', ['package.xml']),
        *share_files('launch', 'config', 'samples'),
    ],
    python_requires='>=3.10',
    install_requires=LEARNING + BAGS,
    extras_require={'ros': ROS, 'simulation': SIMULATION, 'models': MODELS, 'engines': ENGINES,
                    'onnx': ONNX, 'demonstrations': DEMONSTRATIONS, 'experts': EXPERTS, 'ray': RAY,
                    'web': WEB, 'docs': DOCS, 'dev': DEVELOPMENT},
    zip_safe=False,
    author='The samg_ros authors',
    maintainer='The samg_ros authors',
    maintainer_email='samg_ros@example.org',
    description='SAM-G for ROS 2: visual policies that see only what matters',
    license='Apache-2.0',
    entry_points={
        'console_scripts': [
            'samg = samg_ros.cli:main',
            *(f'{PREFIX}{node} = samg_ros.nodes.executables:{node}' for node in NODES),
        ],
    },
)
