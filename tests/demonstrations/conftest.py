# SPDX-License-Identifier: Apache-2.0
"""Bags of an arm that moves, with every fault that recordings of arms have."""

import numpy as np
import pytest

from tests.bags import conftest as bags

ARM, GRIPPER = ('shoulder', 'elbow'), ('finger',)
JOINT_PERIOD_NS = 10_000_000
AT_NS = bags.BEGIN_NS


def positions(stamp, count):
    """Joint positions that are a function of time, so that alignment can be checked."""
    seconds = (stamp - AT_NS) / 1e9
    return [np.sin(seconds + index) for index in range(count)]


def recording(seconds=2.0, camera_hz=20.0, joints=((ARM, '/joint_states'),), actions=True,
              cameras=None, camera_clock_ns=0, joint_clock_ns=0, shift=0.0):
    """Topic, log time, type, message of a session, in the order of recording.

    Another shift, in s, gives other pictures, positions and actions at the same stamps.
    """
    messages = []
    end = AT_NS + round(seconds * 1e9)
    for topic, hz in (cameras or {'/camera/image_raw': camera_hz}).items():
        for index, stamp in enumerate(range(AT_NS, end, round(1e9 / hz))):
            pixels, _ = bags.scene(index + round(shift * hz))
            messages.append((topic, stamp + 1_000_000,
                             *bags.image(stamp + camera_clock_ns, pixels)))
    for names, topic in joints:
        for stamp in range(AT_NS, end, JOINT_PERIOD_NS):
            messages.append((topic, stamp + 500_000, *bags.joint_state(
                stamp + joint_clock_ns, names,
                    positions(stamp + round(shift * 1e9), len(names)))))
    if actions:
        for stamp in range(AT_NS, end, round(1e9 / camera_hz)):
            values = [(stamp - AT_NS) / 1e9 + shift, 0.5]
            messages.append(('/command', stamp + 5_000_000,
                             *bags.array(values, [('action', 2)])))
    return sorted(messages, key=lambda each: each[1])


@pytest.fixture
def bag(tmp_path):
    """Write a recording as a bag and return its path."""
    def write(messages, name='bag'):
        return bags.write(tmp_path / name, messages)
    return write
