# SPDX-License-Identifier: Apache-2.0
"""Masks every frame of a bag, one by one as `perception` does, and keeps the figures."""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from samg_ros.bags.bag import Bag
from samg_ros.bags.replay import Replay, ReplaySettings, SideTopics, read_side_topics
from samg_ros.bags.topics import Topics, frame_of, stamp_ns
from samg_ros.errors import BagError, ConfigError, EncodingError, InvalidInputError
from samg_ros.evaluation.episodes import View
from samg_ros.evaluation.metrics import mask_iou
from samg_ros.masking import Masker, apply_mask
from samg_ros.nodes.conversions import image_to_mask
from samg_ros.rl.policy import Policy

WORST = 8
_WAITING = 64
"""Frames and true masks that wait for each other; the recorder gets them at about one time."""
_GAP = 1.5
"""Intervals between stamps from which a frame counts as missing."""

Series = npt.NDArray[np.float64]


class MaskedFrame(NamedTuple):
    """One frame of the bag and what was made of it."""

    header: Any
    log_time_ns: int
    view: View
    action: npt.NDArray[np.float64] | None
    """(A,) of the policy; None if it did not act."""


class Bad(NamedTuple):
    """One of the worst frames."""

    score: float
    frame_index: int
    view: View


@dataclass(eq=False)
class BagResult:
    """The figures of a bag, by frame: a list has a value for each, NaN where there is none."""

    stamps_ns: list[int] = field(default_factory=list)
    log_times_ns: list[int] = field(default_factory=list)
    coverage: list[float] = field(default_factory=list)
    """Share of the frame that is in the mask."""
    temporal_iou: list[float] = field(default_factory=list)
    """IoU with the mask of the frame before."""
    predicted_iou: list[float] = field(default_factory=list)
    """What the model thinks of the mask."""
    truth_iou: list[float] = field(default_factory=list)
    """IoU with the recorded true mask of the same stamp."""
    latency_ms: list[float] = field(default_factory=list)
    """From pixels to mask."""
    action_error: list[float] = field(default_factory=list)
    """Greatest difference of the policy's action from the recorded one."""
    actions: int = 0
    unusable: Counter[str] = field(default_factory=Counter)
    """Image messages that gave no frame, by cause."""
    no_action: Counter[str] = field(default_factory=Counter)
    """Frames on which the policy did not act, by cause."""
    worst: list[Bad] = field(default_factory=list)
    """Lowest score first: IoU with the truth, or where there is none, predicted IoU."""
    with_policy: bool = False

    @property
    def times_s(self) -> Series:
        """(N,) seconds since the first stamp."""
        stamps = np.array(self.stamps_ns, np.float64)
        return np.asarray((stamps - stamps[0]) * 1e-9, np.float64)

    def drops(self) -> dict[str, Any]:
        """Return what the stamps say about frames that are not there."""
        steps = np.diff(np.array(self.stamps_ns, np.int64))
        forward = steps[steps > 0]
        interval = float(np.median(forward)) if len(forward) else 0.0
        wide = forward[np.asarray(forward, np.float64) > _GAP * interval]
        return {'missing_frames': int(np.sum(np.rint(wide / interval) - 1)) if len(wide) else 0,
                'gaps': len(wide), 'longest_gap_s': round(float(wide.max()) * 1e-9, 4)
                if len(wide) else 0.0, 'repeated_stamps': int((steps == 0).sum()),
                'set_back': int((steps < 0).sum()),
                'rate_hz': round(1e9 / interval, 2) if interval else None}

    def summary(self) -> dict[str, Any]:
        """Return the figures as plain JSON types."""
        values = {'frames': len(self.stamps_ns), 'unusable': dict(self.unusable),
                  **self.drops(), 'empty_masks': sum(area == 0 for area in self.coverage)}
        for name in ('coverage', 'temporal_iou', 'predicted_iou', 'truth_iou', 'latency_ms'):
            values[name] = _spread(getattr(self, name))
        if self.with_policy:
            errors = np.array(self.action_error, np.float64)
            compared = errors[np.isfinite(errors)]
            values['policy'] = {
                'actions': self.actions, 'no_action': dict(self.no_action),
                'compared': len(compared),
                'equal_to_the_bit': int((compared == 0).sum()),
                'difference': _spread(self.action_error)}
        return values


def evaluate_bag(bag: Bag, topics: Topics, masker: Masker | None, policy: Policy | None = None,
                 settings: ReplaySettings | None = None,
                 sink: Callable[[MaskedFrame], None] | None = None,
                 progress: bool = False) -> BagResult:
    """Mask the frames of a bag and act on them.

    Args:
        bag: to read.
        topics: from `find_topics`.
        masker: fitted; None leaves frames as they are, for a policy that sees raw ones.
        policy: None leaves actions out.
        settings: of the replay; None takes the node's.
        sink: gets every masked frame, in order.
        progress: show a bar.

    Raises:
        BagError: if no frame can be used, or the bag lacks what the policy wants.
        ConfigError: if masker and policy do not fit each other.
    """
    if policy is not None and policy.spec.source == 'truth':
        raise BagError("the policy was trained on the simulator's true masks; a bag is masked by "
                       'a masker, so take a policy that was trained behind one')
    if masker is None and (policy is None or policy.spec.source == 'masked'):
        raise ConfigError('frames are masked with a reference: give a fitted masker')
    return _Evaluation(bag, topics, masker, policy, settings, sink).run(progress)


class _Evaluation:
    """One pass over a bag."""

    def __init__(self, bag: Bag, topics: Topics, masker: Masker | None, policy: Policy | None,
                 settings: ReplaySettings | None, sink: Callable[[MaskedFrame], None] | None,
                 ) -> None:
        self._bag, self._topics, self._masker, self._policy = bag, topics, masker, policy
        self._sink = sink
        self._fill = policy.spec.fill if policy is not None else (0, 0, 0)
        self._side: SideTopics | None = None
        self._replay: Replay | None = None
        if policy is not None:
            self._side = read_side_topics(bag, topics, policy)
            self._replay = Replay(policy, self._side, settings)
        self._result = BagResult(with_policy=policy is not None)
        self._actions: list[npt.NDArray[np.float64] | None] = []
        self._before: npt.NDArray[np.bool_] | None = None
        self._masks: dict[int, tuple[int, View]] = {}
        self._truths: dict[int, npt.NDArray[np.bool_]] = {}

    def run(self, progress: bool) -> BagResult:
        bag, topics, result = self._bag, self._topics, self._result
        wanted = [topics.image, *filter(None, [topics.truth])]
        with tqdm(total=bag.counts[topics.image], desc=bag.path.name, unit='frame', leave=False,
                  disable=not progress) as bar:
            for topic, log_time_ns, message in bag.messages(wanted):
                try:
                    if topic == topics.image:
                        bar.update()
                        self._on_frame(message, log_time_ns, frame_of(message))
                    else:
                        self._on_truth(stamp_ns(message), image_to_mask(message))
                except (EncodingError, InvalidInputError) as error:
                    result.unusable[f'{topic}: {error}'] += 1
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
        began = time.perf_counter()
        mask: npt.NDArray[np.bool_] = np.ones(frame.shape[:2], np.bool_)
        predicted = float('nan')
        if self._masker is not None:
            prediction = self._masker.predict(frame[None])
            mask = prediction.masks[0].cpu().numpy()
            predicted = float(prediction.predicted_iou.min())
        latency_ms = (time.perf_counter() - began) * 1000
        stamp = stamp_ns(message)
        masked: Any = apply_mask(frame, mask, self._fill)  # type: ignore[type-var]
        view = View(frame, mask, masked)
        action = None
        if self._replay is not None:
            raw = self._policy is not None and self._policy.spec.source == 'raw'
            action = self._replay.act(stamp, frame if raw else view.masked)
        before, self._before = self._before, mask
        result.temporal_iou.append(
            float('nan') if before is None or before.shape != mask.shape
            else float(mask_iou(mask, before)))
        result.stamps_ns.append(stamp)
        result.log_times_ns.append(log_time_ns)
        result.coverage.append(float(mask.mean()))
        result.predicted_iou.append(predicted)
        result.truth_iou.append(float('nan'))
        result.latency_ms.append(latency_ms)
        self._actions.append(action)
        if self._topics.truth is None:
            self._rank(predicted if mask.any() else 0.0, index, view)
        else:
            self._masks[stamp] = index, view
            self._meet(stamp)
        if self._sink is not None:
            self._sink(MaskedFrame(message.header, log_time_ns, view, action))

    def _on_truth(self, stamp: int, truth: npt.NDArray[np.bool_]) -> None:
        self._truths[stamp] = truth
        self._meet(stamp)

    def _meet(self, stamp: int) -> None:
        """Compare a mask with its truth once both are there."""
        if stamp in self._masks and stamp in self._truths:
            index, view = self._masks.pop(stamp)
            truth = self._truths.pop(stamp)
            if truth.shape != view.mask.shape:
                self._result.unusable[f'{self._topics.truth}: a true mask has {truth.shape} '
                                      f'pixels, its frame {view.mask.shape}'] += 1
                return
            iou = float(mask_iou(view.mask, truth))
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
        if self._replay is None or self._side is None:
            return
        result.no_action = self._replay.dropped
        result.actions = sum(action is not None for action in self._actions)
        ends = [*result.log_times_ns[1:], None]
        for action, stamp, log_time_ns, until in zip(
                self._actions, result.stamps_ns, result.log_times_ns, ends, strict=True):
            recorded = self._side.recorded(stamp, log_time_ns, until)
            result.action_error.append(
                float('nan') if action is None or recorded is None
                else float(np.abs(action - recorded).max()))


def _spread(values: list[float]) -> dict[str, float] | None:
    """Mean, median and tails of the values that there are; None if there are none."""
    known = np.array(values, np.float64)
    known = known[np.isfinite(known)]
    if not len(known):
        return None
    low, middle, high = np.percentile(known, (5, 50, 95))
    return {name: round(float(value), 6) for name, value in (
        ('mean', known.mean()), ('p5', low), ('median', middle), ('p95', high),
        ('max', known.max()))}
