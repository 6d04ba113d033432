# SPDX-License-Identifier: Apache-2.0
"""Types of command-line arguments that several commands take."""

import json
from typing import Any

from samg_ros.errors import ConfigError


def names(text: str) -> list[str]:
    """Read `NAME[,NAME...]`, for argparse's `type` with `action='extend'`."""
    return [name for name in text.split(',') if name]


def whole_numbers(text: str) -> list[int]:
    """Read `NUMBER[,NUMBER...]`, likewise."""
    return [int(number) for number in text.split(',') if number]


def parse_settings(pairs: list[str]) -> dict[str, Any]:
    """Turn NAME=VALUE strings, the value as JSON or a plain word, into overrides.

    Raises:
        ConfigError: if there is no '='.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition('=')
        if not equals:
            raise ConfigError(f"'{pair}' is not a setting; write NAME=VALUE")
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text
    return values
