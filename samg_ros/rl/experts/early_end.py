# SPDX-License-Identifier: Apache-2.0
"""Episodes of training that end early, because the expert has nothing more to show in them."""

LOW_REWARD_STEPS = {'cheetah': 100, 'quadruped': 100}
"""Agent steps by domain: after so many in a row with a low reward, an episode of training ends; in
other domains never. Where cheetah and quadruped move on, their experts do so within these steps.
What lies on its back after them stays there, for the experts as for their students
(docs/cloning.md)."""

_LOW_REWARD = 0.2
"""Reward of a control step, of at most 1. A cheetah slower than 2 m/s has less, and a quadruped
that is turned over or stands still."""


class EarlyEnd:
    """Counts agent steps with a low reward, and says when to end the episode."""

    def __init__(self, steps: int, action_repeat: int) -> None:
        """Begin with a count of 0.

        Args:
            steps: low rewards in a row that end an episode; 0 for none.
            action_repeat: control steps of an agent step, whose rewards are summed.
        """
        self._steps, self._low_reward = steps, _LOW_REWARD * action_repeat
        self._count = 0

    def begin_episode(self) -> None:
        """Set the count to 0."""
        self._count = 0

    def is_over(self, reward: float) -> bool:
        """Count an agent step; returns whether the episode ends with it."""
        self._count = self._count + 1 if reward < self._low_reward else 0
        return 0 < self._steps <= self._count
