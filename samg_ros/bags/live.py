# SPDX-License-Identifier: Apache-2.0
"""Figures of running nodes to which a bag was played, while a second bag recorded their output.

The recording says when frames, masks and commands arrived, all by one clock; the bag that was
played holds the frames, true masks and recorded actions. Joined by stamp they give the figures of
`evaluate`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from samg_ros.bags.bag import Bag, Recorded, open_bag
from samg_ros.bags.evaluate import Evaluation, Seen
from samg_ros.bags.output import COMMAND, MASK, MASKED, QUALITY
from samg_ros.bags.replay.actions import SideTopics, read_side_topics
from samg_ros.bags.report import LIVE, VIDEO_NAME, present
from samg_ros.bags.topics import Topics, labelled, stamp_ns
from samg_ros.evaluation.episodes import View
from samg_ros.evaluation.pictures import Video
from samg_ros.rl.evaluation.policy import Policy, load_policy
from samg_ros.ros.messages.images import image_to_mask

NO_COMMAND = 'no_command'


class LiveSession:
    """What the nodes saw and did, an Observed.

    A command is taken as the answer to the last frame that reached the policy before it. When two
    commands arrive with no frame between them, the second is the watchdog's and no action.
    """

    def __init__(self, bag: Bag, topics: Topics, session: Bag, policy: Policy | None,
                 fill: tuple[int, int, int] = (0, 0, 0)) -> None:
        """Read what is small: arrivals and commands.

        Args:
            bag: that was played.
            topics: of it.
            session: recording of what arrived: the image topic, and those of `perception` and
                `policy`.
            policy: that acted; None for none.
            fill: outside the mask, where there is no policy to say so.

        Raises:
            BagError: if the bag lacks what the policy wants.
        """
        self.fill = fill if policy is None else policy.spec.fill
        self.side: SideTopics | None = None
        self.more: Mapping[str, str] = {}
        self.actions: deque[npt.NDArray[np.float64] | None] = deque()
        self.no_action: Counter[str] = Counter()
        self._raw = policy is not None and policy.spec.source == 'raw'
        self._arrived = {stamp_ns(each.message): each.log_time_ns
                         for each in session.messages([topics.image])}
        self._predicted = _predicted(session.messages([QUALITY]))
        self._masks = session.messages([MASK])
        self._next: Recorded | None = next(self._masks, None)
        self._sent: dict[int, npt.NDArray[np.float64]] = {}
        if policy is not None:
            self.side = read_side_topics(bag, topics, policy)
            seen = topics.image if self._raw else MASKED
            self._sent = _actions(session.messages([seen, COMMAND]), len(policy.action_low))

    def see(self, stamp: int, frame: npt.NDArray[np.uint8]) -> Seen | None:
        if self._raw:
            everything: npt.NDArray[np.bool_] = np.ones(frame.shape[:2], np.bool_)
            return Seen(everything, float('nan'), float('nan')) if stamp in self._arrived else None
        made = self._next
        if made is None or stamp_ns(made.message) != stamp:
            return None
        self._next = next(self._masks, None)
        arrived = self._arrived.get(stamp)
        latency_ms = float('nan') if arrived is None else (made.log_time_ns - arrived) * 1e-6
        return Seen(image_to_mask(made.message), self._predicted.get(stamp, float('nan')),
                    latency_ms)

    def show(self, stamp: int, view: View) -> None:
        action = self._sent.pop(stamp, None)
        if action is None and self.side is not None:
            self.no_action[NO_COMMAND] += 1
        self.actions.append(action)

    def show_more(self, topic: str, message: Any) -> None:
        pass  # the running nodes had one camera

    def end(self) -> None:
        pass


def report_session(path: Path, topics: Topics, session: Path, checkpoint: str, out: Path,
                   json_file: Path | None, fill: tuple[int, int, int]) -> None:
    """Print the figures of a session, and write its page and video.

    Args:
        path: of the bag that was played.
        topics: of it.
        session: the recording.
        checkpoint: of the policy that acted; empty for none.
        out: folder for page, figures and video.
        json_file: a further place for the figures; None for none.
        fill: RGB outside the mask, where there is no policy to say so.

    Raises:
        SamgError: if a file cannot be read or written.
    """
    bag, recording = open_bag(path), open_bag(session)
    policy = load_policy(checkpoint) if checkpoint else None
    live = LiveSession(bag, topics, recording, policy, fill)
    with Video(out / VIDEO_NAME) as video:
        result = Evaluation(bag, topics, live, lambda made: video.add(made.view)).run()
    present(result, bag, topics, out, json_file, {
        'Bag': str(path), 'Topics': ', '.join(topics.all), 'Recording': str(session),
        'Policy': checkpoint or 'none'}, LIVE)


def _predicted(messages: Iterator[Recorded]) -> dict[int, float]:
    """Return what the masker thought of each mask, by the frame's stamp in ns."""
    found: dict[int, float] = {}
    for _, _, message in messages:
        said = labelled(message)
        if {'stamp_sec', 'stamp_nanosec', 'predicted_iou'} <= said.keys():
            stamp = int(said['stamp_sec']) * 10**9 + int(said['stamp_nanosec'])
            found[stamp] = said['predicted_iou']
    return found


def _actions(messages: Iterator[Recorded], size: int) -> dict[int, npt.NDArray[np.float64]]:
    """Return the first command after each frame, by the frame's stamp."""
    found: dict[int, npt.NDArray[np.float64]] = {}
    stamp: int | None = None
    for topic, _, message in messages:
        if topic != COMMAND:
            stamp = stamp_ns(message)
        elif stamp is not None and len(message.data) == size:
            found[stamp], stamp = np.array(message.data, np.float64), None
    return found
