# SPDX-License-Identifier: Apache-2.0
"""The commands that a policy sent, computed again from its own recording, to the bit.

The topic `policy/trace` of a recording says what commands depend on beside the masked frames:

    begin  the policy was enabled: settings of the commands, positions of the joints
    look   a frame was looked at: its stamp, those of the further cameras' frames, joints as the
           policy saw them, whether it begins anew
    act    the action of that frame was sent: seconds since the command before, positions, share of
           the speed, whether the safe action ended with it
    safe   a safe action was sent: seconds since the command before, positions, whether it is final

Network, chunks, limits and workspace are those of the running node.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
from msgspec import Meta, Struct

from samg_ros.arm.commands import ArmCommands
from samg_ros.arm.settings import ArmSettings
from samg_ros.arm.workspace import Workspace
from samg_ros.bags.bag import Bag
from samg_ros.bags.replay.frames import Look, Pixels, ShownFrames
from samg_ros.errors import BagError, plain
from samg_ros.files.reading import parsing
from samg_ros.files.schema import convert, parse_json
from samg_ros.masking import Masker
from samg_ros.rl.evaluation.policy import Policy

TRACE = '/policy/trace'
BEGIN, LOOK, ACT, SAFE = 'begin', 'look', 'act', 'safe'
_ADVICE = 'record it again'
_MOST_THREADS = 1024

Vector = npt.NDArray[np.float64]


class Event(Struct, forbid_unknown_fields=True):
    """One line of the trace; which fields are there depends on `event`."""

    event: str
    settings: dict[str, Any] = {}
    """Of begin: ArmSettings.to_dict()."""
    torch_threads: Annotated[int, Meta(ge=0, le=_MOST_THREADS)] = 0
    """Of begin: a network's sums depend on it in their last bits."""
    positions: list[float] | None = None
    stamp: tuple[int, int] | None = None
    """Of look: seconds and nanoseconds."""
    more: dict[str, tuple[int, int]] = {}
    """Of look: the same of each further camera."""
    begins: bool = False
    seen: list[float] | None = None
    """Of look: proprioception, float32."""
    interval_s: Annotated[float, Meta(ge=0, lt=1e9)] = 0.0
    speed_share: Annotated[float, Meta(ge=0, le=1)] = 1.0
    resumes: bool = False
    final: bool = False


@dataclass(frozen=True)
class Comparison:
    """Recorded commands beside those that were computed again."""

    commands: int
    """Recorded after the policy was first enabled."""
    equal: int
    """Of them, equal to the bit."""
    computed: int
    """Computed again."""
    unseen: int
    """Recorded before the policy was enabled within the recording."""
    sessions: int
    """How often it was enabled."""
    lost: int
    """Events that could not be followed because a frame or the beginning is not recorded."""


def compare_commands(bag: Bag, policy: Policy, topic: str,
                     maskers: Mapping[str, Masker] | None = None, workspace: str = '',
                     image: str | None = None) -> Comparison:
    """Compute the commands of a recording again.

    Args:
        bag: with the policy's trace.
        policy: that was recorded.
        topic: of the commands.
        maskers: of each camera by name, for a bag without masked frames; None takes those.
        workspace: file of the workspace; empty for none.
        image: topic of the main camera, for a policy of raw frames, or to mask again; None takes
            the only one.

    Raises:
        BagError: if the bag lacks what is needed, or its trace cannot be read.
    """
    if TRACE not in bag.topics:
        raise BagError(f"the bag has no '{TRACE}', which says when the policy acted; record it "
                       'with samg run arm --record')
    if topic not in bag.topics:
        raise BagError(f"the bag has no commands on '{topic}'; name their topic with --command")
    events = [(each.log_time_ns, _event(each.message)) for each in bag.messages([TRACE])]
    looks = [_look(event, policy) for _, event in events if event.event == LOOK]
    repeat = _Repeat(policy, workspace, ShownFrames(bag, policy, looks, maskers, image))
    computed = list(repeat.commands(events))
    enabled_ns = next((at for at, event in events if event.event == BEGIN), None)
    recorded = [(each.log_time_ns, _values(each.message)) for each in bag.messages([topic])]
    compared = [values for at, values in recorded if enabled_ns is not None and at >= enabled_ns]
    return Comparison(len(compared), _in_order(compared, computed), len(computed),
                      len(recorded) - len(compared), repeat.sessions, repeat.lost)


class _Repeat:
    """The policy and its limits, once more."""

    def __init__(self, policy: Policy, workspace: str, frames: ShownFrames) -> None:
        self._policy, self._workspace, self._frames = policy, workspace, frames
        self._observer = policy.observer()
        self._commands: ArmCommands | None = None
        self._action: Vector | None = None
        self.sessions = self.lost = 0

    def commands(self, events: Iterable[tuple[int, Event]]) -> Iterator[Vector]:
        """Yield every command; events whose frames are not there are counted as lost."""
        for logged_ns, event in events:
            frames = None if event.event != LOOK else \
                self._frames.find(_look(event, self._policy), logged_ns)
            with parsing(f"the event '{plain(event.event, 20)}' of the trace cannot be followed",
                         BagError, _ADVICE):
                command = self._follow(event, frames)
            if command is not None:
                yield command

    def _follow(self, event: Event, frames: dict[str, Pixels] | None) -> Vector | None:
        if event.event == BEGIN:
            self._begin(event)
            return None
        if self._commands is None or (event.event == LOOK and frames is None):
            self._commands = None  # what follows depends on it
            self.lost += 1
            return None
        if event.event == LOOK:
            assert frames is not None
            self._action = self._act(event, frames)
            return None
        positions = self._positions(event)
        if event.event == SAFE:
            return self._commands.safe(event.interval_s, positions, final=event.final)
        if event.event != ACT or self._action is None:
            raise BagError(f"the trace has the event '{event.event}' out of its order; {_ADVICE}")
        if event.resumes:
            self._commands.resume()
        return self._commands.act(self._action, event.interval_s, positions, event.speed_share)

    def _begin(self, event: Event) -> None:
        uses_workspace = event.settings.pop('workspace', False)
        if uses_workspace and not self._workspace:
            raise BagError('the commands were kept inside a workspace; give its file with '
                           '--workspace')
        joints = tuple(event.settings.get('joints', ()))
        workspace = Workspace(self._workspace, joints) if uses_workspace else None
        settings = convert(event.settings, ArmSettings, 'the settings in the trace', BagError,
                           finite=False)
        if event.torch_threads:
            torch.set_num_threads(event.torch_threads)
        self._commands = ArmCommands(replace(settings, workspace=workspace))
        self._commands.begin(self._positions(event))
        self._action = None
        self.sessions += 1

    def _positions(self, event: Event) -> Vector | None:
        if event.positions is None:
            return None
        if len(event.positions) != len(self._policy.action_low):
            raise BagError(f"the event '{event.event}' has {len(event.positions)} positions, the "
                           f'policy {len(self._policy.action_low)} actions; {_ADVICE}')
        return np.array(event.positions, np.float64)

    def _act(self, event: Event, frames: dict[str, Pixels]) -> Vector:
        assert event.stamp is not None
        main, *more = self._policy.cameras
        see = self._observer.reset if event.begins else self._observer.push
        seen = None if event.seen is None else np.array(event.seen, np.float32)
        seconds = event.stamp[0] + event.stamp[1] * 1e-9
        observation = see(frames[main], seen, {name: frames[name] for name in more})
        return self._policy.act(observation, seconds, event.begins)


def _event(message: Any) -> Event:
    return parse_json(message.data, Event, 'a line of the trace', BagError, finite=False)


def _look(event: Event, policy: Policy) -> Look:
    """Return which frames were looked at."""
    main, *more = policy.cameras
    if event.stamp is None:
        raise BagError(f"the trace has the event '{event.event}' without a stamp; {_ADVICE}")
    if set(more) != event.more.keys():
        raise BagError(
            f'the policy sees {_listed(more)} beside the main camera, the recorded one saw '
            f'{_listed(event.more)}; give the checkpoint of the policy that was recorded')
    return {name: seconds * 10**9 + nanoseconds
            for name, (seconds, nanoseconds) in {main: event.stamp, **event.more}.items()}


def _listed(names: Iterable[str]) -> str:
    return plain(', '.join(sorted(names)), 60) or 'no other'


def _values(message: Any) -> Vector:
    """Return the numbers of a command, of whichever type."""
    if hasattr(message, 'points'):
        return np.array(message.points[-1].positions if message.points else (), np.float64)
    names_frame = any(each.label == 'frame_index' for each in message.layout.dim)
    return np.array(message.data[:-1] if names_frame else message.data, np.float64)


def _in_order(recorded: list[Vector], computed: list[Vector]) -> int:
    """Return how many recorded commands are among the computed ones, in the same order."""
    places: dict[bytes, deque[int]] = defaultdict(deque)
    for place, values in enumerate(computed):
        places[values.tobytes()].append(place)
    equal, last = 0, -1
    for values in recorded:
        found = places[values.tobytes()]
        while found and found[0] <= last:
            found.popleft()
        if found:
            last = found.popleft()
            equal += 1
    return equal
