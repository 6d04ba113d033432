# SPDX-License-Identifier: Apache-2.0
"""sim_train.launch.py under the real launch and launch_ros, each node a process.

They have no wheels. Without a ROS installation, SAMG_ROS2_SRC may name a folder with checkouts of
ros2/launch and ros2/launch_ros; otherwise these tests are skipped.
"""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rclpy
from busy_machine import limit_s
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image

from samg_ros.nodes.base import make_executor
from samg_ros.nodes.domain import choose_domain
from samg_ros.rl.checkpoint import load_checkpoint

ROOT = Path(__file__).parents[2]
CHECKOUTS = ('launch/launch', 'launch_ros/launch_ros')
TINY = ('{"batch_size": 8, "hidden_dim": 16, "random_steps": 20, "update_after": 30, '
        '"update_every": 10, "action_repeat": 50, "checkpoint_every": 1000}')
RUN = """\
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
service = LaunchService(noninteractive=True)
service.include_launch_description(LaunchDescription([IncludeLaunchDescription(
    PythonLaunchDescriptionSource(sys.argv[1]),
    launch_arguments=[word.split(':=', 1) for word in sys.argv[2:]])]))
sys.exit(service.run())
"""
ARGUMENTS = """\
import sys
from launch.launch_description_sources import get_launch_description_from_python_launch_file
description = get_launch_description_from_python_launch_file(sys.argv[1])
for argument in description.get_launch_arguments():
    print(argument.name, '|', argument.description)
"""


@pytest.fixture(scope='module')
def environment(tmp_path_factory):
    """Environment with launch, launch_ros and a colcon install of this package."""
    paths = []
    if importlib.util.find_spec('launch_ros') is None:
        source = os.environ.get('SAMG_ROS2_SRC')
        if not source:
            pytest.skip('launch_ros is not installed; SAMG_ROS2_SRC may name a folder with '
                        'checkouts of ros2/launch and ros2/launch_ros')
        paths += [str(Path(source) / checkout) for checkout in CHECKOUTS]
        if importlib.util.find_spec('composition_interfaces') is None:
            stand_in = tmp_path_factory.mktemp('stand_in') / 'composition_interfaces'
            stand_in.mkdir()
            (stand_in / '__init__.py').touch()
            (stand_in / 'srv.py').write_text('class LoadNode:\n    Request = Response = object\n')
            paths.append(str(stand_in.parent))
    colcon = shutil.which('colcon', path=f'{Path(sys.executable).parent}{os.pathsep}'
                          f'{os.environ["PATH"]}')
    if colcon is None:
        pytest.skip('colcon is not installed')
    workspace = tmp_path_factory.mktemp('workspace')
    subprocess.run([colcon, '--log-base', 'log', 'build', '--symlink-install',
                    '--base-paths', str(ROOT), '--packages-select', 'samg_ros'],
                   cwd=workspace, check=True, capture_output=True)
    choose_domain()
    sourced = subprocess.run(['bash', '-c', 'source install/setup.bash && env -0'], cwd=workspace,
                             check=True, capture_output=True, text=True).stdout
    variables = dict(pair.split('=', 1) for pair in sourced.split('\0') if '=' in pair)
    return {**variables, 'PYTHONUNBUFFERED': '1', 'ROS_LOG_DIR': str(workspace / 'ros_log'),
            'PYTHONPATH': os.pathsep.join([variables.get('PYTHONPATH', ''), *paths])}


@pytest.fixture
def launch_file(environment):
    prefix = environment['AMENT_PREFIX_PATH'].split(os.pathsep)[0]
    return Path(prefix) / 'share/samg_ros/launch/sim_train.launch.py'


class Launch:
    """A running launch file, in a session of its own as in a terminal."""

    def __init__(self, environment, launch_file, tmp_path, *arguments):
        self.output = tmp_path / 'output.txt'
        self.process = subprocess.Popen(
            [sys.executable, '-c', RUN, str(launch_file), *arguments], env=environment,
            stdout=self.output.open('w'), stderr=subprocess.STDOUT, start_new_session=True)

    def text(self):
        return self.output.read_text()

    def ctrl_c(self):
        """Send SIGINT to everybody, as a terminal does; return how long launch took to end."""
        began = time.monotonic()
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(60)
        return time.monotonic() - began

    def clean_up(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def left_over(self):
        """Whether any process of the session is still there."""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True


@pytest.fixture
def start(environment, launch_file, tmp_path):
    started = []

    def begin(*arguments):
        started.append(Launch(environment, launch_file, tmp_path, *arguments))
        return started[-1]

    yield begin
    for launch in started:
        launch.clean_up()


def test_two_hundred_steps_as_processes_then_ctrl_c_ends_all(start, tmp_path):
    launch = start('task:=walker_walk', f'run_dir:={tmp_path / "run"}', f'overrides:={TINY}',
                   'steps:=10000')
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node, executor, masked = rclpy.create_node('probe'), make_executor(), []
    try:
        node.create_subscription(Image, 'masked/image_raw', masked.append, 10)
        executor.add_node(node)
        deadline = time.monotonic() + 400
        frames = 200 + 200 // 20 + 2  # an episode of 20 steps has 21 frames
        while len({(m.header.stamp.sec, m.header.stamp.nanosec) for m in masked}) < frames:
            assert launch.process.poll() is None, launch.text()
            assert time.monotonic() < deadline, launch.text()
            executor.spin_once(timeout_sec=0.1)
    finally:
        node.destroy_node()
        executor.shutdown()
        rclpy.try_shutdown()
    limit = limit_s(5.0)
    assert launch.ctrl_c() < limit, launch.text()
    assert launch.process.returncode == 0, launch.text()
    assert 'Traceback' not in launch.text() and not launch.left_over()
    assert 'has died' not in launch.text(), launch.text()
    assert load_checkpoint(tmp_path / 'run').counters['steps'] >= 200
    assert masked[-1].header.frame_id == 'camera_optical'


def test_when_the_trainer_has_finished_all_end_with_success(start, tmp_path):
    launch = start('task:=cartpole_swingup', f'run_dir:={tmp_path / "run"}', 'steps:=40',
                   'episodes:=1', f'overrides:={TINY}')
    launch.process.wait(400)
    assert launch.process.returncode == 0, launch.text()
    assert (tmp_path / 'run' / 'report.html').is_file() and not launch.left_over()
    assert 'Traceback' not in launch.text() and 'report.html' in launch.text()


def test_when_a_node_dies_all_end_and_launch_says_so(start, tmp_path):
    parameters = tmp_path / 'parameters.yaml'
    parameters.write_text('/**/perception:\n  ros__parameters:\n    model: giant\n')
    launch = start('task:=cartpole_swingup', f'run_dir:={tmp_path / "run"}',
                   f'params_file:={parameters}')
    launch.process.wait(200)
    assert launch.process.returncode == 1 and not launch.left_over()
    assert "samg: error: model 'giant'" in launch.text()
    assert 'perception-2 ended with exit code 2' in launch.text()


@pytest.mark.parametrize('argument, said', [
    ('task:=walker_wlk', 'walker_walk'), ('seed:=one', 'seed:=one'),
    ('reference:=/no/such/reference', '/no/such/reference')])
def test_a_wrong_argument_is_one_line(start, tmp_path, argument, said):
    launch = start(f'run_dir:={tmp_path / "run"}', argument)
    assert launch.process.wait(120) == 1
    errors = [line for line in launch.text().splitlines() if 'Caught exception' in line]
    assert len(errors) == 1 and said in errors[0]
    assert 'Traceback' not in launch.text()


def test_every_argument_is_documented(environment, launch_file):
    output = subprocess.run([sys.executable, '-c', ARGUMENTS, str(launch_file)], env=environment,
                            check=True, capture_output=True, text=True).stdout
    arguments = dict(line.split(' | ') for line in output.splitlines())
    assert {'task', 'setting', 'preset', 'reference', 'videos', 'run_dir', 'seed', 'steps',
            'rviz'} <= arguments.keys()
    assert all(len(description) > 20 for description in arguments.values())
