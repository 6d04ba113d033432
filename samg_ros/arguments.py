# SPDX-License-Identifier: Apache-2.0
"""Arguments that several commands take: their types, and outputs that are checked beforehand."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from samg_ros.errors import ConfigError, OutputError
from samg_ros.files.outputs import check_file, check_folder

LARGEST_SEED = 2**31 - 1
"""Fits every generator that is seeded here, with room for the numbers that are added to it."""


class Output(NamedTuple):
    """An output that the command line names."""

    option: str
    """As typed, such as --json."""
    name: str
    """Of its value in the parsed arguments."""
    path: Path
    is_folder: bool
    is_shared: bool
    """A folder that may hold other files too."""


class _OutputAction(argparse.Action):
    """Stores a path, and notes it in `samg_outputs` for `check_outputs`."""

    is_folder, is_shared = False, False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{'type': path_argument, **options})

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace,
                 values: Any, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, values)
        if not values:
            return
        outputs = getattr(namespace, 'samg_outputs', [])
        namespace.samg_outputs = [*outputs, Output(
            option_string or self.dest, self.dest, Path(values), self.is_folder, self.is_shared)]


class OutputFile(_OutputAction):
    """argparse action of an option that names a file to write."""


class OutputFolder(_OutputAction):
    """argparse action of an option that names a folder for results."""

    is_folder = True


class RunFolder(_OutputAction):
    """argparse action of an option that names a run folder; a run that is there goes on."""

    is_folder, is_shared = True, True


def add_json(parser: argparse.ArgumentParser, what: str = 'figures') -> None:
    """Declare `--json FILE` and `--overwrite`."""
    parser.add_argument('--json', action=OutputFile, default=None, metavar='FILE',
                        help=f'write the {what} there too')
    add_overwrite(parser)


def add_out(parser: argparse.ArgumentParser, words: str, required: bool = False) -> None:
    """Declare `--out DIR` and `--overwrite`."""
    parser.add_argument('--out', action=OutputFolder, default=None, metavar='DIR', help=words,
                        required=required)
    add_overwrite(parser)


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Declare `--overwrite`, once however often this is called."""
    if parser.get_default('overwrite') is None:
        parser.add_argument('--overwrite', action='store_true',
                            help='replace files that exist')


def add_seed(parser: argparse.ArgumentParser, words: str) -> None:
    """Declare `--seed N`."""
    parser.add_argument('--seed', type=seed, default=0, metavar='N',
                        help=f'{words} (%(default)s)')


def refuse_unused(args: argparse.Namespace, names: Iterable[str], why: str) -> None:
    """Refuse options that would be ignored.

    Args:
        args: a parsed command line.
        names: of the options, as in `args`.
        why: what follows their name, such as "is for bags".

    Raises:
        ConfigError: if one has another value than its default.
    """
    defaults = getattr(args, 'samg_defaults', {})
    for name in names:
        if getattr(args, name, None) not in (defaults.get(name, False), None, []):
            raise ConfigError(f"--{name.replace('_', '-')} {why}; leave it out")


def check_outputs(args: argparse.Namespace) -> None:
    """Check the outputs of a parsed command line, before the work begins.

    Raises:
        OutputError: if one cannot be written, exists already, is named twice, or is also an
            input of the same command.
    """
    outputs: list[Output] = getattr(args, 'samg_outputs', [])
    others = list(_other_paths(args, {each.name for each in outputs})) if outputs else []
    for index, output in enumerate(outputs):
        place = os.path.realpath(output.path)
        if place in others:
            raise OutputError(f"{output.option} names '{output.path}', which is also an input; "
                              'give another name')
        if any(place == os.path.realpath(each.path) for each in outputs[:index]):
            raise OutputError(f"'{output.path}' is named twice; give each output its own name")
        check = check_folder if output.is_folder else check_file
        check(output.path, output.is_shared or getattr(args, 'overwrite', False))


def _other_paths(args: argparse.Namespace, outputs: set[str]) -> Iterator[str]:
    """Every path that the arguments of other names may mean, with links followed."""
    for name, value in vars(args).items():
        if name in outputs:
            continue
        for each in value if isinstance(value, list | tuple) else [value]:
            if isinstance(each, str):
                each = each.rpartition('=')[2]  # of NAME=PATH
            if isinstance(each, str | Path) and str(each):
                yield os.path.realpath(str(each).replace('\0', ''))


def path_argument(text: str) -> Path:
    """Read a path; `~` is the home folder.

    Raises:
        argparse.ArgumentTypeError: if it is empty, has a null character, or `~USER` names no user.
    """
    if not text or '\0' in text:
        raise argparse.ArgumentTypeError(f'{text!r} is not a path')
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f'{text!r}: {error}') from error


def named_path(text: str) -> str:
    """Read NAME=PATH; `~` at the beginning of the path is the home folder."""
    name, equals, path = text.partition('=')
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f'{text!r}: expected NAME=PATH')
    return f'{name}={path_argument(path)}'


def optional_path(text: str) -> str:
    """Read a path as `path_argument` does; an empty text, for none, stays empty."""
    return str(path_argument(text)) if text else ''


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return an argparse type: a whole number from `least` to `most`, or that an index can be."""
    limits = f'from {least} to {most}' if most is not None else f'of at least {least}'

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = None
        if number is None or not least <= number <= (sys.maxsize if most is None else most):
            raise argparse.ArgumentTypeError(f'{text[:60]!r}: expected a whole number {limits}')
        return number

    return read


def number(least: float, most: float = math.inf) -> Callable[[str], float]:
    """Return an argparse type: a finite number from `least` to `most`."""
    limits = f'from {least:g} to {most:g}' if math.isfinite(most) else f'of at least {least:g}'

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and least <= value <= most):
            raise argparse.ArgumentTypeError(f'{text[:60]!r}: expected a number {limits}')
        return value

    return read


seed = whole(0, LARGEST_SEED)
"""argparse type of a seed."""


def names(text: str) -> list[str]:
    """Read `NAME[,NAME...]`, for argparse's `type` with `action='extend'`."""
    found = text.split(',')
    if not all(found):  # nothing is not the default, as of a shell's variable that is not set
        raise argparse.ArgumentTypeError(f'{text[:60]!r}: expected values with commas in between')
    return found


def whole_numbers(text: str) -> list[int]:
    """Read `N[,N...]`, each 0 or more, likewise."""
    return [whole(0)(number) for number in names(text)]


def seeds(text: str) -> list[int]:
    """Read `SEED[,SEED...]`, likewise."""
    return [seed(number) for number in names(text)]


def parse_settings(pairs: list[str], own: Iterable[str] = (), **options: Any) -> dict[str, Any]:
    """Turn NAME=VALUE strings, the value as JSON or a plain word, into overrides.

    Args:
        pairs: of `--set`.
        own: settings that an option of their own alone can give.
        options: settings that an option can give too, and its value; None if it does not. The
            others are part of what is returned.

    Raises:
        ConfigError: if there is no '=', no name, a name comes twice, or a number is not finite.
    """
    given = {name: value for name, value in options.items() if value is not None}
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition('=')
        if not equals or not name:
            raise ConfigError(f"'{pair}' is not a setting; write NAME=VALUE")
        if name in given or name in own:
            raise ConfigError(f"the setting '{name}' has an option of its own: give it by "
                              f"--{name.replace('_', '-')} alone")
        if name in values:
            raise ConfigError(f"the setting '{name}' is given twice; give it once")
        try:
            values[name] = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            values[name] = text
    return values | given


def _refuse_constant(text: str) -> None:
    raise ConfigError(f'{text} is not a usable value; give a finite number')
