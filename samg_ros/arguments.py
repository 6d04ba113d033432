# SPDX-License-Identifier: Apache-2.0
"""Types of command-line arguments that several commands take."""


def names(text: str) -> list[str]:
    """Read `NAME[,NAME...]`, for argparse's `type` with `action='extend'`."""
    return [name for name in text.split(',') if name]


def whole_numbers(text: str) -> list[int]:
    """Read `NUMBER[,NUMBER...]`, likewise."""
    return [int(number) for number in text.split(',') if number]
