# SPDX-License-Identifier: Apache-2.0
"""`samg` commands as a user starts them: processes of their own, and Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Command:
    """A running `samg` command, its output in a file that can be read while it runs."""

    def __init__(self, tmp_path, *arguments):
        self.output = tmp_path / f'output-{time.monotonic_ns()}.txt'
        environment = {name: value for name, value in os.environ.items()
                       if name not in ('ROS_DOMAIN_ID', 'AMENT_PREFIX_PATH')}
        environment['PYTHONPATH'] = os.pathsep.join(
            [str(ROOT), *filter(None, [environment.get('PYTHONPATH')])])
        environment['PYTHONUNBUFFERED'] = '1'
        self.process = subprocess.Popen(
            [sys.executable, '-m', 'samg_ros.cli', *arguments],
            stdout=self.output.open('w'), stderr=subprocess.STDOUT, env=environment, cwd=tmp_path)

    def text(self):
        return self.output.read_text()

    def wait_for(self, words, timeout_s=120):
        deadline = time.monotonic() + timeout_s
        while words not in self.text():
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.05)

    def interrupt(self):
        """Press Ctrl-C; return how long it took to end."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(60)
        finally:
            self.process.kill()
        return time.monotonic() - began
