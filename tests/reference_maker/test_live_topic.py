# SPDX-License-Identifier: Apache-2.0
"""A camera topic as the source of pictures, over real Fast DDS."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from samg_ros.errors import EncodingError, InvalidInputError
from samg_ros.ros.domain import choose_domain

rclpy = pytest.importorskip('rclpy')


@pytest.fixture
def camera():
    """A publisher on /camera/image_raw; `send(frame, encoding)` publishes once."""
    from sensor_msgs.msg import Image
    from std_msgs.msg import Header

    from samg_ros.ros.messages.images import array_to_image
    from samg_ros.ros.qos import reliable

    choose_domain()
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node('camera', context=context)
    publisher = node.create_publisher(Image, '/camera/image_raw', reliable())

    def send(frame, encoding=None):
        message = array_to_image(frame, Header())
        message.encoding = encoding or message.encoding
        publisher.publish(message)

    yield SimpleNamespace(send=send, publisher=publisher)
    node.destroy_node()
    context.try_shutdown()


@pytest.fixture
def topic(camera):
    from samg_ros.reference_maker.live_topic import LiveTopic

    found = LiveTopic('/camera/image_raw')
    yield found
    found.close()


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def shown(topic):
    try:
        return topic.frame(0)
    except InvalidInputError:
        return None


def test_the_newest_picture_is_taken(topic, camera, scene):
    until(camera.publisher.get_subscription_count)
    until(lambda: camera.send(scene[0]) or shown(topic) is not None)
    assert (topic.frame(0) == scene[0]).all() and topic.status() == ''
    other = scene[0][::-1].copy()
    until(lambda: camera.send(other) or (topic.frame(0) == other).all())


def test_a_silent_topic_says_so_and_who_publishes(topic, camera):
    until(lambda: '1 publishers' in topic.status())
    with pytest.raises(InvalidInputError, match='/camera/image_raw: no picture in'):
        topic.frame(0)


def test_an_encoding_that_cannot_be_read_is_named(topic, camera):
    until(camera.publisher.get_subscription_count)
    frame = np.zeros((20, 20, 3), np.uint8)
    until(lambda: camera.send(frame, 'strange8') or topic._newest is not None)
    with pytest.raises(EncodingError, match='strange8'):
        topic.frame(0)


def test_what_is_no_topic_is_refused():
    from samg_ros.reference_maker.live_topic import LiveTopic

    with pytest.raises(InvalidInputError, match='not the name of a topic'):
        LiveTopic('no topic!')


def test_the_page_has_a_shutter(chromium, server, topic, camera, scene):
    from tests.reference_maker.conftest import TOKEN, serving

    server.source, server.live = topic, True
    taken = scene[0]
    scene = [taken.copy()]
    stop = threading.Event()

    def film():
        while not stop.wait(0.05):
            camera.send(scene[0])

    with serving(server) as port:
        tab = chromium.new_page()
        tab.goto(f'http://127.0.0.1:{port}/?token={TOKEN}')
        tab.wait_for_selector('#live-status:has-text("no picture in")')
        tab.click('#take')
        tab.wait_for_selector('#message:has-text("no picture in")')
        thread = threading.Thread(target=film)
        thread.start()
        try:
            tab.wait_for_selector('#live-status:empty', state='attached')
            tab.click('#take')
            tab.wait_for_selector('#pictures img')
            tab.click('[data-tool=box]')
            box = tab.locator('#canvas').bounding_box()
            tab.mouse.move(box['x'] + box['width'] * .3, box['y'] + box['height'] * .2)
            tab.mouse.down()
            tab.mouse.move(box['x'] + box['width'] * .8, box['y'] + box['height'] * .8, steps=3)
            tab.mouse.up()
            tab.click('#try-source')  # from then on it follows the camera
            tab.wait_for_selector('#found figcaption:has-text("% of the picture")')
            scene[0][:] = 90
            tab.wait_for_selector('#found figcaption:has-text("nothing found")')
        finally:
            stop.set()
            thread.join()
        tab.close()
    picture, = server.session.pictures.values()
    assert (picture.image == taken).all() and picture.name == '/camera/image_raw'
