# SPDX-License-Identifier: Apache-2.0
"""Collects figures of every frame of a bag: its mask, and the action on it.

Masks and actions come from an Observed. `Offline` computes them here, frame by frame, as
`perception` and `policy` would. `live.LiveSession` reads what the running nodes recorded when the
bag was played to them.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from samg_ros.bags.bag import Bag
from samg_ros.bags.replay.actions import Replay, SideTopics, read_side_topics
from samg_ros.bags.result import Bad, BagResult
from samg_ros.bags.topics import Topics, find_more, frame_of, stamp_ns
from samg_ros.errors import BagError, ConfigError, EncodingError, InvalidInputError
from samg_ros.evaluation.episodes import View, small_view
from samg_ros.evaluation.metrics import mask_iou
from samg_ros.masking import Masker, apply_mask
from samg_ros.masking.tracker import Tracker
from samg_ros.rl.evaluation.policy import Policy
from samg_ros.ros.messages.images import image_to_mask

WORST = 8
_WAITING = 64
"""Frames and true masks that wait for each other; the recorder gets them at about one time."""
_NONE = float('nan')


class MaskedFrame(NamedTuple):
    """One frame of the bag and what was made of it."""

    header: Any
    log_time_ns: int
    view: View
    action: npt.NDArray[np.float64] | None
    """(A,) of the policy; None if it did not act."""


class Seen(NamedTuple):
    """What a masker made of one frame."""

    mask: npt.NDArray[np.bool_]
    """(H, W) bool."""
    predicted_iou: float
    """NaN where it is not known."""
    latency_ms: float


class _PackedMask(NamedTuple):
    """A mask at one bit a pixel: 1 MB for 4K."""

    bits: npt.NDArray[np.uint8]
    shape: tuple[int, int]

    @classmethod
    def of(cls, mask: npt.NDArray[np.bool_]) -> _PackedMask:
        return cls(np.packbits(mask), (mask.shape[0], mask.shape[1]))

    def mask(self) -> npt.NDArray[np.bool_]:
        """Return (H, W) bool."""
        count = self.shape[0] * self.shape[1]
        return np.unpackbits(self.bits, count=count).reshape(self.shape).astype(np.bool_)


class _Waiting(NamedTuple):
    """A masked frame whose true mask has not been read yet."""

    frame_index: int
    mask: _PackedMask
    view: View
    """Small, for the page."""


class Observed(Protocol):
    """Who masks the frames of a bag and acts on them."""

    side: SideTopics | None
    """What the recorded actions are; None without a policy."""
    more: Mapping[str, str]
    """Topic -> name of the further cameras that it has to be shown."""
    actions: deque[npt.NDArray[np.float64] | None]
    """(A,) for each frame shown, in their order, as soon as it is decided; None for none. To be
    taken from the left."""
    no_action: Counter[str]
    """Frames that were not acted on, by cause."""
    fill: tuple[int, int, int]
    """Outside the mask."""

    def see(self, stamp: int, frame: npt.NDArray[np.uint8]) -> Seen | None:
        """Return what was made of the next frame; None if it was not masked.

        Args:
            stamp: of the frame, ns.
            frame: (H, W, 3) uint8 RGB.
        """

    def show(self, stamp: int, view: View) -> None:
        """Show the frame that was masked, so that it is acted on."""

    def show_more(self, topic: str, message: Any) -> None:
        """Take the next message of a further camera.

        Raises:
            EncodingError: as of `frame_of`.
            InvalidInputError: likewise.
        """

    def end(self) -> None:
        """Decide on all frames shown: nothing more comes."""


def evaluate_bag(bag: Bag, topics: Topics, masker: Masker | None, policy: Policy | None = None,
                 sink: Callable[[MaskedFrame], None] | None = None, progress: bool = False,
                 more_maskers: Mapping[str, Masker] | None = None) -> BagResult:
    """Mask the frames of a bag and act on them.

    Args:
        bag: to read.
        topics: from `find_topics`.
        masker: fitted; None leaves frames as they are, for a policy that sees raw ones.
        policy: None leaves actions out.
        sink: gets every masked frame, in order.
        progress: show a bar.
        more_maskers: of the policy's further cameras by name; None if it sees one, or raw frames.

    Raises:
        BagError: if no frame can be used, or the bag lacks what the policy wants.
        ConfigError: if masker and policy do not fit each other.
    """
    offline = Offline(bag, topics, masker, policy, more_maskers)
    return Evaluation(bag, topics, offline, sink).run(progress)


class Offline:
    """Computes masks and actions in this process, an Observed."""

    def __init__(self, bag: Bag, topics: Topics, masker: Masker | None, policy: Policy | None,
                 more_maskers: Mapping[str, Masker] | None = None) -> None:
        """Take the arguments of `evaluate_bag`."""
        if policy is not None and policy.spec.source == 'truth':
            raise BagError("the policy was trained on the simulator's true masks; a bag is masked "
                           'by a masker, so take a policy that was trained behind one')
        if masker is None and (policy is None or policy.spec.source == 'masked'):
            raise ConfigError('frames are masked with a reference: give a fitted masker')
        self.fill = policy.spec.fill if policy is not None else (0, 0, 0)
        self.side: SideTopics | None = None
        self.more: Mapping[str, str] = {}
        self.actions: deque[npt.NDArray[np.float64] | None] = deque()
        self.no_action: Counter[str] = Counter()
        self._tracker = None if masker is None else Tracker(masker)
        self._more_trackers = {name: Tracker(each) for name, each in (more_maskers or {}).items()}
        self._raw = policy is not None and policy.spec.source == 'raw'
        self._replay: Replay | None = None
        if policy is not None:
            self.side = read_side_topics(bag, topics, policy)
            self.more = find_more(bag, policy.more_cameras, topics.image)
            if not self._raw and (missing := [name for name in self.more.values()
                                              if name not in self._more_trackers]):
                raise ConfigError(f'frames of the camera {", ".join(missing)} are masked too: give '
                                  "a fitted masker for each, as of the policy's more_maskers()")
            self._replay = Replay(policy, self.side)
            self.actions, self.no_action = self._replay.actions, self._replay.dropped

    def see(self, stamp: int, frame: npt.NDArray[np.uint8]) -> Seen:
        began = time.perf_counter()
        mask: npt.NDArray[np.bool_] = np.ones(frame.shape[:2], np.bool_)
        predicted = float('nan')
        if self._tracker is not None:
            prediction = self._tracker.predict(frame, stamp * 1e-9)
            mask = prediction.masks[0].cpu().numpy()
            predicted = float(prediction.predicted_iou.min())
        return Seen(mask, predicted, (time.perf_counter() - began) * 1000)

    def show(self, stamp: int, view: View) -> None:
        if self._replay is None:
            self.actions.append(None)
        else:
            self._replay.show(stamp, view.frame if self._raw else view.masked)

    def show_more(self, topic: str, message: Any) -> None:
        assert self._replay is not None
        camera, frame = self.more[topic], frame_of(message)
        if not self._raw:
            mask = self._more_trackers[camera].mask(frame, stamp_ns(message))
            frame = apply_mask(frame, mask, self.fill)
        self._replay.show_more(camera, stamp_ns(message), frame)

    def end(self) -> None:
        if self._replay is not None:
            self._replay.end()


class Evaluation:
    """One pass over a bag."""

    def __init__(self, bag: Bag, topics: Topics, observed: Observed,
                 sink: Callable[[MaskedFrame], None] | None = None) -> None:
        """Begin; the arguments are those of `evaluate_bag`."""
        self._bag, self._topics, self._observed = bag, topics, observed
        self._sink = sink
        self._result = BagResult(with_policy=observed.side is not None)
        self._actions: list[npt.NDArray[np.float64] | None] = []  # of all frames
        self._shown: deque[tuple[int, MaskedFrame | None]] = deque()
        """Index of each frame on which nothing is decided yet, and what the sink will get."""
        self._before: npt.NDArray[np.bool_] | None = None
        self._masks: dict[int, _Waiting] = {}
        self._truths: dict[int, _PackedMask] = {}

    def run(self, progress: bool = False) -> BagResult:
        """Return the figures of the whole bag."""
        bag, topics, result = self._bag, self._topics, self._result
        wanted = [topics.image, *filter(None, [topics.truth]), *self._observed.more]
        with tqdm(total=bag.counts[topics.image], desc=bag.path.name, unit='frame', leave=False,
                  disable=not progress) as bar:
            for topic, log_time_ns, message in bag.messages(wanted):
                try:
                    if topic == topics.image:
                        bar.update()
                        self._on_frame(message, log_time_ns, frame_of(message))
                    elif topic in self._observed.more:
                        self._observed.show_more(topic, message)
                    else:
                        self._on_truth(stamp_ns(message), image_to_mask(message))
                except (EncodingError, InvalidInputError) as error:
                    result.unusable[f'{topic}: {error}'] += 1
                self._take_actions()
            self._observed.end()
            self._take_actions()
        for topic, count in bag.undecodable.items():
            result.unusable[f'{topic}: not what its type {bag.topics[topic]} says'] += count
        if not result.stamps_ns:
            raise BagError(f"no frame of '{topics.image}' can be used: "
                           f'{"; ".join(result.unusable) or "it has no message"}')
        self._compare_actions()
        result.worst.sort(key=lambda bad: (bad.score, bad.frame_index))
        return result

    def _on_frame(self, message: Any, log_time_ns: int, frame: npt.NDArray[np.uint8]) -> None:
        result, index = self._result, len(self._result.stamps_ns)
        stamp = stamp_ns(message)
        seen = self._observed.see(stamp, frame)
        result.stamps_ns.append(stamp)
        result.log_times_ns.append(log_time_ns)
        result.truth_iou.append(_NONE)
        self._actions.append(None)
        if seen is None:
            result.unmasked += 1
            for values in (result.temporal_iou, result.coverage, result.predicted_iou,
                           result.latency_ms):
                values.append(_NONE)
            return
        mask = seen.mask
        masked = apply_mask(frame, mask, self._observed.fill)
        view = View(frame, mask, masked)
        self._observed.show(stamp, view)
        before, self._before = self._before, mask
        result.temporal_iou.append(
            _NONE if before is None or before.shape != mask.shape
            else float(mask_iou(mask, before)))
        result.coverage.append(float(mask.mean()))
        result.predicted_iou.append(seen.predicted_iou)
        result.latency_ms.append(seen.latency_ms)
        if self._topics.truth is None:
            self._rank(seen.predicted_iou if mask.any() else 0.0, index, small_view(view))
        else:
            self._masks[stamp] = _Waiting(index, _PackedMask.of(mask), small_view(view))
            self._meet(stamp)
        self._shown.append((index, None if self._sink is None else
                            MaskedFrame(message.header, log_time_ns, view, None)))

    def _take_actions(self) -> None:
        """Put the actions that were decided to their frames, and hand those on."""
        while self._observed.actions:
            index, masked = self._shown.popleft()
            self._actions[index] = action = self._observed.actions.popleft()
            if self._sink is not None and masked is not None:
                self._sink(masked._replace(action=action))

    def _on_truth(self, stamp: int, truth: npt.NDArray[np.bool_]) -> None:
        self._truths[stamp] = _PackedMask.of(truth)
        self._meet(stamp)

    def _meet(self, stamp: int) -> None:
        """Compare a mask with its truth once both are there."""
        if stamp in self._masks and stamp in self._truths:
            index, packed, view = self._masks.pop(stamp)
            mask, truth = packed.mask(), self._truths.pop(stamp).mask()
            if truth.shape != mask.shape:
                self._result.unusable[f'{self._topics.truth}: a true mask has {truth.shape} '
                                      f'pixels, its frame {mask.shape}'] += 1
                return
            iou = float(mask_iou(mask, truth))
            self._result.truth_iou[index] = iou
            self._rank(iou, index, view)
        waiting: dict[int, Any]
        for waiting in (self._masks, self._truths):
            while len(waiting) > _WAITING:
                waiting.pop(next(iter(waiting)))

    def _rank(self, score: float, index: int, view: View) -> None:
        if np.isfinite(score):
            self._result.worst.append(Bad(score, index, view))
            if len(self._result.worst) > 4 * WORST:
                self._trim()

    def _trim(self) -> None:
        self._result.worst = heapq.nsmallest(WORST, self._result.worst,
                                             key=lambda bad: (bad.score, bad.frame_index))

    def _compare_actions(self) -> None:
        result = self._result
        self._trim()
        side = self._observed.side
        if side is None:
            return
        result.no_action = self._observed.no_action
        result.actions = sum(action is not None for action in self._actions)
        ends = [*result.log_times_ns[1:], None]
        for action, stamp, log_time_ns, until in zip(
                self._actions, result.stamps_ns, result.log_times_ns, ends, strict=True):
            recorded = side.recorded(stamp, log_time_ns, until)
            result.action_error.append(
                _NONE if action is None or recorded is None
                else float(np.abs(action - recorded).max()))
