# SPDX-License-Identifier: Apache-2.0
"""The commands in a policy's own recording are computed again from it, to the bit."""

import json
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from fake_arm import (
    CAMERAS,
    CONFIG,
    JOINTS,
    LIMITS,
    Arm,
    TwoCameras,
    add,
    save_two_cameras,
    save_untrained,
)
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import String

from samg_ros.bags.bag import open_bag
from samg_ros.bags.recording import Recording
from samg_ros.bags.replay.sent import TRACE, compare_commands
from samg_ros.cli import main
from samg_ros.errors import BagError, SamgError
from samg_ros.nodes.recorder_node import Recorder
from samg_ros.observation import ObservationSpec
from samg_ros.rl.agents.chunk_network import ChunkNetwork, ChunkSettings
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.evaluation.actors import CHUNKS, NETWORK
from samg_ros.rl.evaluation.policy import load_policy
from samg_ros.rl.training.checkpoint import Checkpoint, save_checkpoint

MASKED = '/masked/image_raw'


def save_chunks(path):
    """Write the checkpoint of an untrained policy that predicts chunks."""
    spec = ObservationSpec(size=16, frame_stack=1, proprioception=JOINTS)
    settings = ChunkSettings(('camera',), 2, 2, 4, 0.03, channels=(4, 4), hidden_dim=16,
                             pixels=(3, 16, 16), every=2, blend_s=0.05)
    torch.manual_seed(0)
    save_checkpoint(path, Checkpoint(
        TrainConfig(task='arm_reach', camera_size=CONFIG.camera_size, observation=spec),
        np.full(2, -0.5), np.full(2, 0.5),
        {CHUNKS: settings.to_json(), NETWORK: ChunkNetwork(settings).state_dict()}))
    return path


@pytest.fixture(params=['single', 'chunks'])
def checkpoint(request, tmp_path):
    save = {'single': save_untrained, 'chunks': save_chunks}[request.param]
    return save(tmp_path / 'checkpoint.pt')


@pytest.fixture
def session(graph, tmp_path, checkpoint):
    """A recording in which the policy is stopped, goes on, and is enabled twice."""
    limits = tmp_path / 'limits.yaml'
    limits.write_text(LIMITS)
    recorder = Recorder(tmp_path / 'session.mcap')
    graph.executor.add_node(recorder)
    arm = Arm(graph)
    node = add(graph, checkpoint, limits=str(limits), command_interface='position',
               mask_max_speed=2.0, mask_slow_down=0.5)
    arm.start(node)
    arm.columns = slice(0, 8)
    graph.spin_for(0.3)
    arm.columns = slice(16, 24)  # a doubtful mask
    graph.spin_for(0.3)
    arm.sends_joints = False
    graph.until(lambda: node.state == 'safe')
    arm.sends_joints = True
    graph.until(lambda: node.state == 'acting')
    graph.spin_for(0.3)
    arm.enable(False)
    graph.until(lambda: arm.enable().success)
    graph.until(lambda: len(arm.commands) > 50)
    arm.enable(False)
    sent = len(arm.commands)
    graph.spin_for(0.2)
    assert len(arm.commands) == sent
    graph.executor.remove_node(recorder)
    recorder.close()
    recorder.destroy_node()
    return tmp_path / 'session.mcap', sent


def test_every_command_is_computed_again_to_the_bit(session, checkpoint):
    path, sent = session
    bag = open_bag(path)
    found = compare_commands(bag, load_policy(checkpoint), '/command')
    assert found.commands == found.equal == bag.counts['/command'] == sent > 50
    assert (found.sessions, found.lost, found.unseen) == (2, 0, 0)
    events = events_of(bag)
    assert {each['event'] for each in events} == {'begin', 'look', 'act', 'safe'}
    assert any(each.get('resumes') for each in events)
    assert {each['speed_share'] for each in events if each['event'] == 'act'} == {0.5, 1.0}


def rewritten(path, to, change):
    """Copy a recording; `change` gets topic and message bytes, and returns the bytes or None."""
    recording = Recording(to)
    bag = open_bag(path)
    for raw in bag._read(list(bag.topics)):
        data = change(raw.topic, raw.data)
        if data is not None:
            recording.add(raw.topic, raw.type, raw.log_time_ns, data)
    recording.close()
    return to


@pytest.mark.parametrize('checkpoint', ['single'], indirect=True)
def test_another_command_or_a_lost_frame_is_found(session, checkpoint, tmp_path, capsys):
    path, sent = session
    count = 0

    def one_other_command(topic, data):
        nonlocal count
        count += topic == '/command'
        if topic == '/command' and count == 30:
            return data[:-8] + np.nextafter(np.frombuffer(data[-8:]), 9.0).tobytes()
        return data

    other = rewritten(path, tmp_path / 'other.mcap', one_other_command)
    assert main(['eval', 'replay', str(other), '--checkpoint', str(checkpoint), '--command',
                 '/command']) == 1
    assert f'{sent} commands in 2 sessions, {sent - 1} of them equal' in capsys.readouterr().out
    stamp = [each['stamp'] for each in events_of(open_bag(path)) if each['event'] == 'look'][10]

    def one_lost_frame(topic, data):
        if topic != MASKED:
            return data
        header = deserialize_message(bytes(data), Image).header
        return None if [header.stamp.sec, header.stamp.nanosec] == stamp else data

    lost = compare_commands(open_bag(rewritten(path, tmp_path / 'lost.mcap', one_lost_frame)),
                            load_policy(checkpoint), '/command')
    assert lost.lost > 0 and 0 < lost.equal < lost.commands == sent


@pytest.mark.parametrize('checkpoint', ['single'], indirect=True)
def test_a_recording_without_a_trace_or_with_a_broken_one_is_named(graph, session, checkpoint,
                                                                   tmp_path):
    path, _ = session
    policy = load_policy(checkpoint)
    bare = rewritten(path, tmp_path / 'bare.mcap', lambda topic, data: None if topic == TRACE
                     else data)
    with pytest.raises(BagError, match="the bag has no '/policy/trace'"):
        compare_commands(open_bag(bare), policy, '/command')
    with pytest.raises(BagError, match="no commands on '/elsewhere'"):
        compare_commands(open_bag(path), policy, '/elsewhere')
    broken = rewritten(path, tmp_path / 'broken.mcap', lambda topic, data: serialize_message(
        String(data='{"event": "act", "speed": 3}')) if topic == TRACE else data)
    with pytest.raises(BagError, match='a line of the trace'):
        compare_commands(open_bag(broken), policy, '/command')
    for number, (event, change) in enumerate((
            ('begin', {'torch_threads': 10**12}), ('begin', {'torch_threads': -1}),
            ('begin', {'settings': {'joints': 5}}), ('begin', {'positions': [0.0] * 7}),
            ('act', {'positions': [0.0]}), ('act', {'speed_share': -3.0}),
            ('look', {'seen': [1.0] * 9}), ('look', {'stamp': None}))):
        odd = rewritten(path, tmp_path / f'odd_{number}.mcap', partial(_changed, event, change))
        with pytest.raises(SamgError, match='trace|positions|joints') as caught:
            compare_commands(open_bag(odd), policy, '/command')
        assert '\n' not in str(caught.value)


def _changed(event, change, topic, data):
    if topic != TRACE:
        return data
    values = json.loads(deserialize_message(bytes(data), String).data)
    return data if values['event'] != event else serialize_message(
        String(data=json.dumps(values | change)))


@pytest.fixture(params=['masked', 'raw'])
def two_cameras(request, graph, tmp_path):
    """A recording with a second camera that is slow and late, and a clock that is set back."""
    path = save_two_cameras(tmp_path / 'checkpoint.pt', request.param)
    recorder = Recorder(tmp_path / 'session.mcap', CAMERAS[1:], cli_args=[
        '--ros-args', '-r', 'masked/image_raw:=camera/masked/image_raw'])
    graph.executor.add_node(recorder)
    arm = TwoCameras(graph, 'image_raw' if request.param == 'raw' else 'masked/image_raw')
    node = add(graph, path)
    arm.start(node)
    graph.spin_for(0.3)
    arm.side_every, arm.side_behind = 2, 4
    graph.spin_for(0.5)
    arm.ticks -= 30  # stamps come again, with other pictures
    graph.spin_for(1.0)
    arm.enable(False)
    sent = len(arm.commands)
    graph.spin_for(0.2)
    graph.executor.remove_node(recorder)
    recorder.close()
    recorder.destroy_node()
    return tmp_path / 'session.mcap', sent, path


def test_commands_of_two_cameras_are_computed_again_to_the_bit(two_cameras, tmp_path):
    path, sent, checkpoint = two_cameras
    bag, policy = open_bag(path), load_policy(checkpoint)
    found = compare_commands(bag, policy, '/command')
    assert found.commands == found.equal == bag.counts['/command'] == sent > 20
    assert (found.sessions, found.lost, found.unseen) == (1, 0, 0)
    looks = [each for each in events_of(bag) if each['event'] == 'look']
    stamps = [tuple(each['stamp']) for each in looks]
    assert any(later < before for before, later in pairwise(stamps))
    topic = f'/side/{"" if policy.spec.source == "raw" else "masked/"}image_raw'
    assert bag.counts[topic] > 10

    def darker(name, data):
        return data[:-100] + bytes(100) if name == topic else data

    other = open_bag(rewritten(path, tmp_path / 'other.mcap', darker))
    assert compare_commands(other, policy, '/command').equal < sent
    gone = open_bag(rewritten(path, tmp_path / 'gone.mcap',
                              lambda name, data: None if name == topic else data))
    with pytest.raises(BagError, match=topic):
        compare_commands(gone, policy, '/command')


@pytest.mark.parametrize('two_cameras', ['masked'], indirect=True)
def test_a_recording_of_other_cameras_or_without_a_frame_of_one_is_told(two_cameras, tmp_path):
    path, sent, checkpoint = two_cameras
    policy = load_policy(checkpoint)
    alone = open_bag(rewritten(path, tmp_path / 'alone.mcap',
                               partial(_changed, 'look', {'more': {}})))
    with pytest.raises(BagError, match='the policy sees side beside the main camera, the recorded '
                                       'one saw no other'):
        compare_commands(alone, policy, '/command')
    looks = [each for each in events_of(open_bag(path)) if each['event'] == 'look']

    def one_lost_frame(topic, data):
        if topic != '/side/masked/image_raw':
            return data
        stamp = deserialize_message(bytes(data), Image).header.stamp
        return None if [stamp.sec, stamp.nanosec] == looks[10]['more']['side'] else data

    lost = compare_commands(open_bag(rewritten(path, tmp_path / 'lost.mcap', one_lost_frame)),
                            policy, '/command')
    assert lost.lost > 0 and 0 < lost.equal < lost.commands == sent


def events_of(bag):
    return [json.loads(each.message.data) for each in bag.messages([TRACE])]
