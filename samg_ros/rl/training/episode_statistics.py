# SPDX-License-Identifier: Apache-2.0
"""What a training run reports: returns, mask IoU, losses and speed."""

import time
from collections import defaultdict, deque
from typing import Any

import numpy as np
import torch
from torch import Tensor


class EpisodeStatistics:
    """Collects the values of the current episode and returns one row of metrics at its end."""

    def __init__(self) -> None:
        self.episodes = 0
        """Episodes that were finished."""
        self.seconds = 0.0
        """Time spent in training so far, without the pauses between resumed sessions."""
        self.returns: deque[float] = deque(maxlen=10)
        """Returns of the last ten episodes."""
        self.episode_return = 0.0
        self.episode_steps = 0
        self._ious: list[float] = []
        self._losses: dict[str, list[Tensor]] = defaultdict(list)
        self._last_iou: float | None = None
        self._clock: float | None = None
        self._recent: deque[tuple[float, int]] = deque(maxlen=100)

    def begin_episode(self) -> None:
        """Set the values of the current episode to zero."""
        self.resume_episode(0.0, 0)
        self._ious.clear()

    def resume_episode(self, episode_return: float, steps: int) -> None:
        """Set return and steps of an episode that continues after a restart."""
        self.episode_return, self.episode_steps = episode_return, steps

    def add_reward(self, reward: float) -> None:
        """Count one agent step and its reward."""
        self.episode_return += reward
        self.episode_steps += 1

    def add_iou(self, iou: float) -> None:
        """Record the IoU, 0 to 1, of one frame's mask with the true one."""
        self._ious.append(iou)

    def add_loss(self, name: str, value: Tensor) -> None:
        """Record one loss, a scalar tensor; it is read only at the end of the episode."""
        self._losses[name].append(value)

    def tick(self, steps: int) -> None:
        """Record that agent step number `steps` begins now."""
        now = time.monotonic()
        if self._clock is not None:
            self.seconds += now - self._clock
        self._clock = now
        self._recent.append((now, steps))

    @property
    def steps_per_s(self) -> float:
        """Agent steps per second over the last hundred; 0 before there are two."""
        if len(self._recent) < 2:
            return 0.0
        (start, first), (end, last) = self._recent[0], self._recent[-1]
        return (last - first) / (end - start) if end > start else 0.0

    @property
    def mask_iou(self) -> float | None:
        """Mean IoU of the last episode, of the current one during the first; None if unknown."""
        if self._last_iou is None and self._ious:
            return float(np.mean(self._ious))
        return self._last_iou

    def end_episode(self, steps: int, action_repeat: int, updates: int) -> dict[str, Any] | None:
        """Finish the episode.

        Args:
            steps: agent steps of the run so far.
            action_repeat: environment frames per agent step.
            updates: updates of the networks so far.

        Returns:
            Metric name -> value for `MetricsLog.write`; None if the episode had no steps.
        """
        if not self.episode_steps:
            return None
        self.episodes += 1
        self.returns.append(self.episode_return)
        row: dict[str, Any] = {
            'step': steps,
            'frames': steps * action_repeat,
            'episode': self.episodes,
            'seconds': round(self.seconds, 2),
            'episode_return': self.episode_return,
            'episode_steps': self.episode_steps,
            'steps_per_s': round(self.steps_per_s, 2),
            'updates': updates,
        }
        if self._ious:
            self._last_iou = row['mask_iou'] = float(np.mean(self._ious))
        for name, values in self._losses.items():
            row[name] = float(torch.stack(values).mean())
        self._losses.clear()
        return row

    def progress(self, step: int, steps: int, action_repeat: int) -> dict[str, Any]:
        """Return where a run stands.

        Args:
            step: agent steps so far.
            steps: agent steps in all.
            action_repeat: environment frames per agent step.

        Returns:
            See `Learner.progress`; without 'updates' and 'done'.
        """
        rate = self.steps_per_s
        return {
            'step': step,
            'steps': steps,
            'frames': step * action_repeat,
            'episode': self.episodes,
            'return': float(np.mean(self.returns)) if self.returns else None,
            'mask_iou': self.mask_iou,
            'steps_per_s': rate,
            'frames_per_s': rate * action_repeat,
            'seconds': self.seconds,
            'seconds_left': (steps - step) / rate if rate else None,
        }
