# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C, and a request to end, as what trains wants to hear them."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

EXIT_INTERRUPTED = 130
"""Exit status of a command that saved and stopped before it was done."""


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C and a request to end into a question that is false until they come.

    Training then stops between two steps, never in the middle of an update.
    """
    asked: list[int] = []

    def ask(number: int, _: Any) -> None:
        asked.append(number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
