# SPDX-License-Identifier: Apache-2.0
"""What a policy does on the frames of a bag, beside what was recorded.

The frames go through the same Observer and Policy as in the node `policy`, with the same rules
for what is fit to act on, so that live and offline actions differ in no bit.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from samg_ros.bags.bag import Bag
from samg_ros.bags.topics import Topics, labelled, stamp_ns
from samg_ros.errors import BagError
from samg_ros.observation import Observation
from samg_ros.rl.evaluation.compatibility import frame_mismatch, joints_mismatch, mask_area
from samg_ros.rl.evaluation.policy import Policy
from samg_ros.step_types import FIRST

"""Step type that begins an episode, as in dm_env."""


# As the node `policy` has them by default.
_TOLERANCE_NS = 50_000_000
"""Greatest difference between the stamps of a frame and its joint state."""
_TIMEOUT_NS = 500_000_000
"""Without good frames for so long, the frame stack begins anew."""


@dataclass(frozen=True, eq=False)
class SideTopics:
    """The joints, time steps and commands of a bag, sorted to be looked up by frame."""

    joints: tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]
    """(N,) stamps in ns, in order, and (N, k) positions as the observation spec has them."""
    steps: dict[int, tuple[int, int]]
    """Stamp in ns -> step type and frame index, of a simulator that waits; else empty."""
    answers: dict[int, npt.NDArray[np.float64]]
    """Frame index -> recorded action."""
    commands: tuple[npt.NDArray[np.int64], list[npt.NDArray[np.float64]]]
    """(M,) log times in ns and the recorded actions that name no frame."""

    def recorded(self, stamp: int, log_time: int, until: int | None) -> npt.NDArray[Any] | None:
        """Return the recorded action that answers a frame, None if there is none.

        Args:
            stamp: of the frame, ns.
            log_time: of the frame, ns.
            until: log time of the next frame; None for the last.
        """
        if stamp in self.steps and (answer := self.answers.get(self.steps[stamp][1])) is not None:
            return answer
        times, actions = self.commands
        place = int(np.searchsorted(times, log_time))
        if place == len(times) or (until is not None and times[place] >= until):
            return None
        return actions[place]


def read_side_topics(bag: Bag, topics: Topics, policy: Policy) -> SideTopics:
    """Read joint states, time steps and commands.

    Raises:
        BagError: if the policy wants joints that the bag lacks.
    """
    spec, size = policy.spec, len(policy.action_low)
    if spec.proprioception and topics.joint_states is None:
        raise BagError(f'the policy wants the joints {", ".join(spec.proprioception)}, and the '
                       'bag has no joint_states')
    joints: list[tuple[int, npt.NDArray[np.float32]]] = []
    mismatch = None
    steps: dict[int, tuple[int, int]] = {}
    answers: dict[int, npt.NDArray[np.float64]] = {}
    times: list[int] = []
    actions: list[npt.NDArray[np.float64]] = []
    side = [name for name in topics.all if name not in (topics.image, topics.truth)]
    for topic, log_time_ns, message in bag.messages(side):
        if topic == topics.joint_states:
            if not spec.proprioception or not set(spec.proprioception) & set(message.name):
                continue
            mismatch = joints_mismatch(spec.proprioception, message.name, len(message.position))
            if mismatch is not None:
                continue
            seen = spec.select_joints(message.name, message.position)
            if seen is not None and np.isfinite(seen).all():
                joints.append((stamp_ns(message), seen))
        elif topic == topics.time_step:
            said = labelled(message)
            if {'stamp_sec', 'stamp_nanosec', 'step_type', 'frame_index'} <= said.keys():
                stamp = int(said['stamp_sec']) * 10**9 + int(said['stamp_nanosec'])
                steps[stamp] = int(said['step_type']), int(said['frame_index'])
        else:
            values = np.asarray(message.data, np.float64)
            names_frame = any(each.label == 'frame_index' for each in message.layout.dim)
            if len(values) != size + names_frame:
                continue
            if names_frame:
                answers.setdefault(int(values[-1]), values[:-1])
            else:
                times.append(log_time_ns)
                actions.append(values)
    if spec.proprioception and not joints:
        raise BagError(mismatch or 'no joint state of the bag has the joints of the policy: '
                       f'{", ".join(spec.proprioception)}')
    joints.sort(key=lambda each: each[0])
    return SideTopics((np.array([stamp for stamp, _ in joints], np.int64),
                       np.array([seen for _, seen in joints], np.float32)),
                      steps, answers, (np.array(times, np.int64), actions))


class Replay:
    """Acts on one frame after the other, as the node does."""

    def __init__(self, policy: Policy, side: SideTopics) -> None:
        self.dropped: Counter[str] = Counter()
        """Frames on which the policy did not act, by cause."""
        self._policy, self._side = policy, side
        self._observer = policy.observer()
        self._last: int | None = None
        self._begun = False

    def act(self, stamp: int, frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64] | None:
        """Return the action on a frame.

        Args:
            stamp: of the frame, ns.
            frame: (H, W, 3) uint8 RGB as the policy sees it, so masked where it wants that.

        Returns:
            (A,) float64; None if the frame is not fit to act on.

        Raises:
            BagError: if frames of this size do not fit the policy.
        """
        observed = self._observe(stamp, frame)
        if isinstance(observed, str):
            self.dropped[observed] += 1
            return None
        action = self._policy.act(observed, stamp // 10**9 + stamp % 10**9 * 1e-9, self._begun)
        if not np.isfinite(action).all():
            self.dropped['action_not_finite'] += 1
            return None
        return action

    def _observe(self, stamp: int, frame: npt.NDArray[np.uint8]) -> Observation | str:
        """Return what the policy sees, or why it should not act."""
        policy, steps = self._policy, self._side.steps
        mismatch = frame_mismatch(policy.config, policy.spec.crop, *frame.shape[:2])
        if mismatch is not None:
            raise BagError(mismatch)
        if not steps:
            if stamp == self._last:
                return 'repeated'
            if policy.spec.source != 'raw' and not mask_area(frame, policy.spec.fill):
                return 'empty_mask'
        elif stamp not in steps:
            return 'no_time_step'
        seen = None
        if policy.spec.proprioception:
            seen = self._nearest(stamp)
            if seen is None:
                return 'unpaired'
        self._begun = self._begins(stamp)
        see = self._observer.reset if self._begun else self._observer.push
        self._last = stamp
        return see(frame, seen)

    def _begins(self, stamp: int) -> bool:
        if self._last is None:
            return True
        if self._side.steps:
            return self._side.steps[stamp][0] == FIRST
        return not 0 <= stamp - self._last <= _TIMEOUT_NS

    def _nearest(self, stamp: int) -> npt.NDArray[np.float32] | None:
        stamps, positions = self._side.joints
        place = int(np.searchsorted(stamps, stamp))
        near = [i for i in (place - 1, place) if 0 <= i < len(stamps)]
        best = min(near, key=lambda i: abs(int(stamps[i]) - stamp))
        tolerance = 0 if self._side.steps else _TOLERANCE_NS
        return positions[best] if abs(int(stamps[best]) - stamp) <= tolerance else None
