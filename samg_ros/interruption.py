# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C, a request to end, and a terminal that is gone, as what runs for long wants to hear them.

Imports nothing heavy, so that the handlers stand before the seconds in which torch is imported.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

EXIT_INTERRUPTED = 130
"""Exit status of a command that saved and stopped before it was done."""
_OUTPUTS = (1, 2)


def on_stop_signals(stop: Callable[[], None]) -> Callable[[], None]:
    """Have a function called when SIGINT, SIGTERM or SIGHUP ask the process to end.

    SIGHUP says that the terminal was closed or the connection to it lost. Where it is ignored it
    stays so: nohup wants the process to live on.

    Args:
        stop: called in the main thread, between two instructions of Python.

    Returns:
        What puts back the handlers that were there before.
    """
    terminals = [output for output in _OUTPUTS if os.isatty(output)]

    def handle(number: int, frame: Any) -> None:
        if number == signal.SIGHUP:
            _silence(terminals)
        stop()

    before = {number: signal.signal(number, handle)
              for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
              if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    return restore


def end_with_parent() -> None:
    """Have a worker process of `multiprocessing` end when its parent does, and only then.

    Ctrl-C reaches all processes of a terminal: the parent alone decides what it means.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=wait, name='parent', daemon=True).start()


@contextmanager
def interrupt_on_signals() -> Iterator[None]:
    """Have SIGTERM and SIGHUP raise KeyboardInterrupt as Ctrl-C does, so that all is put in order.

    Python itself would end at once, and leave temporary files and worker processes behind. In a
    thread that is not the main one, which gets no signals, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    restore = on_stop_signals(_interrupt)
    try:
        yield
    finally:
        restore()


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Turn the signals of `on_stop_signals` into a question that is false until they come.

    Training then stops between two steps, never in the middle of an update.
    """
    asked: list[bool] = []
    restore = on_stop_signals(lambda: asked.append(True))
    try:
        yield lambda: bool(asked)
    finally:
        restore()


def _interrupt() -> None:
    raise KeyboardInterrupt


def _silence(terminals: list[int]) -> None:
    """Let output go nowhere whose terminal is gone; an error of writing there would end us."""
    for output in terminals:
        if not os.isatty(output):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, output)
            os.close(nowhere)
