# SPDX-License-Identifier: Apache-2.0
"""Checks what another node answers when it is asked for perception's parameters.

Any node may have perception's name, so the answer is checked like any other input from outside.
"""

from __future__ import annotations

from typing import Any

from samg_ros.errors import InvalidInputError, SamgError, first_line
from samg_ros.files.schema import convert, parse_json
from samg_ros.masking import MaskerSettings
from samg_ros.masking.identity import Description

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
    name = f"perception's {DESCRIPTION_PARAMETER}"
    described = parse_json(value, dict[str, Any], name, InvalidInputError)
    known = convert(described, Description, name, InvalidInputError)
    try:
        MaskerSettings.from_dict(known.settings)
    except SamgError as error:
        raise InvalidInputError(f'{name} has settings that are not those of a masker: '
                                f'{first_line(error)}') from error
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
