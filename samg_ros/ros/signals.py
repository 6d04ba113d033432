# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C, or its like, at any moment: ends the process at once, or asks its loop to end.

Imports nothing heavy, so that the handlers stand before the seconds in which torch is imported.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import NoReturn

from samg_ros.interruption import on_stop_signals

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


class StopSignal:
    """What SIGINT, SIGTERM and SIGHUP do in a process that runs nodes.

    While there is nothing to lose (imports, model loading, evaluation) they end it at once.
    KeyboardInterrupt would not do: raised inside a compiled module's import it comes out as an
    ImportError. After `defer` they only set `requested`, so that nothing is torn apart.
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

    def _handle(self) -> None:
        self.requested = True
        if not self._deferred:
            self._end()

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
