# SPDX-License-Identifier: Apache-2.0
"""What keys mean to an arm that is driven by hand.

A terminal repeats a key while it is held and says nothing when it is released, so every key moves
a joint for a moment only, and the watchdog stops the arm when no key comes.
"""

from __future__ import annotations

import numpy as np

from samg_ros.arm.commands import Vector

FORWARD, BACK = '1234567890', 'qwertyuiop'
"""Key of each joint, in the order of the command: up and down as they lie on the keyboard."""
BUTTONS = {' ': 'start', '\n': 'mark_success', '\r': 'mark_success', '\x7f': 'discard'}
"""Space starts and ends an episode, enter marks a success, backspace throws it away."""


def speeds_of_keys(keys: str, joints: int) -> tuple[Vector, list[str]]:
    """Return what typed keys ask for.

    Args:
        keys: as typed; others are ignored.
        joints: how many there are.

    Returns:
        (A,) float64 of -1, 0 and 1, and what the recorder is asked for.
    """
    speeds = np.zeros(joints)
    for key in keys:
        for sign, row in ((1.0, FORWARD), (-1.0, BACK)):
            index = row.find(key)
            if 0 <= index < joints:
                speeds[index] = sign
    return speeds, [BUTTONS[key] for key in keys if key in BUTTONS]
