# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and other stop signals: end the process at once, or ask its loop to end.

Imports nothing heavy, so that the handlers are installed before torch is imported, which takes
seconds.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from typing import NoReturn

from samg_ros.interruption import on_stop_signals

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""
_SAME_PRESS_S = 0.5
"""A SIGINT that follows another one sooner is the same press of Ctrl-C: the terminal sends it to
all processes, and a wrapper such as `uv run` may pass it on once more."""


class StopSignal:
    """What SIGINT, SIGTERM and SIGHUP do in a process that runs nodes.

    While there is nothing to lose (imports, model loading, evaluation) they end it at once.
    KeyboardInterrupt would not do: raised inside a compiled module's import it comes out as an
    ImportError. After `defer` they only set `requested`, so that the nodes can save and send their
    last messages; a second Ctrl-C then ends the process at once, even if it hangs outside Python.
    """

    def __init__(self, exit_code: int = 0, message: str = '') -> None:
        """Install the handlers.

        Args:
            exit_code: of the process that a signal ends at once.
            message: one line on stderr in that case.
        """
        self.requested = False
        self._deferred = False
        self._exit_code, self._message = exit_code, message
        self._restore = on_stop_signals(self._handle)
        self._pipe, self._wakeup = os.pipe()
        os.set_blocking(self._wakeup, False)
        self._wakeup_before = signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        threading.Thread(target=self._force_end, name='signals', daemon=True).start()

    def defer(self) -> None:
        """From now on a signal only sets `requested`."""
        self._deferred = True

    def immediate(self) -> None:
        """From now on a signal ends the process again; at once if one came meanwhile."""
        self._deferred = False
        if self.requested:
            self._end()

    def __enter__(self) -> StopSignal:
        return self

    def __exit__(self, *exception: object) -> None:
        self.restore()

    def restore(self) -> None:
        """Put back the handlers that were there before."""
        self._restore()
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._wakeup)  # and the thread ends

    def _handle(self) -> None:
        self.requested = True
        if not self._deferred:
            self._end()

    def _force_end(self) -> None:
        """End the process at the second Ctrl-C; runs in a thread, as the main one may hang."""
        pressed_at = None
        while numbers := os.read(self._pipe, 64):
            if signal.SIGINT not in numbers:
                continue
            now = time.monotonic()
            if pressed_at is None:
                pressed_at = now
            elif now - pressed_at > _SAME_PRESS_S:
                os.write(2, b'\nsamg: ended at once, by a second Ctrl-C\n')
                os._exit(INTERRUPTED)
        os.close(self._pipe)

    def _end(self) -> NoReturn:
        if self._message:
            os.write(2, f'\n{self._message}\n'.encode())  # a stream may be in the middle of a write
        exit_now(self._exit_code)


def exit_now(code: int) -> NoReturn:
    """End the process now, with nothing left to do.

    Python would first take torch, CUDA and OpenGL apart library by library, which takes over a
    second of CPU and on a busy machine longer than launch waits for a process.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(RuntimeError, OSError):  # in the middle of a write; closed
            stream.flush()
    os._exit(code)
