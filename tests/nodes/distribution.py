# SPDX-License-Identifier: Apache-2.0
"""What the distribution under test lacks."""

import pytest


def _numbers_messages():
    try:
        import rclpy.event_handler  # noqa: F401
    except ImportError:  # Humble
        return False
    return True


needs_numbers = pytest.mark.skipif(
    not _numbers_messages(), reason="Humble's rclpy gives no numbers of messages: frames that a "
    'newer one overwrote in the queue cannot be counted')
