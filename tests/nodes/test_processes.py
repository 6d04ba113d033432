# SPDX-License-Identifier: Apache-2.0
"""Nodes as processes: exit codes, one-line errors, signals; and the domain they live in."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sensor_msgs.msg import Image

from samg_ros.errors import BagError
from samg_ros.files.share import share_file
from samg_ros.nodes.executables import NODES
from samg_ros.ros import domain
from samg_ros.ros.node import PlainNode, close

ROOT = Path(__file__).parents[2]


def python(code, *arguments):
    """Run lines in a process that is in this one's domain."""
    environment = {**os.environ, 'ROS_DOMAIN_ID': str(domain.choose_domain()),
                   'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])}
    return subprocess.Popen([sys.executable, '-c', code, *arguments], text=True, env=environment,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def start(node, *arguments):
    return python(f"from samg_ros.nodes.executables import run; run('{node}')", '--ros-args',
                  *arguments)


@pytest.mark.parametrize('node, parameter, said', [
    ('perception', 'passes:=1', "set its parameter 'reference'"),
    ('perception', 'passes:=7', "parameter 'passes' of perception must be int from"),
    ('mujoco_bridge', 'task:=walker_wlk', 'did you mean walker_walk'),
    ('command_guard', 'use_sim_time:=5', 'ROS 2 cannot start (Trying to set parameter'),
    ('recorder', 'use_sim_time:=x', 'ROS 2 cannot start (Trying to set parameter'),
    ('trainer', 'preset:=huge',
     "'preset' of trainer must be one of quick, evening, paper")])
def test_a_wrong_parameter_ends_the_process_with_one_line_and_code_2(node, parameter, said):
    process = start(node, '-p', parameter)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2
    lines = [line for line in errors.splitlines() if line.startswith('samg: error: ')]
    assert len(lines) == 1 and said in lines[0]
    assert 'Traceback' not in errors


def test_an_environment_in_which_no_node_can_be_made_is_one_line(monkeypatch):
    monkeypatch.setenv('ROS_STATIC_PEERS', 'no-such-host.invalid')
    process = start('command_guard')
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2 and 'Traceback' not in errors
    assert 'ROS 2 cannot start (' in errors.splitlines()[-1] and 'ROS_STATIC_PEERS' in errors


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_node_with_success(graph, number):
    images = graph.listen(Image, 'camera/image_raw')
    process = start('mujoco_bridge', '-p', 'task:=cartpole_swingup',
                    '-p', 'mode:=realtime')
    graph.until(lambda: images, 120)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and 'Traceback' not in errors


UNSAVED = """
from samg_ros.errors import CheckpointError
from samg_ros.ros.node import PlainNode, run_node
from samg_ros.ros.signals import exit_now

class Full(PlainNode):
    def start(self):
        self.finished = True

    def close(self):
        raise CheckpointError('the disk is full')

exit_now(run_node(lambda: Full('full')))
"""


def test_what_cannot_be_saved_on_the_way_down_is_one_line_and_code_2():
    process = python(UNSAVED)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 2 and not output
    assert errors == 'samg: error: the disk is full\n'


STUCK = """
import ctypes
from samg_ros.ros.node import PlainNode, run_node
from samg_ros.ros.signals import exit_now

class Stuck(PlainNode):
    def start(self):  # until the executor spins, a signal ends the process at once
        self._timer = self.create_timer(0.05, self._run)

    def _run(self):
        self._timer.cancel()
        print('runs', flush=True)

    def close(self):
        print('closes', flush=True)
        while True:
            ctypes.CDLL(None).pause()  # outside Python, where no Python handler is called

exit_now(run_node(lambda: Stuck('stuck')))
"""


def test_a_second_ctrl_c_ends_a_process_that_hangs_and_a_double_signal_does_not():
    process = python(STUCK)
    assert process.stdout.readline() == 'runs\n'
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)  # the same press, passed on by a wrapper
    assert process.stdout.readline() == 'closes\n'
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.7)
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == 130
    assert 'second Ctrl-C' in process.communicate()[1]


@pytest.mark.parametrize('name, parameters', [
    ('mujoco_bridge', {'task': 'cartpole_swingup'}), ('trainer', {'task': 'cartpole_swingup'})])
def test_the_second_of_two_nodes_of_one_name_ends(graph, name, parameters, tmp_path):
    if name == 'trainer':
        parameters = {**parameters, 'run_dir': str(tmp_path / 'run')}
    first = PlainNode(name)
    graph.executor.add_node(first)
    graph.nodes.append(first)
    second = graph.spawn(name, parameters)
    graph.until(lambda: second.poll() is not None)
    assert second.returncode == 2
    assert f"another node '/{name}' is running" in second.communicate()[1]


def test_all_nodes_are_closed_whatever_goes_wrong(graph, capsys):
    def ending(name, error=None):
        node = PlainNode(name)

        def close():
            closed.append(name)
            if error is not None:
                raise error

        node.close = close
        return node

    closed = []
    with pytest.raises(OSError, match='no device'):
        close([ending('one'), ending('two', OSError('no device')), ending('three'),
               ending('four', BagError('no space')), ending('five')])
    assert closed == ['one', 'two', 'three', 'four', 'five']
    assert capsys.readouterr().err == 'samg: error: no space\n'


@pytest.mark.parametrize('name', NODES)
def test_a_signal_during_the_imports_leaves_no_traceback(name):
    process = python('from samg_ros.nodes.executables import '
                     f'{name}; print("begins", flush=True); {name}()')
    assert process.stdout is not None and process.stdout.readline() == 'begins\n'
    time.sleep(0.1)  # the lightest have imported everything after half a second
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and 'Traceback' not in errors


def test_a_domain_is_chosen_only_where_the_user_did_not(monkeypatch):
    monkeypatch.setenv('ROS_DOMAIN_ID', '17')
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'SUBNET')
    assert domain.choose_domain() == 17
    assert os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] == 'SUBNET'
    monkeypatch.delenv('ROS_DOMAIN_ID')
    monkeypatch.delenv('ROS_AUTOMATIC_DISCOVERY_RANGE')
    monkeypatch.delenv('ROS_LOCALHOST_ONLY', raising=False)
    chosen = domain.choose_domain()
    assert 1 <= chosen <= 100 and os.environ['ROS_DOMAIN_ID'] == str(chosen)
    assert os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] == 'LOCALHOST'
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')  # undone with the others


def test_nothing_listens_beyond_this_machine(graph):
    """The ports of the domain, of the sockets of this process, by what the kernel says."""
    first = 7400 + 250 * int(os.environ['ROS_DOMAIN_ID'])
    files = (os.readlink(file) for file in Path('/proc/self/fd').iterdir() if file.is_symlink())
    ours = {name[8:-1] for name in files if name.startswith('socket:[')}
    rows = [line.split() for kind in ('udp', 'udp6', 'tcp', 'tcp6')
            for line in Path(f'/proc/self/net/{kind}').read_text().splitlines()[1:]]
    places = [row[1].split(':') for row in rows if row[9] in ours]
    listening = {address for address, port in places if first <= int(port, 16) < first + 250}
    assert listening == {'0100007F'}  # 127.0.0.1, the least byte first


def choosing(monkeypatch, *candidates):
    """The domain that a process without one takes, where only some are on offer."""
    monkeypatch.setattr(domain, '_DOMAINS', candidates)
    monkeypatch.setattr(domain, '_claims', {})
    monkeypatch.delenv('ROS_DOMAIN_ID', raising=False)
    return domain.choose_domain()


def test_a_domain_in_use_is_not_taken(monkeypatch):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(('', 7400 + 250 * 101 + 10))
        assert choosing(monkeypatch, 101, 102) == 102
    assert choosing(monkeypatch, 101) == 101


def test_a_domain_that_another_process_chose_is_not_taken_before_it_ends(monkeypatch):
    """Not even between its choice and its first node."""
    monkeypatch.delenv('ROS_DOMAIN_ID', raising=False)
    code = ('from samg_ros.ros import domain; domain._DOMAINS = (101,); domain.choose_domain(); '
            'print(flush=True); input()')
    with subprocess.Popen([sys.executable, '-c', code], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE,
                          env={**os.environ, 'PYTHONPATH': str(ROOT)}) as other:
        other.stdout.readline()
        assert choosing(monkeypatch, 101, 102) == 102
        other.stdin.close()
    assert choosing(monkeypatch, 101) == 101


def test_parameter_files_are_found():
    assert share_file('config/sim_train.yaml').is_file()
