# SPDX-License-Identifier: Apache-2.0
"""Which command answers which frame, when frames are shown again and commands may come twice.

A frame without an answer is published again, because its subscriber may have started late. Both
copies may then be answered; the second answer is an echo, and no fault of the sender's.
"""

from __future__ import annotations

from samg_ros.ros.messages.command import BadCommandError, Fault


class FrameCounter:
    """The frame that is shown, and how often the one before it was."""

    def __init__(self) -> None:
        self.index = -1
        self.echoes = 0
        self._shown = self._echoes_due = 0
        self._first_of_episode = 0

    def next(self, after_reset: bool = False) -> None:
        """Go to the next frame; after a reset no command for the one before is a duplicate."""
        self.index += 1
        self._echoes_due, self._shown = max(0, self._shown - 1), 0
        if after_reset:
            self._first_of_episode = self.index

    def show(self) -> None:
        """Count a publication of the present frame."""
        self._shown += 1

    def is_echo(self, answered: int | None) -> bool:
        """Whether a command only answers a repetition of a frame that was answered already."""
        if answered != self.index - 1 or self._echoes_due == 0:
            return False
        self._echoes_due -= 1
        self.echoes += 1
        return True

    def check(self, answered: int | None, has_answer: bool) -> None:
        """Let pass only the first command for the present frame.

        Args:
            answered: the frame that a command answers; None if it does not say.
            has_answer: whether one for the present frame is waiting already.

        Raises:
            BadCommandError: for any other, saying of which kind it is.
        """
        if answered in (None, self.index) and not has_answer:
            return
        if answered in (None, self.index) or self._first_of_episode <= answered == self.index - 1:
            fault = Fault.DUPLICATE
        elif answered < self.index:
            fault = Fault.LATE
        else:
            fault = Fault.UNKNOWN_FRAME
        raise BadCommandError(
            fault, f'a command for frame {answered} came while frame {self.index} is shown; '
            'answer each frame once')
