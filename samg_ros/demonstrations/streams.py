# SPDX-License-Identifier: Apache-2.0
"""Reads what an import needs from a bag: stamps of frames, joint positions by name, actions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from samg_ros.bags.bag import Bag
from samg_ros.bags.topics import (
    ARRAY,
    COMPRESSED,
    IMAGE,
    JOINT_STATE,
    find_camera,
    labelled,
    stamp_ns,
)
from samg_ros.demonstrations.contract import NEXT_JOINTS, Contract
from samg_ros.errors import BagError
from samg_ros.step_types import FIRST

TRAJECTORY = 'trajectory_msgs/msg/JointTrajectory'
LEADER = 'leader'
"""Namespace of the arm that a person moves; its joint states are not those of the robot."""
_ACTION_TYPES = (ARRAY, JOINT_STATE, TRAJECTORY)
_SAME_CLOCK_S = 1.0
"""Two clocks that are set by NTP or PTP differ by milliseconds, and a recorder is late by less than
a second; clocks of another epoch (time since boot, simulated time) differ by hours."""


@dataclass(frozen=True, eq=False)
class Series:
    """Values over time, sorted by time."""

    stamps: npt.NDArray[np.int64]
    """(N,) ns."""
    values: npt.NDArray[np.float64]
    """(N, k)."""

    def nearest(self, stamps: npt.NDArray[np.int64]
                ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return which entries are nearest to M stamps, (M,), and how far away each is, (M,) ns."""
        place = np.clip(np.searchsorted(self.stamps, stamps), 1, max(len(self.stamps) - 1, 1))
        before, after = place - 1, np.minimum(place, len(self.stamps) - 1)
        nearer = np.where(np.abs(self.stamps[before] - stamps)
                          <= np.abs(self.stamps[after] - stamps), before, after)
        return nearer, np.abs(self.stamps[nearer] - stamps)


@dataclass(frozen=True, eq=False)
class Stretch:
    """What was recorded from one reset of the clock to the next: its stamps only go forward."""

    frames: dict[str, Series]
    """Camera -> (N, 1) places of its frames in the recording: 0 is the first one of its topic."""
    joints: dict[str, Series]
    """Joint -> (N, 1) positions, rad or m."""
    action: Series | None
    """None if the action is the next joint positions."""


@dataclass(eq=False)
class Streams:
    """All streams of a bag that a contract asks for."""

    stretches: list[Stretch]
    topics: dict[str, str]
    """Camera -> topic."""
    joint_names: tuple[str, ...]
    action_names: tuple[str, ...]
    """Names of the numbers of an action."""
    starts: npt.NDArray[np.int64]
    """Stamps of frames that begin an episode, as a simulator says in `time_step`; may be empty."""
    notes: Counter[str] = field(default_factory=Counter)
    """What was left out -> how often."""


def read_streams(bag: Bag, contract: Contract) -> Streams:
    """Read everything but the pixels.

    Raises:
        BagError: if a topic is missing or has the wrong type, if two publishers contradict each
            other, or if the streams do not share a clock.
    """
    cameras = _cameras(bag, contract)
    joint_topics = contract.joint_topics or tuple(sorted(
        name for name, kind in bag.topics.items()
        if kind == JOINT_STATE and name.rpartition('/')[2] == 'joint_states'
        and LEADER not in name.split('/')))
    action = _action_topic(bag, contract)
    step_topic = next((name for name, kind in bag.topics.items()
                       if kind == ARRAY and name.rpartition('/')[2] == 'time_step'), None)
    for name in joint_topics:
        _check_type(bag, name, (JOINT_STATE,))
    if action is not None:
        _check_type(bag, action, _ACTION_TYPES)
    reader = _Reader(contract, {topic: name for name, topic in cameras.items()},
                     set(joint_topics), action, step_topic)
    for topic, log_time_ns, message in bag.messages(
            [*cameras.values(), *joint_topics, *filter(None, (action, step_topic))]):
        reader.add(topic, log_time_ns, message)
    if bag.undecodable:
        reader.notes.update({f'messages of {name} that cannot be decoded': count
                             for name, count in bag.undecodable.items()})
    reader.check_clocks()
    return reader.finish(cameras, action is None)


class _Reader:
    """Collects the messages of the streams."""

    def __init__(self, contract: Contract, cameras: Mapping[str, str], joint_topics: set[str],
                 action: str | None, step_topic: str | None) -> None:
        self.notes: Counter[str] = Counter()
        self._wanted, self._clock = contract.joints, contract.clock
        tolerance_ns = round(contract.tolerance_s * 1e9)
        self._cameras, self._action = cameras, action
        self._joint_topics, self._step_topic = joint_topics, step_topic
        self._frames = {name: _Stream(tolerance_ns) for name in cameras.values()}
        self._joints: dict[str, _Stream] = defaultdict(lambda: _Stream(tolerance_ns))
        self._actions = _Stream(tolerance_ns)
        self._stamp_less_log_ns = 0
        self._names: tuple[str, ...] = ()
        self._frame_indices: dict[int, int] = {}
        self._starts: list[int] = []
        self._offsets: dict[str, list[int]] = {}

    def add(self, topic: str, log_time_ns: int, message: Any) -> None:
        """Sort one message into its stream."""
        if topic == self._step_topic:
            self._add_step(message)
            return
        time_ns = log_time_ns
        if hasattr(message, 'header'):
            stamp = stamp_ns(message)
            if stamp or topic in self._cameras or topic in self._joint_topics:
                self._offsets.setdefault(topic, []).append(stamp - log_time_ns)
                time_ns = stamp if self._clock == 'header' else log_time_ns
        if topic in self._cameras:
            stream = self._frames[self._cameras[topic]]
            self._stamp_less_log_ns = time_ns - log_time_ns
            if stream.last_ns == time_ns:
                self.notes['frames with the stamp of the one before'] += 1
            stream.add(time_ns, np.array([stream.count], np.float64))
        if topic in self._joint_topics:
            self._add_joints(topic, time_ns, message)
        if topic == self._action:
            self._add_action(topic, time_ns, log_time_ns, message)

    def _add_step(self, message: Any) -> None:
        said = labelled(message)
        if {'stamp_sec', 'stamp_nanosec', 'step_type', 'frame_index'} <= said.keys():
            stamp = int(said['stamp_sec']) * 10**9 + int(said['stamp_nanosec'])
            self._frame_indices[int(said['frame_index'])] = stamp
            if int(said['step_type']) == FIRST:
                self._starts.append(stamp)

    def _add_joints(self, topic: str, time_ns: int, message: Any) -> None:
        if len(message.position) != len(message.name):
            self.notes['joint states without a position for each name'] += 1
            return
        for name, position in zip(message.name, message.position, strict=True):
            if not np.isfinite(position):
                self.notes[f'positions of {name} that are not finite'] += 1
                continue
            known = self._joints[str(name)]
            if known.last_ns == time_ns and known.last != position:
                raise BagError(
                    f"two publishers send different positions of joint '{name}' with one stamp on "
                    f"'{topic}'; record one of them, or name other joint_topics in the contract")
            known.add(time_ns, np.array([position], np.float64))

    def _add_action(self, topic: str, time_ns: int, log_time_ns: int, message: Any) -> None:
        if hasattr(message, 'points'):  # JointTrajectory
            if not message.points:
                return
            values, names = message.points[-1].positions, tuple(message.joint_names)
        elif hasattr(message, 'position'):  # JointState of a leader arm
            values, names = message.position, tuple(message.name)
        else:
            values, names = message.data, ()
            index = next((int(values[-1]) for each in message.layout.dim
                          if each.label == 'frame_index'), -1)
            if index >= 0:
                values = values[:-1]
            if self._clock == 'header':  # by what the clock of the stamps last showed
                time_ns = self._frame_indices.get(index, log_time_ns + self._stamp_less_log_ns)
        action = np.asarray(values, np.float64)
        if not np.isfinite(action).all():
            self.notes['actions that are not finite'] += 1
            return
        before = self._actions.last
        if before is not None and action.shape != before.shape:
            raise BagError(f"actions on '{topic}' have {before.size} numbers and "
                           f'{action.size}; two publishers? Record one of them')
        if self._names and names and names != self._names:
            raise BagError(f"actions on '{topic}' are for the joints {', '.join(self._names)} and "
                           f"for {', '.join(names)}; record one publisher")
        self._names = names or self._names
        self._actions.add(time_ns, action)

    def check_clocks(self) -> None:
        """Refuse streams whose stamps come from different clocks."""
        if self._clock != 'header':
            return
        offsets = {topic: float(np.median(values)) / 1e9
                   for topic, values in self._offsets.items()}
        if not offsets:
            return
        low, high = min(offsets, key=offsets.__getitem__), max(offsets, key=offsets.__getitem__)
        if offsets[high] - offsets[low] > _SAME_CLOCK_S:
            raise BagError(
                f"the stamps of '{low}' and '{high}' come from different clocks: they differ by "
                f'{offsets[high] - offsets[low]:.3f} s. Set `clock: log` in the contract to use '
                'the times of recording, or correct the clock of the driver')

    def finish(self, cameras: Mapping[str, str], next_joints: bool) -> Streams:
        """Return what was collected."""
        for name, stream in self._frames.items():
            if not stream.count:
                raise BagError(f"no frame of '{cameras[name]}' can be read")
        joints = self._wanted or tuple(self._joints)
        if missing := [name for name in joints if name not in self._joints]:
            raise BagError(f"the bag has no positions of joint '{missing[0]}'; it has "
                           f'{", ".join(self._joints) or "none"}')
        if next_joints and not joints:
            raise BagError('the bag has neither actions nor joint positions; record command or '
                           'joint_states, or name the topics in a contract')
        names = joints
        if not next_joints:
            if (last := self._actions.last) is None:
                raise BagError(f"no action on '{self._action}' can be read")
            names = self._names or tuple(f'action_{index}' for index in range(last.size))
        return Streams(self._stretches(joints, next_joints), dict(cameras), joints, names,
                       np.array(self._starts, np.int64), self.notes)

    def _stretches(self, joints: tuple[str, ...], next_joints: bool) -> list[Stretch]:
        """Split every stream where the clock was reset.

        Raises:
            BagError: if the streams do not say of the same number of resets.
        """
        camera, first = next(iter(self._frames.items()))
        frames = {name: stream.parts() for name, stream in self._frames.items()}
        positions = {name: self._joints[name].parts() for name in joints}
        action: list[Series] | None = None
        if not next_joints:
            action = self._actions.parts()
        counts = {f'the camera {name}': len(parts) for name, parts in frames.items()}
        counts |= {f'joint {name}': len(parts) for name, parts in positions.items()}
        counts |= {} if action is None else {'the action': len(action)}
        resets = len(frames[camera]) - 1
        if other := next((what for what, count in counts.items() if count != resets + 1), ''):
            raise BagError(
                f'the stamps of the camera {camera} were reset {resets} times and those of '
                f'{other} {counts[other] - 1} times, so they cannot be put together; record each '
                'episode as a bag of its own')
        if resets:
            self.notes['resets within the recording'] += resets
        return [Stretch({name: parts[index] for name, parts in frames.items()},
                        {name: parts[index] for name, parts in positions.items()},
                        None if action is None else action[index])
                for index in range(resets + 1)]


class _Stream:
    """The entries of one stream in the order of the recording."""

    def __init__(self, tolerance_ns: int) -> None:
        self._tolerance_ns = tolerance_ns
        self._stamps: list[int] = []
        self._values: list[npt.NDArray[np.float64]] = []
        self._resets: list[int] = []

    @property
    def count(self) -> int:
        return len(self._stamps)

    @property
    def last_ns(self) -> int | None:
        return self._stamps[-1] if self._stamps else None

    @property
    def last(self) -> npt.NDArray[np.float64] | None:
        return self._values[-1] if self._values else None

    def add(self, time_ns: int, value: npt.NDArray[np.float64]) -> None:
        """Take an entry; a stamp that goes back farther than the tolerance is a reset.

        Two publishers of one joint, or a camera driver with several threads, may be a little out
        of order.
        """
        if self._stamps and time_ns < self._stamps[-1] - self._tolerance_ns:
            self._resets.append(len(self._stamps))
        self._stamps.append(time_ns)
        self._values.append(value)

    def parts(self) -> list[Series]:
        """Return the entries from each reset to the next, sorted by stamp, one for each stamp."""
        found = []
        for part in np.split(np.arange(len(self._stamps)), self._resets):
            stamps, chosen = np.unique(np.array(self._stamps, np.int64)[part], return_index=True)
            found.append(Series(stamps, np.stack([self._values[at] for at in part[chosen]])))
        return found


def _cameras(bag: Bag, contract: Contract) -> dict[str, str]:
    if not contract.cameras:
        return {'camera': find_camera(bag)}
    for topic in contract.cameras.values():
        _check_type(bag, topic, (IMAGE, COMPRESSED))
    return dict(contract.cameras)


def _action_topic(bag: Bag, contract: Contract) -> str | None:
    if contract.action == NEXT_JOINTS:
        return None
    if contract.action:
        return contract.action
    found = [name for name, kind in bag.topics.items()
             if kind in _ACTION_TYPES and name.rpartition('/')[2] == 'command']
    if len(found) > 1:
        raise BagError(f'several topics are called command: {", ".join(sorted(found))}; name one '
                       'as `action` in a contract')
    return found[0] if found else None


def _check_type(bag: Bag, topic: str, kinds: tuple[str, ...]) -> None:
    if bag.topics.get(topic) not in kinds:
        found = f'is {bag.topics[topic]}' if topic in bag.topics else 'is not in the bag'
        raise BagError(f"topic '{topic}' of the contract {found}; expected {' or '.join(kinds)} "
                       f'among {", ".join(sorted(_listed(bag)))}')


def _listed(bag: Bag) -> Iterator[str]:
    return (f'{name} ({kind})' for name, kind in bag.topics.items())
