# SPDX-License-Identifier: Apache-2.0
"""Who may import whom: the contracts of pyproject.toml hold, and notice when they do not."""

import subprocess
import sys

import pytest


@pytest.fixture
def lint(clone, environment):
    def run():
        code = 'from importlinter.cli import lint_imports_command; lint_imports_command()'
        return subprocess.run([sys.executable, '-c', code, '--no-cache'], cwd=clone,
                              env={**environment, 'PYTHONPATH': str(clone)}, capture_output=True,
                              text=True, check=False)
    return run


def test_contracts_hold(lint):
    done = lint()
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(('module', 'line', 'broken'), [
    ('samg_ros/masking/settings.py', 'import samg_ros.observation', 'masking stands alone'),
    ('samg_ros/rl/config.py', 'import rclpy', 'only nodes and the bridge know ROS'),
    ('sim/env.py', 'import rclpy', 'only nodes and the bridge know ROS'),
    ('samg_ros/rl/config.py', 'import samg_ros.sim.bridge_node', 'the bridge is a node'),
    ('sim/env.py', 'import samg_ros.masking', 'the simulator does not mask'),
    ('samg_ros/bags/bag.py', 'import rclpy', 'bags are read without ROS'),
])
def test_forbidden_import_is_found(lint, clone, module, line, broken):
    path = clone / module
    path.write_text(f'{path.read_text()}\n{line}\n')
    done = lint()
    assert done.returncode == 1
    assert any(broken in shown and 'BROKEN' in shown for shown in done.stdout.splitlines())
