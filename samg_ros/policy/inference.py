# SPDX-License-Identifier: Apache-2.0
"""Runs the policy's network beside the node's executor, always on the newest input.

In the subscription's callback it would keep services, parameters and transitions waiting; and an
executor that queues an event for every message would fall ever further behind a slow network.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from samg_ros.observation import Observer
from samg_ros.policy.inputs import SynchronizedInput
from samg_ros.policy.threads import MonitoredThread

if TYPE_CHECKING:
    from samg_ros.arm.commands import Vector
    from samg_ros.rl.evaluation.policy import Policy
    from samg_ros.ros.node import ManagedNode

_JOIN_S = 0.05
"""Longest wait for the thread to end; a network that takes longer goes on, and its action is
discarded."""


@dataclass(frozen=True, eq=False)
class Request:
    """An input for the network."""

    input: SynchronizedInput
    session: int
    """Counts how often the policy was enabled; an action of an earlier session is of no use."""
    begins: bool
    """Whether the frame stack begins anew with this frame."""
    arrived_at: float
    """time.monotonic() when it was handed over."""


class InferenceWorker:
    """A thread that turns inputs into actions; of inputs that wait only the newest is kept."""

    def __init__(self, node: ManagedNode, policy: Policy, observer: Observer,
                 on_action: Callable[[Request, Vector, float], None]) -> None:
        """Start the thread.

        Args:
            node: ends with an error if the network raises.
            policy: gives the actions.
            observer: turns frames into observations; used by this thread alone.
            on_action: called from the thread with the request, the action (A,) and the seconds
                since the request arrived.
        """
        self._policy, self._observer, self._on_action = policy, observer, on_action
        self.overtaken = 0
        """Inputs that a newer one replaced before the network was free."""
        self._condition = threading.Condition()
        self._waiting: Request | None = None
        self._frame_index: int | None = None
        self._thread = MonitoredThread(node, 'inference', self._run, "the policy's network failed")

    def submit(self, request: Request) -> None:
        """Have an action computed; returns at once.

        A frame of a lockstep simulator that was submitted before is ignored: its action will come.
        """
        index = request.input.frame_index
        with self._condition:
            if index is not None and index == self._frame_index:
                return
            self._frame_index = index
            if self._waiting is not None:
                self.overtaken += 1
                request = replace(request, begins=request.begins or self._waiting.begins)
            self._waiting = request
            self._condition.notify()

    def stop(self) -> None:
        """Compute nothing more; the action that is being computed is discarded."""
        self._thread.request_stop()
        with self._condition:
            self._condition.notify()
        self._thread.join(_JOIN_S)

    def _run(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            with self._condition:
                self._condition.wait_for(lambda: self._waiting is not None or stopping.is_set())
                request, self._waiting = self._waiting, None
            if request is None or stopping.is_set():
                return
            observe = self._observer.reset if request.begins else self._observer.push
            stamp = request.input.stamp
            given = request.input
            action = self._policy.act(observe(given.frame, given.proprioception, given.more),
                                      stamp[0] + stamp[1] * 1e-9, request.begins)
            if not stopping.is_set():
                self._on_action(request, action, time.monotonic() - request.arrived_at)
