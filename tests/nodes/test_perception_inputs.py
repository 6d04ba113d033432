# SPDX-License-Identifier: Apache-2.0
"""What perception does with messages that are late, missing, too large or of another type."""

import array

import pytest
import rclpy
from distribution import needs_numbers
from geometry_msgs.msg import PointStamped
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from samg_ros.nodes.perception_node import Perception
from samg_ros.ros.messages.images import array_to_image

from ..test_pictures import huge_png
from .test_perception import DEEP, Camera, picture, reference  # noqa: F401


def test_clicks_that_were_queued_at_deactivate_are_ignored(graph, reference):  # noqa: F811
    camera = Camera(graph, reference)
    camera.frame()
    stream = camera.stream
    click = PointStamped()
    camera.node.trigger_deactivate()
    stream._on_click(click.point)  # the executor still had it
    camera.node.trigger_cleanup()
    stream._on_click(click.point)
    assert stream.clicks_dropped.total == 0


def test_camera_info_is_the_one_of_the_frames_stamp(graph, reference):  # noqa: F811
    camera = Camera(graph, reference)
    infos = graph.listen(CameraInfo, 'masked/camera_info', DEEP)
    topic = graph.probe.create_publisher(CameraInfo, 'camera_info', DEEP)
    graph.until(lambda: topic.get_subscription_count() == 1
                and camera.node.count_subscribers('masked/camera_info') == 1)
    header = camera.header()
    topic.publish(CameraInfo(header=header, width=80))
    later = Header(frame_id='camera_optical')
    later.stamp.sec = header.stamp.sec + 100
    topic.publish(CameraInfo(header=later, width=40))  # a zoom after the frame
    graph.until(lambda: len(camera.stream._infos) == 2)
    camera.send(array_to_image(picture(), header))
    graph.until(lambda: infos)
    assert infos[0].header == header and infos[0].width == 80


def test_silence_names_topic_publishers_and_types(graph, reference):  # noqa: F811
    node = graph.add(Perception, {'reference': str(reference), 'fit_weights': False,
                                  'stale_after_s': 0.2})
    graph.until(lambda: "'/image' has 0 publishers; expected sensor_msgs/msg/Image"
                in graph.said('perception: masking'))
    other = rclpy.Context()  # one context takes a single type for a topic
    rclpy.init(context=other)
    camera = rclpy.create_node('camera', context=other)
    camera.create_publisher(CompressedImage, 'image', 1)
    graph.until(lambda: '1 publisher of sensor_msgs/msg/CompressedImage; expected'
                in graph.said('perception: masking'))
    camera.destroy_node()
    rclpy.shutdown(context=other)
    right = graph.probe.create_publisher(Image, 'image', 1)
    graph.until(lambda: '1 publisher of sensor_msgs/msg/Image; expected'
                in graph.said('perception: masking'))
    assert right and node.active


def test_a_picture_above_max_pixels_is_a_drop(graph, reference):  # noqa: F811
    camera = Camera(graph, reference, CompressedImage, 'image/compressed',
                    image_transport='compressed')
    message = CompressedImage(header=camera.header(), format='png',
                              data=array.array('B', huge_png(20000)))
    assert camera.send(message) is None
    assert camera.stream.drops.counts == {'encoding': 1}
    assert 'max_pixels' in camera.stream.drops.last


def test_a_raw_image_above_max_pixels_is_a_drop(graph, reference):  # noqa: F811
    camera = Camera(graph, reference, max_pixels=4000)
    assert camera.frame() is None
    assert 'max_pixels 4000' in camera.stream.drops.last


def test_memory_that_does_not_suffice_is_a_drop(graph, reference):  # noqa: F811
    camera = Camera(graph, reference)

    def predict(frames):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")

    made, camera.masker.predict = camera.masker.predict, predict
    assert camera.frame() is None
    assert camera.stream.drops.counts == {'memory': 1}
    camera.masker.predict = made
    assert camera.frame() is not None


@pytest.mark.parametrize('lazy', [True, False])
def test_frames_are_masked_only_for_subscribers(graph, reference, lazy):  # noqa: F811
    node = graph.add(Perception, {'reference': str(reference), 'fit_weights': False, 'lazy': lazy})
    topic = graph.probe.create_publisher(Image, 'image', DEEP)
    graph.until(lambda: topic.get_subscription_count() == 1)
    topic.publish(array_to_image(picture(), Header()))
    [stream] = node.cameras
    graph.until(lambda: stream.received == 1)
    assert (stream.latency.count, stream.skipped) == ((0, 1) if lazy else (1, 0))
    if lazy:
        graph.until(lambda: 'idle' in graph.said('perception: masking'))


@needs_numbers
@pytest.mark.parametrize(('height', 'width'), [(480, 640), (720, 1280)])
def test_large_frames_are_not_lost_between_processes(graph, reference, height, width):  # noqa: F811
    graph.spawn('perception', {'reference': str(reference), 'fit_weights': False})
    graph.listen(Image, 'masked/mask', DEEP)
    topic = graph.probe.create_publisher(Image, 'image', 5)
    graph.until(lambda: topic.get_subscription_count() == 1
                and graph.probe.count_publishers('masked/mask') == 1)
    graph.spin_for(0.5)
    for index in range(30):
        message = array_to_image(picture(height, width), Header())
        message.header.stamp.sec = index
        topic.publish(message)
        graph.spin_for(0.1)
    graph.spin_for(0.5)
    values = {}

    def all_counted():
        values.update(graph.values('perception: frames'))
        return int(values['in']) >= 29

    graph.until(all_counted, 10)
    assert int(values.get('lost', 0)) <= 1
    assert int(values['out']) >= 1
