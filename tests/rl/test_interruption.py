# SPDX-License-Identifier: Apache-2.0
"""What asks a training to stop, and how long it can still speak."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from samg_ros.interruption import stop_on_signals

ROOT = Path(__file__).parents[2]
LONG_RUN = """
import fcntl, sys, termios, time
from pathlib import Path
from samg_ros.interruption import stop_on_signals
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
with stop_on_signals() as should_stop:
    print('begins', flush=True)
    while not should_stop():
        time.sleep(0.01)
    print('nobody reads this', flush=True)
    Path(sys.argv[1]).touch()
"""


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_end_is_a_question_between_steps(number):
    before = signal.getsignal(number)
    with stop_on_signals() as should_stop:
        assert not should_stop()
        signal.raise_signal(number)
        assert should_stop()
    assert signal.getsignal(number) == before


def test_under_nohup_a_terminal_that_closes_is_not_heard():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals() as should_stop:
            signal.raise_signal(signal.SIGHUP)
            assert not should_stop()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_who_loses_the_terminal_ends_in_good_order_and_may_speak_on(tmp_path):
    ours, terminal = os.openpty()
    process = subprocess.Popen(
        [sys.executable, '-c', LONG_RUN, tmp_path / 'saved'], stdin=terminal, stdout=terminal,
        stderr=terminal, start_new_session=True, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    os.close(terminal)
    assert os.read(ours, 6) == b'begins'
    os.close(ours)
    assert process.wait(60) == 0 and (tmp_path / 'saved').exists()
