# SPDX-License-Identifier: Apache-2.0
"""What `--record` writes is what was sent, and `samg eval bag` finds its topics in it."""

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray, Header

from samg_ros.bags.bag import open_bag
from samg_ros.bags.topics import find_topics, frame_of, stamp_ns
from samg_ros.errors import BagError
from samg_ros.nodes import command
from samg_ros.nodes.conversions import array_to_image, mask_to_image
from samg_ros.nodes.recorder import Recorder


def test_recording_holds_what_was_sent(graph, tmp_path):
    path = tmp_path / 'session.mcap'
    recorder = Recorder(path)
    graph.executor.add_node(recorder)
    send = {topic: graph.probe.create_publisher(kind, topic, 100) for topic, kind in (
        ('camera/image_raw', Image), ('camera/segmentation', Image),
        ('joint_states', JointState), ('command', Float64MultiArray))}
    graph.until(lambda: all(each.get_subscription_count() for each in send.values()))
    pixels = np.random.default_rng(0).integers(0, 256, (10, 20, 24, 3), dtype=np.uint8)
    for i, frame in enumerate(pixels):
        header = Header(stamp=Time(sec=i, nanosec=5), frame_id='camera_optical')
        send['camera/image_raw'].publish(array_to_image(frame, header))
        send['camera/segmentation'].publish(mask_to_image(frame[..., 0] > 99, header))
        send['joint_states'].publish(JointState(header=header, name=['a'], position=[0.5]))
        send['command'].publish(command.to_message([0.25 * i], i))
    graph.until(lambda: recorder.count == 4 * len(pixels))
    graph.executor.remove_node(recorder)
    recorder.close()
    recorder.destroy_node()

    bag = open_bag(path)
    topics = find_topics(bag)
    assert bag.losses == () and set(bag.counts.values()) == {len(pixels)}
    assert topics.all == ('/camera/image_raw', '/camera/segmentation', '/joint_states', '/command')
    frames = [each.message for each in bag.messages([topics.image])]
    assert [stamp_ns(frame) for frame in frames] == [i * 10**9 + 5 for i in range(len(pixels))]
    assert np.array_equal([frame_of(frame) for frame in frames], pixels)
    assert [list(each.message.data) for each in bag.messages(['/command'])] == \
        [[0.25 * i, i] for i in range(len(pixels))]


def test_recording_does_not_overwrite(graph, tmp_path):
    for name, words in (('there.mcap', 'File exists'), ('bag.db3', 'bag.mcap')):
        (tmp_path / name).touch()
        with pytest.raises(BagError, match=words):
            Recorder(tmp_path / name)
