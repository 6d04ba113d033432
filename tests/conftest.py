# SPDX-License-Identifier: Apache-2.0
"""What every test may ask for."""

import os
import signal
from pathlib import Path

import pytest

os.environ.setdefault('MUJOCO_GL', 'egl')
os.environ.setdefault('OMP_NUM_THREADS', '1')  # what tests compute is too small for threads
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell starts what runs behind it
    signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and under nohup


@pytest.fixture(scope='session')
def shared_data() -> Path:
    """The folder of DMC-GB videos and public references; skips where it is not."""
    places = [Path(os.environ['SAMG_DATA_DIR'])] if 'SAMG_DATA_DIR' in os.environ else []
    places.append(Path(__file__).resolve().parents[2] / 'shared' / 'data')
    for place in places:
        if place.is_dir():
            return place
    pytest.skip('no ../shared/data; set SAMG_DATA_DIR to the folder with dmcgb/ and '
                'samg_references/')
