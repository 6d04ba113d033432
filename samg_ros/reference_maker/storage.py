# SPDX-License-Identifier: Apache-2.0
"""Reference folders on disk: written whole or not at all, and read to go on from.

One picture is the folder itself, as `Reference.save` writes it; further pictures of the same object
are its subfolders view_2, view_3 and so on, each a reference of its own.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from samg_ros.errors import ReferenceLoadError, first_line
from samg_ros.files.outputs import check_folder, check_name
from samg_ros.masking import Reference
from samg_ros.masking.references.reference import PartFacts, read_facts

DEFAULT_COLOURS = ('#e69f00', '#cc79a7', '#0072b2', '#d55e00', '#009e73', '#f0e442')
"""Okabe and Ito's palette, which colour-blind people can tell apart."""
_OURS = re.compile(r'image\.png|mask\.png|part_\d+\.png|reference\.yaml|view_\d+')


class Part(NamedTuple):
    """A part of the object."""

    name: str
    colour: str
    """As #rrggbb."""


def write_references(folder: Path, references: Sequence[Reference], parts: Sequence[Part]) -> None:
    """Replace the references in a folder.

    They are written to a new folder first, which then takes the old one's name: when the disk is
    full, the old references are kept.

    Args:
        folder: made if missing.
        references: pictures of one object, at least one.
        parts: names and colours of their parts.

    Raises:
        ReferenceLoadError: if it cannot be written, or the folder holds something else, too.
    """
    folder = Path(os.path.realpath(folder))  # a symbolic link to a folder stays one
    if folder.exists():
        check_ours(folder)
    named = {'parts': [part._asdict() for part in parts]}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f'.{folder.name}-', dir=folder.parent) as beside:
            new, old = Path(beside) / 'new', Path(beside) / 'old'
            for place, reference in enumerate(references, 1):
                own = reference.save(new if place == 1 else new / f'view_{place}')
                facts = yaml.safe_load((own / 'reference.yaml').read_text())
                if reference.parts:
                    facts |= {'parts': named['parts'][:len(reference.parts)]}
                (own / 'reference.yaml').write_text(yaml.safe_dump(facts, sort_keys=False))
                Reference.load(own)  # a disk that fills up may cut a picture short
            if folder.exists():
                folder.rename(old)
            try:
                new.rename(folder)
            except OSError:
                if old.exists():
                    old.rename(folder)
                raise
    except OSError as error:
        raise ReferenceLoadError(f'{folder}: cannot be written ({first_line(error)}); nothing was '
                                 'changed: free some room or give another folder') from error


def check_place(folder: Path) -> None:
    """Check that references can be written to a folder, before anyone has made them.

    Raises:
        ReferenceLoadError: if it is a file, or holds something else.
        OutputError: if it cannot be made there.
    """
    if folder.exists():
        check_ours(folder)
    check_name(folder)
    check_folder(Path(os.path.realpath(folder)).parent, overwrite=True)  # where it is written first


def check_ours(folder: Path) -> None:
    """Raise ReferenceLoadError if a path is no folder, or one with files of something else."""
    if not folder.is_dir():
        raise ReferenceLoadError(f'{folder}: is a file; give a folder')
    others = [path.name for path in folder.iterdir() if not _OURS.fullmatch(path.name)]
    if others:
        raise ReferenceLoadError(f'{folder}: holds something that is no reference '
                                 f'({sorted(others)[0]}); give another folder')


def read_references(folder: Path) -> tuple[list[Reference], list[Part]]:
    """Return the references in a folder, and the names and colours of their parts.

    Raises:
        ReferenceLoadError: if they cannot be read.
    """
    views = sorted((path for path in folder.glob('view_*') if path.is_dir()),
                   key=lambda path: (len(path.name), path.name))
    references = [Reference.load(path) for path in (folder, *views)]
    most = max(len(reference.parts) for reference in references)
    named = read_facts(folder).parts
    parts = []
    for place in range(most):
        known = named[place] if place < len(named) else PartFacts()
        colour = known.colour
        if not re.fullmatch('#[0-9a-fA-F]{6}', colour):
            colour = DEFAULT_COLOURS[place % len(DEFAULT_COLOURS)]
        parts.append(Part(known.name[:40] or f'part {place + 1}', colour))
    return references, parts
