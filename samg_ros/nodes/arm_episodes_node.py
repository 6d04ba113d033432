# SPDX-License-Identifier: Apache-2.0
"""`arm_episodes`: tries a policy on the simulated arm, episode by episode, through the whole graph.

It does what a person would do by hand: reset the simulation, enable the policy, wait for the end of
the episode, disable the policy. The arm moves on the wall clock meanwhile, and camera, masker,
watchdog and limits are those of the real graph.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger

from samg_ros.errors import ReportError, SamgError
from samg_ros.evaluation.episodes import EpisodeResults
from samg_ros.ros import qos
from samg_ros.ros.diagnostics import OK, Diagnostics, Rate, Report
from samg_ros.ros.messages import time_step
from samg_ros.ros.node import PlainNode, run_node
from samg_ros.ros.parameters import declare
from samg_ros.ros.signals import exit_now
from samg_ros.step_types import FIRST, LAST

_TICK_S = 0.02
_SETTLE_S = 0.3
"""After a reset: frames and joint states of the episode before are still under way."""
_RETRY_S = 0.2


class ArmEpisodes(PlainNode):
    """The node. Parameters are described where they are declared."""

    def __init__(self, **options: Any) -> None:
        super().__init__('arm_episodes', **options)
        self._count = declare(self, 'episodes', 20, 'How many.', between=(1, 100_000))
        self._success_steps = declare(
            self, 'success_steps', 0, 'An episode solves the task if the goal holds for more '
            'control steps than these.', between=(0, 100_000))
        self._repeat = declare(self, 'action_repeat', 1, 'Control steps per time step.',
                               between=(1, 100))
        self._json = declare(self, 'json', '', 'File for the figures; empty for none.')
        self._setting = declare(self, 'setting', 'train', 'Visual setting, for the file.')
        self._seed = declare(self, 'seed', 0, 'Seed of the simulation, for the file.')
        self._patience_s = declare(self, 'patience_s', 120.0, 'Seconds in which nothing goes on '
                                   'after which it is given up.', between=(0.1, 3600.0))
        self.diagnostics = Diagnostics(self)
        self.diagnostics.add('episodes', self._report)
        self._reset: Any = self.create_client(Trigger, 'mujoco_bridge/reset')
        self._enable: Any = self.create_client(SetBool, 'policy/enable')
        self.create_subscription(Float64MultiArray, 'time_step', self._on_time_step,
                                 qos.reliable(50))
        self._returns: list[float] = []
        self._successes: list[bool] = []
        self._total, self._held, self._steps = 0.0, 0, 0
        self._rate = Rate()
        self._asked_at = 0.0
        self._future: Any = None
        self._running = False
        self._go_on(self._restart, 'the simulation was not reset')
        self.create_timer(_TICK_S, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    @property
    def results(self) -> EpisodeResults:
        """The episodes that have ended."""
        return EpisodeResults(self._setting, tuple(self._returns), seed=self._seed,
                              successes=tuple(self._successes), frames_per_s=self._rate.hz)

    # One after the other

    def _go_on(self, do: Callable[[], None], otherwise: str) -> None:
        """Do this from now on, again and again.

        Args:
            do: a step of an episode; it goes on to the next when it is done.
            otherwise: what went wrong if that never happens.
        """
        self._do, self._otherwise = do, otherwise
        self._moved = time.monotonic()

    def _tick(self) -> None:
        if self.finished:
            return
        self._do()
        if time.monotonic() - self._moved > self._patience_s:
            self.error = SamgError(f'{self._otherwise} for {self._patience_s:g} s')

    def _restart(self) -> None:
        if self._answer(self._reset, Trigger.Request()) is not None:
            self._go_on(self._settle, '')

    def _settle(self) -> None:
        if time.monotonic() - self._moved > _SETTLE_S:
            self._go_on(self._start, 'the policy was not there')

    def _start(self) -> None:
        if time.monotonic() - self._asked_at < _RETRY_S:
            return
        answer = self._answer(self._enable, SetBool.Request(data=True))
        if answer is None:
            return
        if not answer.success:
            self._otherwise = answer.message
            return
        self._total, self._held, self._steps = 0.0, 0, 0
        self._running = True
        self._go_on(self._watch, 'no time step came')

    def _watch(self) -> None:
        if not self._running:
            self._go_on(self._stop, 'the policy was not disabled')

    def _stop(self) -> None:
        if self._answer(self._enable, SetBool.Request(data=False)) is None:
            return
        self._returns.append(self._total)
        self._successes.append(self._held > self._success_steps)
        print(f'episode {len(self._returns)} of {self._count}: return {self._total:.1f}, '
              f'{"solved" if self._successes[-1] else "not solved"}', flush=True)
        if len(self._returns) < self._count:
            self._go_on(self._restart, 'the simulation was not reset')
        else:
            self._finish()

    def _finish(self) -> None:
        results = self.results
        print(f'solved {sum(self._successes)} of {self._count} episodes '
              f'({results.success_rate:.0%}); return {results.mean_return:.1f} +- '
              f'{results.return_error:.1f} (standard error)', flush=True)
        if self._json:
            try:
                Path(self._json).write_text(json.dumps(results.to_dict(), indent=2) + '\n')
            except OSError as error:
                self.error = ReportError(f"cannot write '{self._json}': {error.strerror}; choose "
                                         'another name')
        self.finished = True

    def _on_time_step(self, message: Float64MultiArray) -> None:
        if not self._running:
            return
        step = time_step.from_message(message)
        if step.step_type == FIRST:  # the last step before it was lost
            self._running = False
            return
        self._steps += 1
        self._moved = time.monotonic()
        self._rate.tick()
        self._total += step.reward
        self._held += self._repeat * step.success
        self._running = step.step_type != LAST

    def _answer(self, client: Any, request: Any) -> Any:
        """Ask once; return the answer when it is there, None until then."""
        if self._future is None:
            if client.service_is_ready():
                self._future = client.call_async(request)
            return None
        if not self._future.done():
            return None
        answer, self._future = self._future.result(), None
        self._asked_at = time.monotonic()
        return answer

    def _report(self) -> Report:
        values = {'ended': len(self._returns), 'of': self._count, 'solved': sum(self._successes),
                  'steps': self._steps}
        return Report(OK, 'an episode runs' if self._running else 'between episodes', values)


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point of the executable `arm_episodes`."""
    exit_now(run_node(ArmEpisodes, argv))
