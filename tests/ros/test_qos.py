# SPDX-License-Identifier: Apache-2.0
"""QoS overrides of a parameter file under a namespace."""

import pytest
import rclpy
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import Image

from samg_ros.ros import qos
from samg_ros.ros.diagnostics import Diagnostics
from samg_ros.ros.domain import choose_domain

KEY = 'qos_overrides.{}.subscription.reliability'


@pytest.fixture
def context():
    choose_domain()  # Fast DDS reads its profile once in a process
    rclpy.init()
    yield
    rclpy.shutdown()


@pytest.mark.parametrize(('namespace', 'given', 'expected'), [
    ('/', {'/camera/image_raw': 'reliable'}, ReliabilityPolicy.RELIABLE),
    ('/left', {'/camera/image_raw': 'reliable'}, ReliabilityPolicy.RELIABLE),
    ('/robots/left', {'/camera/image_raw': 'reliable'}, ReliabilityPolicy.RELIABLE),
    ('/left', {'/left/camera/image_raw': 'reliable'}, ReliabilityPolicy.RELIABLE),
    ('/left', {'/camera/image_raw': 'reliable', '/left/camera/image_raw': 'best_effort'},
     ReliabilityPolicy.BEST_EFFORT),
    ('/left', {'/right/camera/image_raw': 'reliable'}, ReliabilityPolicy.BEST_EFFORT)])
def test_a_key_from_the_root_counts_for_the_topic_under_a_namespace(context, namespace, given,
                                                                    expected):
    node = rclpy.create_node('seeing', namespace=namespace, parameter_overrides=[
        rclpy.Parameter(KEY.format(topic), value=value) for topic, value in given.items()])
    subscription = qos.subscription(node, Diagnostics(node), Image, 'camera/image_raw',
                                    lambda message: None, qos.sensor_data())
    assert subscription.qos_profile.reliability == expected
    node.destroy_node()
