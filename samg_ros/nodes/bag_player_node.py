# SPDX-License-Identifier: Apache-2.0
"""`bag_player`: publishes the messages of a bag at the times at which they were recorded.

It stands in for `ros2 bag play` where there is no ROS but its wheels. Messages go out as they are
stored; it begins when the topics have subscribers, and ends with the bag.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import sensor_msgs.msg
from rclpy.duration import Duration

from samg_ros.bags.bag import Bag, open_bag
from samg_ros.errors import BagError, SamgError, first_line
from samg_ros.ros import qos
from samg_ros.ros.compat import steady_timer
from samg_ros.ros.node import PlainNode
from samg_ros.ros.parameters import declare

_DEPTH = 100
_PACKAGE = 'sensor_msgs/msg/'
_LISTENED_S = 0.5
"""After the listeners are there: those of the other topics are on their way."""
_CHECK_S = 0.1
_SENT = Duration(seconds=5)


class BagPlayer(PlainNode):
    """The node. Parameters are described where they are declared."""

    def __init__(self, **options: Any) -> None:
        """Open the bag and advertise its topics.

        Raises:
            BagError: if the bag cannot be read, or a topic is not of sensor_msgs.
        """
        super().__init__('bag_player', **options)
        path = declare(self, 'bag', '', 'Folder or file of the bag.')
        names = declare(self, 'topics', [''],
                        'Topics of sensor_msgs to publish, the first to wait for.')
        self._rate = declare(self, 'rate', 1.0, 'Speed; 2 is twice as fast.',
                             between=(0.01, 100.0))
        self._listeners = declare(self, 'listeners', 1, 'Subscribers of the first topic to wait '
                                  'for.', between=(0, 1000))
        bag = open_bag(path)
        topics = [name for name in names if name in bag.topics]
        foreign = {name: bag.topics[name] for name in topics
                   if not bag.topics[name].startswith(_PACKAGE)}
        if foreign or not topics:
            raise BagError('the bag has no topic that can be played, or one of another package '
                           f'than sensor_msgs: {foreign or bag.topics}')
        self._topics = {name: self.create_publisher(
            getattr(sensor_msgs.msg, bag.topics[name].removeprefix(_PACKAGE)), name,
            qos.reliable(_DEPTH)) for name in topics}
        self._stop, self._over = threading.Event(), False
        self.sent = 0
        """Messages published so far."""
        # A thread, so that a masker that works in the same process does not hold up time.
        self._thread = threading.Thread(target=self._play, args=(bag,), name='bag_player')
        steady_timer(self, _CHECK_S, self._end_if_over)

    def start(self) -> None:
        """Begin to wait for listeners."""
        self._thread.start()

    def close(self) -> None:
        """Stop, wherever it is."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _play(self, bag: Bag) -> None:
        first = next(iter(self._topics.values()))
        while first.get_subscription_count() < self._listeners:
            if self._stop.wait(_CHECK_S):
                return
        if self._stop.wait(_LISTENED_S):
            return
        began, start = time.monotonic(), None
        try:
            for raw in bag.serialized(list(self._topics)):
                start = raw.log_time_ns if start is None else start
                due = began + (raw.log_time_ns - start) * 1e-9 / self._rate
                if self._stop.wait(max(0.0, due - time.monotonic())):
                    return
                self._topics[raw.topic].publish(raw.data)
                self.sent += 1
        except SamgError as error:
            self.error = error
        except Exception as error:  # noqa: BLE001 - the others would wait for ever
            self.error = BagError(f"'{bag.path}' cannot be played any more: {first_line(error)}")
        for publisher in self._topics.values():
            publisher.wait_for_all_acked(_SENT)
        self._over = True

    def _end_if_over(self) -> None:
        """Withdraw the topics, by which others see that the bag is over."""
        if self._over and not self.finished:
            self.finished = True
            while self._topics:
                self.destroy_publisher(self._topics.popitem()[1])
