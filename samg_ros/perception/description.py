# SPDX-License-Identifier: Apache-2.0
"""Checks what another node answers when it is asked for perception's parameters.

Any node may have perception's name, so the answer is checked like any other input from outside.
"""

from __future__ import annotations

import json
from typing import Any

from samg_ros.errors import InvalidInputError, SamgError, first_line
from samg_ros.masking import MaskerSettings

DESCRIPTION_PARAMETER = 'masker_description'
"""Holds `Masker.describe()` as JSON, for the nodes that use the masks."""
_MOST_CHARACTERS = 100_000


def read_description(value: Any) -> dict[str, Any]:
    """Return the description of a masker, as `Masker.describe()` gave it.

    Raises:
        InvalidInputError: if the value is no such description.
    """
    if not isinstance(value, str) or len(value) > _MOST_CHARACTERS:
        raise InvalidInputError(f"perception's {DESCRIPTION_PARAMETER} must be text of at most "
                                f'{_MOST_CHARACTERS} characters')
    try:
        described = json.loads(value)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InvalidInputError(f"perception's {DESCRIPTION_PARAMETER} is not JSON: "
                                f'{ascii(value[:40])}') from error
    if not isinstance(described, dict) or not isinstance(described.get('settings', {}), dict):
        raise InvalidInputError(f"perception's {DESCRIPTION_PARAMETER} must be an object with "
                                f'model, weights and settings, got {ascii(value[:40])}')
    try:
        MaskerSettings(**described.get('settings', {}))
    except (SamgError, TypeError) as error:
        raise InvalidInputError(f"perception's {DESCRIPTION_PARAMETER} has settings that are not "
                                f'those of a masker: {first_line(error)}') from error
    return described


def read_fill(value: Any) -> tuple[int, int, int]:
    """Return the colour outside the mask, RGB.

    Raises:
        InvalidInputError: if the value is no colour.
    """
    try:
        colour = tuple(value)
    except TypeError:
        colour = ()
    if len(colour) != 3 or not all(isinstance(each, int) and not isinstance(each, bool)
                                   and 0 <= each <= 255 for each in colour):
        raise InvalidInputError("perception's fill must be three whole numbers from 0 to 255, got "
                                f'{ascii(value)[:60]}')
    return colour
