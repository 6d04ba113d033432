# SPDX-License-Identifier: Apache-2.0
"""Text of messages and files never controls a terminal, forges a line or fills a log."""

import numpy as np
import pytest
from std_msgs.msg import Header

from samg_ros.errors import LONGEST_ERROR, EncodingError, SamgError, plain
from samg_ros.policy.joint_states import JointStates
from samg_ros.ros.messages.images import array_to_image, image_to_rgb

HOSTILE = '\x1b[2J\nERROR: the arm is on fire\r\u202e\x07'


def is_plain(text):
    return text.isprintable() and len(text) < 6 * LONGEST_ERROR  # an escape has up to six


@pytest.mark.parametrize('text', [HOSTILE, HOSTILE * 10**5, '\ud800', 'ü ± 日本'])
def test_the_text_of_an_error_is_one_line_that_is_safe_to_show(text):
    shown = str(SamgError(f"the name '{text}' is none"))
    assert is_plain(shown) and shown.startswith("the name '")
    assert is_plain(plain(text))


def test_an_image_of_a_hostile_encoding_is_refused_in_plain_text():
    message = array_to_image(np.zeros((4, 4, 3), np.uint8), Header())
    message.encoding = HOSTILE * 10**4
    with pytest.raises(EncodingError) as caught:
        image_to_rgb(message)
    assert is_plain(str(caught.value))


def test_what_is_missing_of_hostile_joint_states_is_plain_text():
    states = JointStates(['arm'], 0.1, 1.0)
    states.add([HOSTILE, 'arm'], [0.0, 0.0], (1, 0))
    with pytest.raises(SamgError) as caught:
        states.add([HOSTILE * 100] * 2, [0.0, 0.0], (2, 0))
    assert is_plain(str(caught.value)) and 'twice' in str(caught.value)
