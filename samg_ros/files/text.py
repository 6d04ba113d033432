# SPDX-License-Identifier: Apache-2.0
"""Text on terminals that do not know all signs."""

from __future__ import annotations

import codecs
import io
import sys

from samg_ros.errors import escaped

_LESSER = str.maketrans({'±': '+-', '█': '#', '░': '.', '·': '.', '×': 'x', '→': '->', '–': '-'})
"""What stands for our signs where a terminal does not know them."""


def take_any_terminal() -> None:
    """Let standard output and error show all text: signs that they do not know come as others."""
    codecs.register_error('samg_terminal', _lesser)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='samg_terminal')


def _lesser(error: UnicodeError) -> tuple[str, int]:
    if isinstance(error, UnicodeDecodeError):  # of a stream that is read too, as pytest's
        return error.object[error.start:error.end].decode('ascii', 'backslashreplace'), error.end
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start:error.end]
    return ''.join(each if each.isascii() else escaped(each)
                   for each in found.translate(_LESSER)), error.end
