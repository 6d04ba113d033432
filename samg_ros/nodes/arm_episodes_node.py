# SPDX-License-Identifier: Apache-2.0
"""`arm_episodes`: lets a policy or an operator move the simulated arm for some episodes.

For each episode it calls the services that a person would: reset the simulation, start the recorder
if there is one, enable the policy or the teleoperation, wait for the end of the episode, disable
it, mark a success, stop the recorder. The arm moves in real time meanwhile, with the camera,
masker, watchdog and limits of the real graph.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger

from samg_ros.errors import InvalidInputError, OutputError, SamgError
from samg_ros.evaluation.episodes import EpisodeResults
from samg_ros.files.outputs import check_file, write_json
from samg_ros.ros import qos
from samg_ros.ros.compat import steady_timer
from samg_ros.ros.diagnostics import OK, Diagnostics, Drops, Rate, Report
from samg_ros.ros.messages import time_step
from samg_ros.ros.node import PlainNode
from samg_ros.ros.parameters import declare
from samg_ros.ros.service_calls import Answer
from samg_ros.step_types import FIRST, LAST

_TICK_S = 0.02
_SETTLE_S = 0.3
"""Wait after a reset, in which late frames and joint states of the previous episode arrive."""
_RETRY_S = 0.2


class ArmEpisodes(PlainNode):
    """The node. Parameters are described where they are declared."""

    def __init__(self, **options: Any) -> None:
        super().__init__('arm_episodes', **options)
        self._count = declare(self, 'episodes', 20, 'Number of episodes.', between=(1, 100_000))
        self._success_steps = declare(
            self, 'success_steps', 0, 'An episode is a success if the goal is reached in more '
            'control steps than this.', between=(0, 100_000))
        self._repeat = declare(self, 'action_repeat', 1, 'Control steps per time step.',
                               between=(1, 100))
        self._json = declare(self, 'json', '', 'File for the figures; empty for none.')
        if self._json:
            check_file(self._json, overwrite=True)
        self._setting = declare(self, 'setting', 'train', 'Visual setting, for the file.')
        self._seed = declare(self, 'seed', 0, 'Seed of the simulation, for the file.')
        self._actor = declare(self, 'actor', 'policy', 'Node that moves the arm: policy or teleop.')
        self._record = declare(self, 'record', False, 'Record each episode with the node recorder.')
        self._timeout_s = declare(self, 'patience_s', 120.0, 'Seconds without progress after '
                                  'which the node ends with an error.', between=(0.1, 3600.0))
        self.diagnostics = Diagnostics(self)
        self.drops = Drops(self, 'time steps')
        self.diagnostics.add('time steps', self.drops.report)
        self.diagnostics.add('episodes', self._report)
        self._reset: Any = self.create_client(Trigger, 'mujoco_bridge/reset')
        self._enable: Any = self.create_client(SetBool, f'{self._actor}/enable')
        self._recorder: dict[str, Any] = {
            name: self.create_client(Trigger, f'recorder/{name}')
            for name in ('start', 'mark_success', 'stop')}
        qos.subscription(self, self.diagnostics, Float64MultiArray, 'time_step',
                         self._on_time_step, qos.reliable(50))
        self._returns: list[float] = []
        self._successes: list[bool] = []
        self._total, self._held, self._steps = 0.0, 0, 0
        self._rate = Rate()
        self._asked_at = 0.0
        self._future: Any = None
        self._running = False
        self._next(self._restart, 'the simulation was not reset')
        steady_timer(self, _TICK_S, self._tick)

    @property
    def results(self) -> EpisodeResults:
        """The episodes that have ended."""
        return EpisodeResults(self._setting, tuple(self._returns), seed=self._seed,
                              successes=tuple(self._successes), frames_per_s=self._rate.hz)

    # The steps of an episode

    def _next(self, step: Callable[[], None], if_late: str) -> None:
        """Begin the next step of an episode.

        Args:
            step: called repeatedly; calls `_next` when it is done.
            if_late: what went wrong if it is not done in time.
        """
        self._step, self._if_late = step, if_late
        self._progress_at = time.monotonic()

    def _tick(self) -> None:
        if self.finished:
            return
        self._step()
        if time.monotonic() - self._progress_at > self._timeout_s:
            self.error = SamgError(f'{self._if_late} for {self._timeout_s:g} s')

    def _restart(self) -> None:
        if self._answer(self._reset, Trigger.Request()) is not None:
            self._next(self._settle, '')

    def _settle(self) -> None:
        if time.monotonic() - self._progress_at > _SETTLE_S:
            self._next(self._ask_recorder('start', self._enable_actor),
                       'the recorder was not there')

    def _enable_actor(self) -> None:
        self._refusal = Answer()
        self._next(self._start, f'{self._actor} was not there')

    def _ask_recorder(self, what: str, then: Callable[[], None]) -> Callable[[], None]:
        """Return a step that asks the recorder for something; it is skipped without one."""
        def ask() -> None:
            if not self._record:
                then()
                return
            answer = self._answer(self._recorder[what], Trigger.Request())
            if answer is None:
                return
            if not answer.success:
                self.error = SamgError(f'recorder: {answer.message}')
            then()
        return ask

    def _start(self) -> None:
        if time.monotonic() - self._asked_at < _RETRY_S:
            return
        answer = self._answer(self._enable, SetBool.Request(data=True))
        if answer is None:
            return
        if not answer.success:
            self._if_late = answer.message
            self._refusal.set(answer.message)
            if self._refusal.is_final:
                self.error = SamgError(f'{self._actor}: {answer.message}')
            return
        self._total, self._held, self._steps = 0.0, 0, 0
        self._running = True
        self._next(self._watch, 'no time step came')

    def _watch(self) -> None:
        if not self._running:
            self._next(self._stop, f'{self._actor} was not disabled')

    def _stop(self) -> None:
        if self._answer(self._enable, SetBool.Request(data=False)) is None:
            return
        self._returns.append(self._total)
        self._successes.append(self._held > self._success_steps)
        stop = self._ask_recorder('stop', self._count_episode)
        if self._successes[-1]:
            stop = self._ask_recorder('mark_success', lambda: self._next(
                self._ask_recorder('stop', self._count_episode), 'the recorder did not stop'))
        self._next(stop, 'the recorder did not answer')

    def _count_episode(self) -> None:
        print(f'episode {len(self._returns)} of {self._count}: return {self._total:.1f}, '
              f'{"solved" if self._successes[-1] else "not solved"}', flush=True)
        if len(self._returns) < self._count:
            self._next(self._restart, 'the simulation was not reset')
        else:
            self._finish()

    def _finish(self) -> None:
        results = self.results
        low, high = results.success_interval or (0.0, 0.0)
        print(f'solved {sum(self._successes)} of {self._count} episodes '
              f'({results.success_rate:.0%}, 95 % interval {low:.0%} to {high:.0%}); return '
              f'{results.mean_return:.1f} +- {results.return_error:.1f} (standard error)',
              flush=True)
        if self._json:
            try:
                write_json(self._json, results.to_dict())
            except OutputError as error:
                self.error = error
        self.finished = True

    def _on_time_step(self, message: Float64MultiArray) -> None:
        if not self._running:
            return
        try:
            step = time_step.from_message(message)
        except InvalidInputError as error:
            self.drops.add('time_step', str(error))
            return
        if step.step_type == FIRST:  # the last step before it was lost
            self._running = False
            return
        self._steps += 1
        self._progress_at = time.monotonic()
        self._rate.tick()
        self._total += step.reward
        self._held += self._repeat * step.success
        self._running = step.step_type != LAST

    def _answer(self, client: Any, request: Any) -> Any:
        """Call a service once; return its answer when it has come, None until then."""
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
