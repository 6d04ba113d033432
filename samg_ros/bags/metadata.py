# SPDX-License-Identifier: Apache-2.0
"""What a recorded demonstration says about itself, in the metadata records of its MCAP file."""

from __future__ import annotations

import json
from pathlib import Path

from mcap.exceptions import McapError
from mcap.records import Metadata
from mcap.stream_reader import StreamReader

METADATA, OUTCOME = 'samg_ros', 'samg_ros.outcome'
"""Names of the records: one at the start (task, note, reference, masker), one at the end."""


def read_metadata(path: Path) -> dict[str, str]:
    """Return what the records say, in one; of a damaged file what comes before the damage.

    Args:
        path: MCAP file, or the folder of a bag with such a file; others say nothing.
    """
    files = [path] if path.is_file() else sorted(path.glob('*.mcap'))
    found: dict[str, str] = {}
    for file in files:
        if file.suffix != '.mcap':
            continue
        with file.open('rb') as stream:
            try:
                for record in StreamReader(stream, skip_magic=False, emit_chunks=True).records:
                    if isinstance(record, Metadata) and record.name in (METADATA, OUTCOME):
                        found |= record.metadata
            except (McapError, ValueError, OSError, EOFError, OverflowError):
                continue  # the messages before the damage are read by `open_bag`
    return found


def success_of(found: dict[str, str]) -> bool | None:
    """Return whether the operator marked a success; None if nobody said, or the end is missing."""
    try:
        said = json.loads(found.get('success', 'null'))
    except ValueError:
        return None
    return said if isinstance(said, bool) else None
