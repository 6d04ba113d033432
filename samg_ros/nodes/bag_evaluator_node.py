# SPDX-License-Identifier: Apache-2.0
"""`bag_evaluator`: records what running nodes make of a bag that is played to them, and reports it.

It says on its standard output when all who have to listen do, so that the player can begin, and it
has finished when the player is gone and nothing comes any more.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import sensor_msgs.msg
from sensor_msgs.msg import Image
from std_msgs.msg import Float64MultiArray

from samg_ros.bags.bag import open_bag
from samg_ros.bags.live import report_session
from samg_ros.bags.output import COMMAND, MASK, MASKED
from samg_ros.bags.recording import Recording
from samg_ros.bags.topics import Topics, check_topics
from samg_ros.errors import SamgError
from samg_ros.files.outputs import check_file, make_folder
from samg_ros.ros.compat import steady_timer
from samg_ros.ros.node import PlainNode
from samg_ros.ros.parameters import declare
from samg_ros.ros.service_calls import PolicyEnabler
from samg_ros.ros.topic_recorder import TopicRecorder

READY = 'all that listen are there'
SESSION_NAME = 'session.mcap'
_CHECK_S = 0.1
_READY_S = 0.5
"""How long all have to have been there: their other topics are on their way."""


class BagEvaluator(PlainNode):
    """The node. Parameters are described where they are declared."""

    def __init__(self, **options: Any) -> None:
        """Begin to record.

        Raises:
            BagError: if the bag lacks a topic or has it with another type, or if the recording is
                there already or cannot be written.
        """
        super().__init__('bag_evaluator', **options)
        self._bag = Path(declare(self, 'bag', '', 'Folder or file of the bag that is played.'))

        def topic(name: str, what: str) -> str | None:
            return declare(self, name, '', f'Topic of {what} in the bag; empty for none.') or None

        image = topic('image', 'the camera') or '/camera/image_raw'
        self._topics = Topics(image, topic('truth', 'the true masks'),
                              topic('joint_states', 'the joints'),
                              topic('command', 'the recorded actions'),
                              topic('time_step', 'the time steps of a simulator'))
        self._policy = declare(self, 'checkpoint', '', 'Of the policy that acts; empty for none.')
        self._fill = declare(self, 'fill', [0, 0, 0], 'RGB outside the mask, for the page.')
        self._out = Path(declare(self, 'out', 'bag_eval', f'Folder for {SESSION_NAME}, page, '
                                 'figures and video.'))
        self._json = declare(self, 'json', '', 'Further file for the figures; empty for none.')
        self._settle_s = declare(self, 'settle_s', 3.0, 'Seconds without a message after the end '
                                 'of the bag; longer than a frame is masked.',
                                 between=(0.1, 600.0))
        self._patience_s = declare(self, 'patience_s', 300.0, 'Seconds in which the other nodes '
                                   'have to come, and then the player.', between=(1.0, 3600.0))
        self.ready = False
        """Whether all have come that listen."""
        self._played = False
        self._since = self._changed = time.monotonic()
        self._count = 0
        if self._json:
            check_file(self._json, overwrite=True)
        bag = open_bag(self._bag)
        check_topics(bag, vars(self._topics))
        image_class = getattr(sensor_msgs.msg, bag.topics[image].rpartition('/')[2])
        self._recording = Recording(make_folder(self._out) / SESSION_NAME)
        self._tap = TopicRecorder(self, self._recording, {
            image: image_class, MASK: Image, MASKED: Image, COMMAND: Float64MultiArray})
        self._enabling = PolicyEnabler(self, 'policy') if self._policy else None
        steady_timer(self, _CHECK_S, self._check)

    def close(self) -> None:
        """Finish the recording."""
        self._recording.close()

    def finish(self) -> None:
        """Print the table and write the page; after close.

        Raises:
            SamgError: if the bag, the recording or the checkpoint cannot be used, or the policy
                did not act.
        """
        report_session(self._bag, self._topics, self._out / SESSION_NAME, self._policy, self._out,
                       Path(self._json) if self._json else None, tuple(self._fill))
        if self._enabling is not None and not self._enabling.enabled:
            raise SamgError('the masks of the bag are reported, but the policy did not act: '
                            + (self._enabling.answer.text or 'it did not answer'))

    def _check(self) -> None:
        now = time.monotonic()
        if not self.ready:
            self._wait_for_listeners(now)
            return
        playing = self.count_publishers(self._topics.image) > 0
        self._played |= playing
        # Commands do not count: a policy that sees nothing sends its safe action for ever.
        count = sum(self._tap.counts[topic] for topic in (self._topics.image, MASK, MASKED))
        if playing or count > self._count:
            self._count, self._changed = count, now
        elif self._played and now - self._changed > self._settle_s:
            self.finished = True
        elif not self._played and now - self._changed > self._patience_s:
            self.error = SamgError(f"no frame of '{self._topics.image}' came for "
                                   f'{self._patience_s:g} s')

    def _wait_for_listeners(self, now: float) -> None:
        others = self.count_subscribers(self._topics.image) - 1
        there = others > 0 and (self._enabling is None or self._enabling.there)
        if not there:
            self._since = now
            if now - self._changed > self._patience_s:
                missing = 'policy' if others > 0 else f"a subscriber of '{self._topics.image}'"
                self.error = SamgError(f'after {self._patience_s:g} s the graph is not complete: '
                                       f'{missing} is missing')
        elif now - self._since > _READY_S:
            self.ready, self._changed = True, now
            print(f'{READY}: the bag can be played', flush=True)
