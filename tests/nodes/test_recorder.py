# SPDX-License-Identifier: Apache-2.0
"""What `--record` writes is what was sent, and `samg eval bag` finds its topics in it."""

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from mcap.reader import make_reader
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Float64MultiArray, Header
from std_srvs.srv import SetBool

from samg_ros.bags.bag import open_bag
from samg_ros.bags.evaluate import evaluate_bag
from samg_ros.bags.recording import Recording
from samg_ros.bags.topics import find_topics, frame_of, stamp_ns
from samg_ros.errors import BagError
from samg_ros.graphs.spec import CAMERA_REMAPPINGS
from samg_ros.masking import Masker, MaskerSettings, Reference
from samg_ros.nodes.bag_evaluator_node import BagEvaluator
from samg_ros.nodes.bag_player_node import BagPlayer
from samg_ros.nodes.perception_node import Perception
from samg_ros.nodes.policy_node import PolicyNode
from samg_ros.nodes.recorder_node import Recorder
from samg_ros.observation import ObservationSpec
from samg_ros.rl.agents.drqv2 import DrQv2Agent
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.evaluation.policy import load_policy
from samg_ros.rl.training.checkpoint import Checkpoint, save_checkpoint
from samg_ros.ros.messages import command
from samg_ros.ros.messages.images import array_to_image, mask_to_image
from samg_ros.ros.parameters import overrides

SIDE = 48
JOINTS = ('shoulder', 'elbow')
TYPES = {'sensor_msgs/msg/Image': Image, 'sensor_msgs/msg/CameraInfo': CameraInfo,
         'sensor_msgs/msg/JointState': JointState,
         'std_msgs/msg/Float64MultiArray': Float64MultiArray}


def test_recording_holds_what_was_sent(graph, tmp_path):
    path = tmp_path / 'session.mcap'
    recorder = Recorder(path)
    graph.executor.add_node(recorder)
    send = {topic: graph.probe.create_publisher(kind, topic, 100) for topic, kind in (
        ('camera/image_raw', Image), ('camera/segmentation', Image),
        ('camera/camera_info', CameraInfo), ('masked/mask', Image), ('masked/image_raw', Image),
        ('joint_states', JointState), ('command', Float64MultiArray))}
    graph.until(lambda: all(each.get_subscription_count() for each in send.values()))
    pixels = np.random.default_rng(0).integers(0, 256, (10, 20, 24, 3), dtype=np.uint8)
    for i, frame in enumerate(pixels):
        header = Header(stamp=Time(sec=i, nanosec=5), frame_id='camera_optical')
        send['camera/image_raw'].publish(array_to_image(frame, header))
        send['camera/camera_info'].publish(CameraInfo(header=header, width=24, height=20))
        send['camera/segmentation'].publish(mask_to_image(frame[..., 0] > 99, header))
        send['masked/mask'].publish(mask_to_image(frame[..., 0] > 98, header))
        send['masked/image_raw'].publish(array_to_image(frame // 2, header))
        send['joint_states'].publish(JointState(header=header, name=['a'], position=[0.5]))
        send['command'].publish(command.to_message([0.25 * i], i))
    graph.until(lambda: recorder.count == len(send) * len(pixels))
    graph.executor.remove_node(recorder)
    recorder.close()
    recorder.destroy_node()

    bag = open_bag(path)
    topics = find_topics(bag)
    assert bag.losses == () and bag.counts == {f'/{topic}': len(pixels) for topic in send}
    assert topics.all == ('/camera/image_raw', '/camera/segmentation', '/joint_states', '/command')
    frames = [each.message for each in bag.messages([topics.image])]
    assert [stamp_ns(frame) for frame in frames] == [i * 10**9 + 5 for i in range(len(pixels))]
    assert np.array_equal([frame_of(frame) for frame in frames], pixels)
    assert [list(each.message.data) for each in bag.messages(['/command'])] == \
        [[0.25 * i, i] for i in range(len(pixels))]
    assert [int(each.message.width) for each in bag.messages(['/camera/camera_info'])] == \
        [24] * len(pixels)
    public = {topic: [] for topic in bag.topics}
    with path.open('rb') as file:  # the library of the format's own project, checksums and all
        reader = make_reader(file, validate_crcs=True)
        assert reader.get_header().profile == 'ros2'
        assert reader.get_summary().statistics.message_count == recorder.count
        for schema, channel, message in reader.iter_messages():
            assert (schema.encoding, channel.message_encoding) == ('ros2msg', 'cdr')
            public[channel.topic].append(deserialize_message(message.data, TYPES[schema.name]))
    assert [bytes(message.data) for message in public['/camera/image_raw']] == \
        [frame.tobytes() for frame in pixels]
    assert [message.header.stamp.sec for message in public['/masked/mask']] == \
        list(range(len(pixels)))


def test_recording_does_not_overwrite(graph, tmp_path):
    for name, words in (('there.mcap', 'File exists'), ('bag.db3', 'bag.mcap')):
        (tmp_path / name).touch()
        with pytest.raises(BagError, match=words):
            Recorder(tmp_path / name)


@pytest.mark.parametrize('topics, said', [
    ({}, "topic '/camera/image_raw' is not in the bag; expected sensor_msgs/msg/Image or"),
    ({'image': '/eye'}, "topic '/eye' is std_msgs/msg/Header; expected"),
    ({'image': '/picture', 'joint_states': '/joints'}, "topic '/joints' is not in the bag")])
def test_a_topic_that_the_bag_lacks_or_has_with_another_type_is_named(graph, tmp_path, topics,
                                                                      said):
    recording = Recording(tmp_path / 'bag.mcap')
    recording.add('/eye', 'std_msgs/msg/Header', 0, serialize_message(Header()))
    recording.add('/picture', 'sensor_msgs/msg/Image', 0, serialize_message(Image()))
    recording.close()
    with pytest.raises(BagError) as caught:
        BagEvaluator(parameter_overrides=overrides({
            'bag': str(tmp_path / 'bag.mcap'), 'out': str(tmp_path / 'out'), **topics}))
    assert said in str(caught.value) and '/picture (sensor_msgs/msg/Image)' in str(caught.value)
    assert not (tmp_path / 'out').exists()


def scene(index):
    """(SIDE, SIDE, 3) uint8 and (SIDE, SIDE) bool: an orange disc that moves over blue noise."""
    pixels = np.random.default_rng(index).integers(0, 60, (SIDE, SIDE, 3), dtype=np.uint8)
    pixels[..., 2] += 80
    row, column = np.mgrid[:SIDE, :SIDE]
    mask = (row - 24) ** 2 + (column - 14 - index) ** 2 < 100
    pixels[mask] = (230, 140, 20)
    return pixels, mask


def test_actions_read_offline_are_those_of_the_live_graph_to_the_bit(graph, tmp_path):
    """Camera, perception, policy and commands over DDS; then the recording, without ROS."""
    reference = Reference(*scene(4))
    reference.save(tmp_path / 'reference')
    masker = Masker.load('mini', MaskerSettings(fit_weights=False)).fit(reference)
    config = TrainConfig(
        task='arm_reach', camera_size=SIDE, convolutions=((4, 3, 2),), feature_dim=8,
        hidden_dim=16, observation=ObservationSpec(size=16, proprioception=JOINTS))
    save_checkpoint(tmp_path / 'checkpoint.pt', Checkpoint(
        config, np.full(2, -0.5), np.full(2, 0.5), DrQv2Agent(config, 2).state_dict(),
        reference=reference, masker=masker.describe()))
    images = graph.probe.create_publisher(Image, 'camera/image_raw', 5)
    joints = graph.probe.create_publisher(JointState, 'joint_states', 5)
    commands = []
    graph.probe.create_subscription(Float64MultiArray, 'command', commands.append, 50)
    graph.add(Perception, {'reference': str(tmp_path / 'reference'), 'fit_weights': False,
                           'wait_for_engine': True}, CAMERA_REMAPPINGS)
    node = graph.add(PolicyNode, {'checkpoint': str(tmp_path / 'checkpoint.pt'),
                                  'joints': list(JOINTS), 'timeout_s': 60.0})

    def send(index):
        header = Header(stamp=Time(sec=index // 20, nanosec=index % 20 * 50_000_000))
        joints.publish(JointState(header=header, name=list(JOINTS),
                                  position=[0.01 * index, -0.02 * index]))
        graph.spin_for(0.02)
        images.publish(array_to_image(scene(index)[0], header))

    graph.until(lambda: images.get_subscription_count() and joints.get_subscription_count())
    graph.spin_for(0.5)
    send(0)
    graph.until(lambda: node._inputs.count)
    assert graph.call(SetBool, 'policy/enable', SetBool.Request(data=True)).success
    recorder = Recorder(tmp_path / 'session.mcap')
    graph.executor.add_node(recorder)
    graph.until(lambda: images.get_subscription_count() == 2
                and joints.get_subscription_count() == 2)
    graph.spin_for(0.5)
    for index in range(1, 9):
        before = len(commands)
        send(index)
        graph.until(lambda before=before: len(commands) > before)
    graph.until(lambda: recorder.count >= 8 * 8)  # topics, frames
    graph.executor.remove_node(recorder)
    recorder.close()
    recorder.destroy_node()

    bag = open_bag(tmp_path / 'session.mcap')
    figures = evaluate_bag(bag, find_topics(bag), masker,
                           load_policy(tmp_path / 'checkpoint.pt')).summary()
    assert figures['frames'] == 8 and figures['empty_masks'] == 0
    assert figures['policy']['equal_to_the_bit'] == figures['policy']['compared'] == 8


def test_a_bag_that_cannot_be_played_any_more_ends_the_player(graph, tmp_path):
    path = tmp_path / 'session.mcap'
    recording = Recording(path)
    for index in range(3):
        recording.add('/image', 'sensor_msgs/msg/Image', index, serialize_message(Image()))
    recording.close()
    player = BagPlayer(parameter_overrides=overrides(
        {'bag': str(path), 'topics': ['/image'], 'listeners': 0}))
    path.write_bytes(bytes(100))
    graph.executor.add_node(player)
    try:
        player.start()
        graph.until(lambda: player.finished)
        assert isinstance(player.error, BagError) and 'cannot be played' in str(player.error)
    finally:
        player.close()
        graph.executor.remove_node(player)
        player.destroy_node()
