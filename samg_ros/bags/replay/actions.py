# SPDX-License-Identifier: Apache-2.0
"""What a policy does on the frames of a bag, beside what was recorded.

The frames go through the same Observer and Policy as in the node `policy`, with the same rules
for what is fit to act on, so that live and offline actions differ in no bit.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from samg_ros.bags.bag import Bag
from samg_ros.bags.topics import Topics, labelled, stamp_ns
from samg_ros.errors import BagError
from samg_ros.observation import Frames
from samg_ros.rl.evaluation.compatibility import frame_mismatch, joints_mismatch, mask_area
from samg_ros.rl.evaluation.policy import Policy
from samg_ros.ros.messages.pairing import CameraPairer
from samg_ros.step_types import FIRST

# As the node `policy` has them by default.
_TOLERANCE_NS = 50_000_000
"""Greatest difference between the stamps of a frame and what belongs to it."""
_TIMEOUT_NS = 500_000_000
"""Without good frames for so long, the frame stack begins anew; so long a frame waits for those of
further cameras."""
_MOST_WAITING = 64
"""Frames that wait, whatever their stamps."""

Action = npt.NDArray[np.float64]


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


@dataclass(eq=False)
class _Frame:
    """A frame of any camera, and what became of it."""

    stamp: int
    pixels: npt.NDArray[np.uint8]
    joints: npt.NDArray[np.float32] | None = None
    decided: bool = False
    action: Action | None = None


class Replay:
    """Acts on one frame after the other, as the node does."""

    def __init__(self, policy: Policy, side: SideTopics) -> None:
        self.dropped: Counter[str] = Counter()
        """Frames on which the policy did not act, by cause."""
        self.actions: deque[Action | None] = deque()
        """(A,) for each frame shown, in their order, once it is decided; None where the policy did
        not act. To be taken from the left."""
        self._policy, self._side = policy, side
        self._observer = policy.observer()
        self._frames: deque[_Frame] = deque()  # whose actions are not yet handed out
        self._pairer = CameraPairer[_Frame](
            policy.more_cameras, 0.0 if side.steps else _TOLERANCE_NS * 1e-9, _TIMEOUT_NS * 1e-9,
            lambda frame: self._decide(frame, 'unpaired'))
        self._newest: dict[str, int] = {}  # stamps, by camera
        self._last: int | None = None  # stamp that was acted on

    def show(self, stamp: int, pixels: npt.NDArray[np.uint8]) -> None:
        """Show the next frame of the main camera.

        Args:
            stamp: of the frame, ns.
            pixels: (H, W, 3) uint8 RGB as the policy sees it, so masked where it wants that.

        Raises:
            BagError: if frames of this size do not fit the policy.
        """
        frame = _Frame(stamp, pixels)
        self._frames.append(frame)
        cause = self._unfit('', frame)
        if cause is None and self._policy.spec.proprioception:
            frame.joints = self._nearest(stamp)
            cause = 'unpaired' if frame.joints is None else None
        if cause is not None:
            self._decide(frame, cause)
            return
        self._pairer.add(_seconds(stamp), frame)
        self._act()
        while len(self._frames) > _MOST_WAITING:
            self._pairer.drop_oldest()

    def show_more(self, camera: str, stamp: int, pixels: npt.NDArray[np.uint8]) -> None:
        """Show the next frame of a further camera; as `show`."""
        frame = _Frame(stamp, pixels)
        if self._unfit(camera, frame) is None:
            self._pairer.add_more(camera, _seconds(stamp), frame)
            self._act()

    def end(self) -> None:
        """Decide on the frames that still wait: nothing more comes."""
        while self._pairer.waiting:
            self._pairer.drop_oldest()

    def _decide(self, frame: _Frame, cause: str = '', action: Action | None = None) -> None:
        """Note what became of a frame, and hand out what no longer waits for an earlier one."""
        frame.decided, frame.action = True, action
        if cause:
            self.dropped[cause] += 1
        while self._frames and self._frames[0].decided:
            self.actions.append(self._frames.popleft().action)

    def _act(self) -> None:
        """Act on the newest frame whose companions are all there."""
        found = self._pairer.take(lambda frame, more: (frame, more))
        if found is None:
            return
        frame, others = found
        more: Frames = {name: each.pixels for name, each in others.items()}
        begins = self._begins(frame.stamp)
        see = self._observer.reset if begins else self._observer.push
        action = self._policy.act(see(frame.pixels, frame.joints, more),
                                  frame.stamp // 10**9 + frame.stamp % 10**9 * 1e-9, begins)
        self._last = frame.stamp
        if np.isfinite(action).all():
            self._decide(frame, action=action)
        else:
            self._decide(frame, 'action_not_finite')

    def _unfit(self, camera: str, frame: _Frame) -> str | None:
        """Return why the node would not take a frame; None if it would."""
        policy, steps = self._policy, self._side.steps
        mismatch = frame_mismatch(policy.config, policy.spec.crop, *frame.pixels.shape[:2])
        if mismatch is not None:
            raise BagError(f'{camera}: {mismatch}' if camera else mismatch)
        before, self._newest[camera] = self._newest.get(camera), frame.stamp
        if steps:
            return None if frame.stamp in steps else 'no_time_step'
        if frame.stamp == before:
            return 'repeated'
        if policy.spec.source != 'raw' and not mask_area(frame.pixels, policy.spec.fill):
            return 'empty_mask'
        return None

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


def _seconds(stamp: int) -> tuple[int, int]:
    """Return a stamp as seconds and nanoseconds."""
    return divmod(stamp, 10**9)
