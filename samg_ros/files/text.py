# SPDX-License-Identifier: Apache-2.0
"""Text from messages and files, made safe to show in a log, on a terminal or in /diagnostics."""

from __future__ import annotations

import codecs
import io
import sys

_LESSER = str.maketrans({'±': '+-', '█': '#', '░': '.', '·': '.', '×': 'x', '→': '->', '–': '-'})
"""What stands for our signs where a terminal does not know them."""
LONGEST = 500
"""Characters of one shown text; longer ones are cut."""


def plain(text: object, longest: int = LONGEST) -> str:
    r"""Return a text that cannot control a terminal, forge a log line or fill a disk.

    Control characters (escape codes, line ends), invisible ones (such as those that turn the
    writing direction) and half surrogates become escapes such as \x1b or \u202e.

    Args:
        text: anything; `str` is called on it.
        longest: characters that are kept; the end says how many were left out.
    """
    words = str(text)
    shown = ''.join(each if each.isprintable() else _escape(each) for each in words[:longest])
    left_out = len(words) - longest
    return f'{shown} ... ({left_out} more characters)' if left_out > 0 else shown


def take_any_terminal() -> None:
    """Let standard output and error show all text: signs that they do not know come as others."""
    codecs.register_error('samg_terminal', _lesser)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='samg_terminal')


def _lesser(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start:error.end]
    return ''.join(each if each.isascii() else _escape(each)
                   for each in found.translate(_LESSER)), error.end


def _escape(character: str) -> str:
    return character.encode('unicode_escape', 'surrogatepass').decode('ascii')
