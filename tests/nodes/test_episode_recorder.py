# SPDX-License-Identifier: Apache-2.0
"""`recorder`: a bag for each episode, started, ended, marked and thrown away by service."""

import signal
import time

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from mcap.reader import make_reader
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from samg_ros.bags.bag import open_bag
from samg_ros.bags.recording import METADATA, OUTCOME, read_metadata, success_of
from samg_ros.bags.topics import stamp_ns
from samg_ros.errors import ConfigError
from samg_ros.nodes.recorder_node import EpisodeRecorder
from samg_ros.ros.messages.images import array_to_image
from samg_ros.ros.parameters import overrides

PERIOD_S = 0.04


@pytest.fixture
def ask(graph):
    """Ask the recorder; returns its answer."""
    clients = {}

    def call(what):
        client = clients.setdefault(
            what, graph.probe.create_client(Trigger, f'recorder/{what}'))
        graph.until(client.service_is_ready)
        future = client.call_async(Trigger.Request())
        graph.until(future.done)
        return future.result()
    return call


@pytest.fixture
def camera(graph):
    """Publishes a frame and joint states with every call; returns the stamp in ns."""
    images = graph.probe.create_publisher(Image, 'camera/image_raw', 10)
    joints = graph.probe.create_publisher(JointState, 'joint_states', 10)
    frame = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)

    def show():
        graph.until(lambda: images.get_subscription_count() and joints.get_subscription_count())
        now = time.time_ns()
        header = Header(stamp=Time(sec=now // 10**9, nanosec=now % 10**9))
        joints.publish(JointState(header=header, name=['a'], position=[0.5]))
        images.publish(array_to_image(frame, header))
        graph.spin_for(0.01)
        return now
    return show


def test_each_episode_is_a_bag_with_what_it_is_about(graph, ask, camera, tmp_path):
    graph.add(EpisodeRecorder, {'folder': str(tmp_path), 'task': 'pour tea', 'note': 'slowly',
                                'reference': '/refs/cup'})
    camera()  # before the episode: not in it
    assert ask('start').success
    shown = [camera() for _ in range(5)]
    assert ask('mark_success').success
    assert ask('stop').success
    camera()
    assert ask('start').success
    shown_next = [camera() for _ in range(3)]
    assert ask('stop').success

    for index, stamps, success in ((0, shown, True), (1, shown_next, False)):
        path = tmp_path / f'episode_{index:04d}.mcap'
        bag = open_bag(path)
        assert bag.losses == ()
        assert [stamp_ns(each.message) for each in bag.messages(['/camera/image_raw'])] == stamps
        assert bag.counts['/joint_states'] == len(stamps)
        found = read_metadata(path)
        assert found['task'] == 'pour tea' and found['reference'] == '/refs/cup'
        assert success_of(found) is success
        with path.open('rb') as file:  # the library of the format's own project
            records = list(make_reader(file).iter_metadata())
        assert [each.name for each in records] == [METADATA, OUTCOME]


def test_a_discarded_episode_leaves_nothing_and_its_name_is_free(graph, ask, camera, tmp_path):
    recorder = graph.add(EpisodeRecorder, {'folder': str(tmp_path)})
    for _ in range(2):
        assert ask('start').success
        camera()
        assert ask('discard').success
        assert not list(tmp_path.glob('*.mcap'))
    assert ask('start').success and not ask('start').success
    camera()
    assert ask('stop').success and not ask('stop').success
    assert 'start an episode first' in ask('mark_success').message
    assert [path.name for path in tmp_path.glob('*.mcap')] == ['episode_0000.mcap']
    assert recorder.episodes == 1


def test_an_episode_that_runs_when_the_node_ends_is_whole(graph, ask, camera, tmp_path):
    recorder = graph.add(EpisodeRecorder, {'folder': str(tmp_path)})
    assert ask('start').success
    camera()
    graph.remove(recorder)
    assert open_bag(tmp_path / 'episode_0000.mcap').losses == ()


def test_a_recorder_that_is_killed_loses_less_than_a_second(graph, ask, camera, tmp_path):
    process = graph.spawn('recorder', {'folder': str(tmp_path), 'task': 'pour tea'})
    assert ask('start').success
    until = time.monotonic() + 3.0
    while time.monotonic() < until:
        camera()
        graph.spin_for(PERIOD_S)
    killed_ns = time.time_ns()
    process.send_signal(signal.SIGKILL)
    process.wait()
    bag = open_bag(tmp_path / 'episode_0000.mcap')
    kept = [stamp_ns(each.message) for each in bag.messages(['/camera/image_raw'])]
    assert killed_ns - kept[-1] < 1e9 and len(kept) > 20
    assert np.diff(kept).max() < 0.5e9  # nothing is missing before
    assert read_metadata(tmp_path / 'episode_0000.mcap') == {'task': 'pour tea'}
    assert success_of(read_metadata(tmp_path / 'episode_0000.mcap')) is None


def test_a_recorder_without_a_folder_says_so(graph):
    with pytest.raises(ConfigError, match="set its parameter 'folder'"):
        EpisodeRecorder(parameter_overrides=overrides({}))
