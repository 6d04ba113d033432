# SPDX-License-Identifier: Apache-2.0
"""The launch files under the real launch and launch_ros, each node a process.

They have no wheels. Without a ROS installation, SAMG_ROS2_SRC may name a folder with checkouts of
ros2/launch and ros2/launch_ros; otherwise these tests are skipped.
"""

import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rclpy
from busy_machine import limit_s
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool

from samg_ros.files.share import share_file
from samg_ros.masking import Masker, MaskerSettings, Reference
from samg_ros.rl.agents.drqv2 import DrQv2Agent
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from samg_ros.ros.compat import make_executor
from samg_ros.ros.domain import choose_domain
from samg_ros.sim.env import SimEnv
from samg_ros.sim.tasks import COMMAND_TOPICS

ROOT = Path(__file__).parents[2]
CHECKOUTS = ('launch/launch', 'launch_ros/launch_ros', 'launch_ros/ros2launch')
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
from ros2launch.api import print_arguments_of_launch_file
print_arguments_of_launch_file(launch_file_path=sys.argv[1])
"""
"""What `ros2 launch --show-args` does."""


INCLUDING = """\
import sys
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
NEIGHBOUR = '''
import itertools, os, signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_DFL)
for second in itertools.count():
    network = os.environ.get('ROS_AUTOMATIC_DISCOVERY_RANGE')
    profile = os.environ.get('FASTDDS_DEFAULT_PROFILES_FILE')
    print(f'neighbour {sys.argv[1]}: network {network}, profile {profile}, alive {second}',
          flush=True)
    time.sleep(1)
'''

def neighbour(number):
    return ExecuteProcess(cmd=[sys.executable, '-c', NEIGHBOUR, number], output='screen')

def generate_launch_description():
    return LaunchDescription([
        DeclareLaunchArgument('included'), neighbour('1'),
        IncludeLaunchDescription(PythonLaunchDescriptionSource(LaunchConfiguration('included'))),
        neighbour('2')])
"""


PLAYER = """\
import sys
from samg_ros.nodes.executables import run
assert sys.argv[1:3] == ['bag', 'play'] and sys.argv[4] == '--rate' and sys.argv[6] == '--topics'
topics = ', '.join(sys.argv[7:])
run('bag_player', ['--ros-args', '-p', f'bag:={sys.argv[3]}', '-p', f'rate:={sys.argv[5]}',
                   '-p', f'topics:=[{topics}]', '-p', 'listeners:=2'])
"""
"""Understands the command line of `ros2 bag play` as far as bag_eval.launch.py uses it."""


@pytest.fixture(scope='module')
def untrained_policy(tmp_path_factory):
    """A policy whose episodes have ten steps."""
    folder = tmp_path_factory.mktemp('policy')
    env = SimEnv('cartpole_swingup', seed=1)
    step = env.reset()
    low, high = env.action_spec
    env.close()
    reference = Reference(step.frame, np.array(step.mask))
    masker = Masker.load('mini', MaskerSettings(fit_weights=False, passes=1)).fit(reference)
    config = TrainConfig(task='cartpole_swingup', hidden_dim=16, action_repeat=100)
    save_checkpoint(folder / 'checkpoint.pt', Checkpoint(
        config, low, high, DrQv2Agent(config, len(low)).state_dict(), reference=reference,
        masker=masker.describe()))
    return folder


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


def launch_file(environment, graph):
    """The installed launch file of a graph."""
    prefix = environment['AMENT_PREFIX_PATH'].split(os.pathsep)[0]
    return Path(prefix) / f'share/samg_ros/launch/{graph}.launch.py'


class Launch:
    """A running launch file, in a session of its own as in a terminal."""

    def __init__(self, environment, path, tmp_path, *arguments):
        self.output = tmp_path / 'output.txt'
        self.process = subprocess.Popen(
            [sys.executable, '-c', RUN, str(path), *arguments], env=environment,
            stdout=self.output.open('w'), stderr=subprocess.STDOUT, start_new_session=True)

    def text(self):
        return self.output.read_text()

    def pid(self, name):
        """Process id of a node, as launch said when it started it."""
        return int(re.search(rf'\[{name}-\d+\]: process started with pid \[(\d+)\]',
                             self.text())[1])

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


class Probe:
    """A node of this process that looks at a launched graph from outside."""

    def __init__(self, launch):
        self._launch = launch

    def __enter__(self):
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        self._node, self._executor = rclpy.create_node('probe'), make_executor()
        self._executor.add_node(self._node)
        return self

    def __exit__(self, *exception):
        self._node.destroy_node()
        self._executor.shutdown()
        rclpy.try_shutdown()

    def listen(self, kind, topic):
        """Return a list that the messages of a topic are put into."""
        messages = []
        self._node.create_subscription(kind, topic, messages.append, 50)
        return messages

    def until(self, condition, timeout_s=400):
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert self._launch.process.poll() is None, self._launch.text()
            assert time.monotonic() < deadline, self._launch.text()
            self._executor.spin_once(timeout_sec=0.1)

    def spin_for(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.1)

    def enable(self, policy):
        """Enable a policy as soon as it lets itself be enabled."""
        client = self._node.create_client(SetBool, f'{policy}/enable')
        answers = []
        while not (answers and answers[-1].success):
            self.until(client.service_is_ready)
            future = client.call_async(SetBool.Request(data=True))
            self.until(future.done)
            answers.append(future.result())


@pytest.fixture
def start(environment, tmp_path):
    started = []

    def begin(*arguments, graph='sim_train', more_environment=()):
        started.append(Launch({**environment, **dict(more_environment)},
                              launch_file(environment, graph), tmp_path, *arguments))
        return started[-1]

    yield begin
    for launch in started:
        launch.clean_up()


def test_two_hundred_steps_as_processes_then_ctrl_c_ends_all(start, tmp_path):
    launch = start('task:=walker_walk', f'run_dir:={tmp_path / "run"}', f'overrides:={TINY}',
                   'steps:=10000')
    frames = 200 + 200 // 20 + 2  # an episode of 20 steps has 21 frames
    with Probe(launch) as probe:
        masked = probe.listen(Image, 'masked/image_raw')
        probe.until(lambda: len({(m.header.stamp.sec, m.header.stamp.nanosec)
                                 for m in masked}) >= frames)
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


def test_episodes_of_the_simulated_arm_are_run_and_all_end_with_success(start, tmp_path, arm_run):
    figures = tmp_path / 'figures.json'
    launch = start('use_sim:=true', f'policy:={arm_run}', 'episodes:=1', f'json:={figures}',
                   f'params_file:={patient(tmp_path)}', graph='arm')
    assert launch.process.wait(400) == 0, launch.text()
    assert 'perception, policy: active' in launch.text()
    assert len(json.loads(figures.read_text())['returns']) == 1
    assert 'Traceback' not in launch.text() and not launch.left_over()


def test_when_perception_is_killed_the_policy_goes_down_first_and_then_all(
        start, tmp_path, arm_run):
    launch = start('use_sim:=true', f'policy:={arm_run}', f'params_file:={patient(tmp_path)}',
                   graph='arm')
    with Probe(launch) as probe:
        commands = probe.listen(Float64MultiArray, COMMAND_TOPICS['position'])
        states = probe.listen(JointState, 'joint_states')
        probe.enable('policy')
        probe.until(lambda: len(commands) > 5)
        os.kill(launch.pid('perception'), signal.SIGKILL)
        probe.spin_for(limit_s(10.0))
    assert launch.process.wait(100) == 1
    text = launch.text()
    assert 'perception has died: bringing all down' in text and not launch.left_over()
    assert 'lifecycle_manager-4 ended with exit code 2' in text
    assert '[policy-3]: process has finished cleanly' in text
    # The safe action goes to where the arm is, at most max_lead from the command before.
    before, safe = np.array(commands[-2].data), commands[-1].data
    assert any(np.allclose(safe, np.clip(state.position, before - 0.3, before + 0.3))
               for state in states)


def patient(tmp_path):
    """A parameter file for the arm on a crowded machine, whose watchdog would stop it often."""
    path = tmp_path / 'arm.yaml'
    path.write_text(share_file('config/arm.yaml').read_text().replace('timeout_s: 0.5',
                                                                      'timeout_s: 10.0'))
    return path


def test_a_camera_driver_is_given_the_topics_of_the_graph_and_when_it_ends_all_end(
        start, environment, tmp_path, reference):
    """A stand-in for usb_cam, whose real one wants a camera: it shows what it was given."""
    driver = tmp_path / 'drivers/lib/usb_cam/usb_cam_node_exe'
    driver.parent.mkdir(parents=True)
    driver.write_text('#!/bin/sh\necho given "$@"\nexit 3\n')
    driver.chmod(0o755)
    marker = tmp_path / 'drivers/share/ament_index/resource_index/packages/usb_cam'
    marker.parent.mkdir(parents=True)
    marker.touch()
    prefixes = f'{environment["AMENT_PREFIX_PATH"]}{os.pathsep}{tmp_path / "drivers"}'
    launch = start('camera:=usb_cam', f'reference:={reference}', graph='arm',
                   more_environment={'AMENT_PREFIX_PATH': prefixes}.items())
    assert launch.process.wait(100) == 1, launch.text()
    given = next(line for line in launch.text().splitlines() if 'given' in line)
    assert '-r image_raw:=camera/image_raw' in given and 'arm.yaml' in given
    assert 'usb_cam_node_exe-1 ended with exit code 3' in launch.text() and not launch.left_over()


@pytest.mark.parametrize('graph, argument, said', [
    ('sim_train', 'task:=walker_wlk', 'walker_walk'), ('sim_train', 'seed:=one', 'seed:=one'),
    ('sim_train', 'reference:=/no/such/reference', '/no/such/reference'),
    ('arm', 'policy:=/no/such/run', '/no/such/run'), ('arm', 'use_sim:=maybe', '"maybe"'),
    ('arm', 'camera:=webcam', '"webcam"')])
def test_a_wrong_argument_is_one_line(start, tmp_path, graph, argument, said):
    launch = start(*([f'run_dir:={tmp_path / "run"}'] if graph == 'sim_train' else []), argument,
                   graph=graph)
    assert launch.process.wait(120) == 1
    errors = [line for line in launch.text().splitlines() if 'Caught exception' in line]
    assert len(errors) == 1 and said in errors[0]
    assert 'Traceback' not in launch.text()


@pytest.mark.parametrize('graph, some', [
    ('sim_train', {'task', 'setting', 'preset', 'reference', 'videos', 'run_dir', 'seed', 'steps'}),
    ('sim_eval', {'policy', 'setting', 'videos', 'episodes', 'seed', 'json'}),
    ('bag_eval', {'bag', 'policy', 'reference', 'image', 'rate', 'out'}),
    ('arm', {'policy', 'use_sim', 'sim', 'camera', 'image', 'command', 'limits', 'setting',
             'autostart', 'use_respawn'})])
def test_every_argument_is_documented(environment, graph, some):
    output = subprocess.run(
        [sys.executable, '-c', ARGUMENTS, str(launch_file(environment, graph))], env=environment,
        check=True, capture_output=True, text=True).stdout
    arguments = dict(re.findall(r"^    '(\w+)':\n        (.+)$", output, re.MULTILINE))
    common = {'namespace', 'use_sim_time', 'log_level', 'use_rviz', 'rviz', 'params_file'}
    assert some | common <= arguments.keys()
    assert all(len(description) > 20 for description in arguments.values())


def test_included_it_leaves_the_other_nodes_their_network_and_their_life(
        start, environment, tmp_path, arm_run):
    """A launch file with a node before and a node after the include, and perception killed."""
    bringup = tmp_path / 'bringup.launch.py'
    bringup.write_text(INCLUDING)
    alone = {name: value for name, value in environment.items()
             if 'DISCOVERY' not in name and 'PROFILES' not in name}
    launch = Launch(alone, bringup, tmp_path, f'included:={launch_file(environment, "arm")}',
                    'use_sim:=true', f'policy:={arm_run}', f'params_file:={patient(tmp_path)}')
    try:
        wait_for(launch, 'perception, policy: active')
        os.kill(launch.pid('perception'), signal.SIGKILL)
        wait_for(launch, 'Ending the nodes of its graph')
        for name in ('policy', 'mujoco_bridge', 'lifecycle_manager'):
            wait_for(launch, rf'\[{name}-\d+\]: process has (finished|died)')
        assert launch.process.poll() is None
        for number in (1, 2):
            wait_for(launch, rf'neighbour {number}: network None, profile None, alive [3-9]\d')
        launch.ctrl_c()
        assert launch.process.returncode == 1  # it says at its end that a graph has failed
        assert not launch.left_over() and 'Traceback' not in launch.text()
    finally:
        launch.clean_up()


def wait_for(launch, words, timeout_s=200):
    deadline = time.monotonic() + timeout_s
    while not re.search(words, launch.text()):
        assert launch.process.poll() is None and time.monotonic() < deadline, launch.text()
        time.sleep(0.1)


def test_under_a_namespace_and_by_an_old_argument_name(start, tmp_path):
    launch = start('task:=cartpole_swingup', f'run_dir:={tmp_path / "run"}', 'steps:=40',
                   'episodes:=1', f'overrides:={TINY}', 'namespace:=left', 'log_level:=warn',
                   'rviz:=false')
    with Probe(launch) as probe:
        masked = probe.listen(Image, '/left/masked/image_raw')
        probe.until(lambda: len(masked) > 3)
    assert launch.process.wait(400) == 0, launch.text()
    assert 'launch argument rviz is now use_rviz' in launch.text()
    assert 'nothing passes between them' not in launch.text()  # a QoS mismatch


def test_sim_eval_prints_returns_and_all_end_with_success(start, tmp_path, untrained_policy):
    launch = start(f'policy:={untrained_policy}', 'episodes:=1', f'json:={tmp_path / "out.json"}',
                   graph='sim_eval')
    assert launch.process.wait(400) == 0, launch.text()
    (value,) = json.loads((tmp_path / 'out.json').read_text())['returns']
    assert f'mean return {value:.1f}' in launch.text()
    assert 'Traceback' not in launch.text() and not launch.left_over()


def test_bag_eval_reports_what_the_nodes_made_of_a_played_bag(start, tmp_path, untrained_policy):
    """rosbag2 has no wheel: without it `ros2 bag play` is our own player, called as that is."""
    session = tmp_path / 'session.mcap'
    subprocess.run([sys.executable, '-m', 'samg_ros.cli', 'run', 'sim_eval', '--policy',
                    str(untrained_policy), '--episodes', '1', '--record', str(session)],
                   check=True, env={**os.environ, 'PYTHONPATH': str(ROOT)}, timeout=400)
    path = os.environ['PATH']
    if shutil.which('ros2') is None:
        stand_in = tmp_path / 'bin' / 'ros2'
        stand_in.parent.mkdir()
        stand_in.write_text(f'#!{sys.executable}\n{PLAYER}')
        stand_in.chmod(0o755)
        path = f'{stand_in.parent}{os.pathsep}{path}'
    launch = start(f'bag:={session}', f'policy:={untrained_policy}', f'out:={tmp_path / "out"}',
                   graph='bag_eval', more_environment={'PATH': path})
    assert launch.process.wait(400) == 0, launch.text()
    figures = json.loads((tmp_path / 'out' / 'bag.json').read_text())
    assert figures['frames'] >= 11 > figures['unmasked']  # the first may be shown again
    assert str(tmp_path / 'out' / 'bag.html') in launch.text()
    assert 'Traceback' not in launch.text() and not launch.left_over()
