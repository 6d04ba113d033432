# SPDX-License-Identifier: Apache-2.0
"""Nodes on a machine that lacks libraries they do not need, or one that they do."""

import subprocess
import sys

import pytest

SIMULATION = ('mujoco', 'dm_control', 'gymnasium', 'gymnasium_robotics')
LARGE_MODELS = ('transformers', 'timm', 'torchvision', 'segment_anything')
REST = ('h5py', 'pyarrow', 'jinja2', 'matplotlib', 'tensorboard', 'rosbags', 'mcap', 'ray', 'jax')


def python_without(libraries, code):
    """Run Python code in a process where importing these libraries fails as if not installed."""
    hidden = f'import sys; sys.modules.update(dict.fromkeys({libraries!r})); '
    return subprocess.run([sys.executable, '-c', hidden + code], capture_output=True, text=True,
                          timeout=120)


def test_a_robot_that_masks_and_acts_needs_neither_simulator_nor_large_models():
    ended = python_without(SIMULATION + LARGE_MODELS + REST, (
        'from samg_ros.nodes.executables import node_class; '
        'from samg_ros.masking import Masker; Masker.load("mini"); '
        '[node_class(name) for name in ("perception", "policy", "command_guard", '
        '"lifecycle_manager")]'))
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize('executable, library', [
    ('perception', 'torch'), ('mujoco_bridge', 'cv2'), ('bag_evaluator', 'rosbags')])
def test_a_library_that_is_missing_is_one_line_that_says_what_to_install(executable, library):
    ended = python_without((library,), (
        f'from samg_ros.nodes import executables; executables.{executable}()'))
    assert ended.returncode == 1
    assert ended.stderr.count('\n') == 1 and ended.stderr.startswith('samg: error: ')
    assert f"'{library}' is not installed; run `pip install " in ended.stderr
