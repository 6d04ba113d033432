# SPDX-License-Identifier: Apache-2.0
"""`perception` as a managed node."""

import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from sensor_msgs.msg import Image

from samg_ros.masking import Reference
from samg_ros.nodes.perception_node import Perception
from samg_ros.ros.messages.images import array_to_image


@pytest.fixture
def managed(graph, reference, weights):
    """A perception node that waits to be told."""
    return graph.add(Perception, {'autostart': False, 'reference': str(reference), 'fit_steps': 5,
                                  'weights': str(weights), 'passes': 1})


def change(graph, transition):
    request = ChangeState.Request(transition=Transition(id=transition))
    return graph.call(ChangeState, 'perception/change_state', request).success


def state(graph):
    return graph.call(GetState, 'perception/get_state', GetState.Request()).current_state.label


def test_without_autostart_it_does_what_a_manager_says(graph, managed, reference):
    frame = array_to_image(Reference.load(reference).image, Image().header)
    publisher = graph.probe.create_publisher(Image, 'image', 5)
    masked = graph.listen(Image, 'masked/image_raw')
    assert state(graph) == 'unconfigured'
    for _ in range(2):
        assert change(graph, Transition.TRANSITION_CONFIGURE) and state(graph) == 'inactive'
        assert publisher.get_subscription_count() == 0
        assert change(graph, Transition.TRANSITION_ACTIVATE) and state(graph) == 'active'
        graph.until(lambda: publisher.get_subscription_count() == 1
                    and managed.count_subscribers('masked/image_raw') == 1)
        masked.clear()
        publisher.publish(frame)
        graph.until(lambda: masked)
        assert change(graph, Transition.TRANSITION_DEACTIVATE) and state(graph) == 'inactive'
        assert change(graph, Transition.TRANSITION_CLEANUP) and state(graph) == 'unconfigured'
    assert change(graph, Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    assert managed.finished


def test_a_failed_configuration_leaves_it_unconfigured(graph, weights):
    graph.add(Perception, {'autostart': False, 'reference': '/no/such/folder',
                           'weights': str(weights)})
    assert not change(graph, Transition.TRANSITION_CONFIGURE)
    assert state(graph) == 'unconfigured'
