# SPDX-License-Identifier: Apache-2.0
"""`evaluator`: enables a policy in a lockstep simulation and reports the return of each episode."""

from __future__ import annotations

import time
from typing import Any

from std_msgs.msg import Float64MultiArray

from samg_ros.errors import InvalidInputError, OutputError, SamgError
from samg_ros.evaluation.episodes import EpisodeResults
from samg_ros.files.outputs import check_file, write_json
from samg_ros.ros import qos
from samg_ros.ros.compat import steady_timer
from samg_ros.ros.diagnostics import OK, Diagnostics, Drops, Report
from samg_ros.ros.messages import time_step
from samg_ros.ros.node import PlainNode
from samg_ros.ros.parameters import declare
from samg_ros.ros.service_calls import PolicyEnabler
from samg_ros.step_types import FIRST, LAST

_DEPTH = 1000
"""Queue of time steps; the simulator waits for the policy, not for this node."""
_CHECK_S = 0.5


class Evaluator(PlainNode):
    """The node. Parameters are described where they are declared."""

    def __init__(self, **options: Any) -> None:
        super().__init__('evaluator', **options)
        self._episodes = declare(self, 'episodes', 10, 'Number of episodes.', between=(1, 10**6))
        self._setting = declare(self, 'setting', 'train', 'Visual setting of the simulator, for '
                                'the file.')
        self._seed = declare(self, 'seed', 0, 'Seed of the evaluation, for the file.',
                             between=(0, 2**31 - 1))
        self._timeout_s = declare(self, 'patience_s', 120.0, 'Seconds without a new frame after '
                                  'which the evaluation ends with an error.',
                                  between=(1.0, 3600.0))
        self._json = declare(self, 'json', '', 'File for the figures; empty for none.')
        if self._json:
            check_file(self._json, overwrite=True)
        policy = declare(self, 'policy', 'policy', 'Node to enable.')
        self.returns: list[float] = []
        """Returns of the episodes that have ended."""
        self._total: float | None = None
        self._frame_index = -1  # of the newest frame
        self._frames = 0
        self._began_at = self._progress_at = time.monotonic()
        self.diagnostics = Diagnostics(self, self._setting)
        self.drops = Drops(self, 'time_steps')
        self.diagnostics.add('time_steps', self.drops.report)
        self.diagnostics.add('evaluation', self._report)
        qos.subscription(self, self.diagnostics, Float64MultiArray, 'time_step',
                         self._on_time_step, qos.reliable(_DEPTH))
        self._enabler = PolicyEnabler(self, policy)
        steady_timer(self, _CHECK_S, self._check)

    @property
    def results(self) -> EpisodeResults:
        """Figures of the episodes that have ended, at least one."""
        return EpisodeResults(self._setting, tuple(self.returns), seed=self._seed,
                              frames_per_s=self._frames / (time.monotonic() - self._began_at))

    def _on_time_step(self, message: Float64MultiArray) -> None:
        try:
            info = time_step.from_message(message)
        except InvalidInputError as error:
            self.drops.add('time_step', str(error))
            return
        if info.frame_index == self._frame_index or self.finished:
            return  # the simulator repeats a frame
        if self._frame_index not in (-1, info.frame_index - 1):
            self.error = SamgError(
                f'frame {info.frame_index} came after frame {self._frame_index}: the simulator was '
                'restarted or time steps were lost, so the returns would be wrong; evaluate again')
            return
        self._frame_index = info.frame_index
        self._frames += 1
        self._progress_at = time.monotonic()
        if info.step_type == FIRST:
            self._total = 0.0
        elif self._total is not None:
            self._total += info.reward
        if info.step_type == LAST and self._total is not None:
            self._end_episode(self._total)

    def _end_episode(self, total: float) -> None:
        self.returns.append(total)
        print(f'{self._setting}: episode {len(self.returns)} of {self._episodes}: return '
              f'{total:.1f}', flush=True)
        if len(self.returns) < self._episodes:
            return
        results = self.results
        print(f'{self._setting}: mean return {results.mean_return:.1f}, standard error '
              f'{results.return_error:.1f}, {results.frames_per_s:.1f} frames/s', flush=True)
        try:
            if self._json:
                write_json(self._json, results.to_dict())
        except OutputError as error:
            self.error = error
        self.finished = True

    def _check(self) -> None:
        answer = self._enabler.answer
        if self.finished:
            return
        if answer.is_final:
            self.error = SamgError(f'the policy answered: {answer.text}')
        elif time.monotonic() - self._progress_at > self._timeout_s:
            self.error = SamgError(
                f'no new frame came for {self._timeout_s:g} s; the policy '
                f'{f"answered: {answer.text}" if answer.text else "is not there"}')

    def _report(self) -> Report:
        return Report(OK, f'episode {len(self.returns) + 1} of {self._episodes}',
                      {'frames': self._frames, 'returns': [round(each, 3)
                                                           for each in self.returns]})
