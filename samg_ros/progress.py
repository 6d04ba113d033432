# SPDX-License-Identifier: Apache-2.0
"""The one line that says how training goes, for the ROS graph and the direct trainer alike."""

import sys
import time
from collections.abc import Mapping
from typing import Any

_BAR_WIDTH = 20
_TERMINAL_INTERVAL_S = 0.2
_FILE_INTERVAL_S = 30.0


def progress_line(progress: Mapping[str, Any]) -> str:
    """Format `Learner.progress` in one line of less than 100 characters.

    Return (mean of the last ten episodes), mask IoU, camera frames per second and time left
    show as '-' before they are known.
    """
    share = min(progress['step'] / progress['steps'], 1.0)
    full = int(share * _BAR_WIDTH)
    bar = '█' * full + '░' * (_BAR_WIDTH - full)
    value = progress['return']
    iou = progress['mask_iou']
    left = progress['seconds_left']
    return (
        f'{bar} {share:4.0%}  step {progress["step"]}/{progress["steps"]}'
        f'  return {"-" if value is None else f"{value:.0f}"}'
        f'  IoU {"-" if iou is None else f"{iou:.2f}"}'
        f'  {progress["steps_per_s"]:.1f} frames/s'
        f'  left {"-" if left is None else duration(left)}'
    )


def duration(seconds: float) -> str:
    """Format a duration: '42 s', '9:05 min', '3:20 h'."""
    whole = round(seconds)
    if whole < 60:
        return f'{whole} s'
    if whole < 3600:
        return f'{whole // 60}:{whole % 60:02d} min'
    return f'{whole // 3600}:{whole % 3600 // 60:02d} h'


class ProgressLine:
    """Keeps one line up to date on a terminal; in a file, writes one now and then."""

    def __init__(self) -> None:
        """Write to standard error."""
        self._stream = sys.stderr
        self._terminal = self._stream.isatty()
        self._last = float('-inf')
        self._open = False

    def __enter__(self) -> 'ProgressLine':
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def update(self, text: str, force: bool = False) -> None:
        """Show a line, unless the last one is still fresh and `force` is false."""
        now = time.monotonic()
        if not force and now - self._last < self.interval_s:
            return
        self._last = now
        if self._terminal:
            self._stream.write(f'\r\x1b[K{text}')
            self._open = True
        else:
            self._stream.write(f'{text}\n')
        self._stream.flush()

    def close(self) -> None:
        """End the line, so that what follows starts on its own."""
        if self._open:
            self._stream.write('\n')
            self._stream.flush()
            self._open = False

    @property
    def interval_s(self) -> float:
        """Seconds between two lines."""
        return _TERMINAL_INTERVAL_S if self._terminal else _FILE_INTERVAL_S
