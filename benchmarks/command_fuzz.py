# SPDX-License-Identifier: Apache-2.0
"""Odd command lines for every `samg` command: each must work, or be refused in one line, and soon.

    python benchmarks/command_fuzz.py --lines 500
    python benchmarks/command_fuzz.py --lines 20 --commands 'mask' 'eval bag' --seed 7 --show

A small line of each command that works is spoiled: numbers that are none or out of range, words
that are no choice, files of another kind, pipes, outputs that cannot be written or that hold the
user's own files, malformed settings, options left out or given twice, an environment that nothing
can run in. Each line runs in a process of its own among copies of the user's files. It is a fault
if a traceback is printed, if the process crashes or does not end within `--limit` seconds, if what
cannot work ends with status 0, if a refusal is not one line that begins with `samg: `, or if a file
of the user is changed.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import random
import resource
import shlex
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import command_lines
from command_lines import LINES, PATHS, Line, make_files

from samg_ros import cli

MOST_MEMORY = 6 * 2**30
"""Bytes that a command may take."""
OUTCOMES = ('worked', 'refused', 'fault')
LASTING = {('reference', 'make'), ('demo', 'arm'), ('train', 'mini'), ('train', 'expert')}
"""Commands that serve a page until they are asked to end, or that work for minutes."""
LOOKED_AT_S = 40.
"""Seconds after which such a command is ended: what is refused is refused before."""


class Spoiled(NamedTuple):
    """A command line, and what is known of it."""

    arguments: tuple[str, ...]
    environment: dict[str, str]
    must_fail: bool
    may_change: frozenset[str] = frozenset()
    """Names of files that it may replace: it says --overwrite."""
    may_last: bool = False
    """It asks for work without end, as a training of very many steps is."""


def spoil(line: Line, rng: random.Random) -> Spoiled:
    """Return a line with one thing wrong in it, or, now and then, as it is."""
    arguments = list(line.arguments)
    way = rng.choice(_WAYS)
    return way(line, arguments, rng) or Spoiled(line.arguments, {}, False)


def _number(line: Line, arguments: list[str], rng: random.Random) -> Spoiled | None:
    places = [at for at, each in enumerate(arguments) if each.replace('.', '', 1).isdecimal()]
    if not places:
        return None
    word, wrong = rng.choice(command_lines.NUMBERS)
    arguments[rng.choice(places)] = word
    return Spoiled(tuple(arguments), {}, wrong, may_last=len(word) > 20)


def _path(line: Line, arguments: list[str], rng: random.Random) -> Spoiled | None:
    places = [at for at, each in enumerate(arguments) if each in PATHS]
    if not places:
        return None
    at = rng.choice(places)
    others = [each for each in (*command_lines.ODD_PATHS, *PATHS) if each != arguments[at]]
    word = rng.choice(others)
    arguments[at] = word
    return Spoiled(tuple(arguments), {}, word in command_lines.ODD_PATHS and bool(word))


def _output(line: Line, arguments: list[str], rng: random.Random) -> Spoiled | None:
    places = [at for at, each in enumerate(arguments) if each.startswith('new')]
    if not places:
        return None
    at = rng.choice(places)
    word = rng.choice((*command_lines.BAD_OUTPUTS, *command_lines.USERS_OUTPUTS))
    arguments[at] = word
    overwrite = '--overwrite' in arguments or rng.random() < 0.2
    if overwrite and '--overwrite' not in arguments:
        arguments.append('--overwrite')
    none = not word and line.path[0] == 'run'  # launch files have no other word for it
    must_fail = word in command_lines.BAD_OUTPUTS and arguments[at - 1] != '--run-dir' and not none
    return Spoiled(tuple(arguments), {}, must_fail, frozenset([word] if overwrite else ()))


def _setting(line: Line, arguments: list[str], rng: random.Random) -> Spoiled | None:
    if '--set' not in arguments:
        return None
    return Spoiled((*arguments, '--set', rng.choice(command_lines.SETTINGS)), {}, True)


def _option(line: Line, arguments: list[str], rng: random.Random) -> Spoiled:
    kind = rng.randrange(4)
    if kind == 0:
        return Spoiled((*arguments, rng.choice(('--nothing', '-x', '--seed='))), {}, True)
    options = [at for at, each in enumerate(arguments) if each.startswith('--')]
    if kind == 1 and options:  # without its value
        at = rng.choice(options) + 1
        return Spoiled((*arguments[:at], *arguments[at + 1:]), {}, False)
    if kind == 2:
        option, word = rng.choice(command_lines.WORDS)
        return Spoiled((*arguments, option, word), {}, option in ('--seed', '--preset'))
    places = [at for at, each in enumerate(arguments) if at >= len(line.path)]
    if places:
        arguments[rng.choice(places)] = rng.choice(command_lines.ODD_WORDS)
    return Spoiled(tuple(arguments), {}, False)


def _environment(line: Line, arguments: list[str], rng: random.Random) -> Spoiled:
    name, value = rng.choice(command_lines.ENVIRONMENT)
    return Spoiled(tuple(arguments), {name: value}, False)


def _as_it_is(line: Line, arguments: list[str], rng: random.Random) -> Spoiled:
    return Spoiled(line.arguments, {}, False)


_WAYS: tuple[Callable[[Line, list[str], random.Random], Spoiled | None], ...] = (
    _number, _number, _path, _path, _path, _output, _output, _setting, _option, _option,
    _environment, _as_it_is)


def contents(folder: Path) -> dict[str, str]:
    """Return name -> digest of every file below a folder."""
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob('*')) if path.is_file()}


def run(spoiled: Spoiled, folder: Path, limit_s: float) -> tuple[int | None, str, str]:
    """Run a line in a process of its own.

    Args:
        spoiled: the line.
        folder: to run in.
        limit_s: after so many seconds it is ended.

    Returns:
        Its exit status, negative for a signal and None if it had to be ended; what it wrote to
        standard output; what to standard error.
    """
    outputs = [folder.with_name(f'{folder.name}.{name}') for name in ('out', 'err')]
    child = os.fork()
    if not child:
        os.setpgrp()
        for number, path in enumerate(outputs, 1):
            os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY,) * 2)
        os.chdir(folder)
        os.environ.update(spoiled.environment)
        status = 1
        try:
            status = cli.main(spoiled.arguments)
        except SystemExit as end:  # of --help
            status = end.code if isinstance(end.code, int) else 1
        except BaseException:  # noqa: BLE001  Python prints it, and so does this
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    deadline, ended = time.monotonic() + limit_s, 0
    while time.monotonic() < deadline and not ended:
        ended, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.02)
    if not ended:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
    out, err = (path.read_text(errors='replace') for path in outputs)
    for path in outputs:
        path.unlink()
    return (os.waitstatus_to_exitcode(status) if ended else None), out, err


def judge(spoiled: Spoiled, status: int | None, out: str, err: str, before: dict[str, str],
          after: dict[str, str]) -> tuple[str, str]:
    """Return one of OUTCOMES, and for a fault what it is."""
    lines = err.strip().splitlines()
    changed = [name for name, digest in before.items() if after.get(name) != digest
               and not {name, *map(str, Path(name).parents)} & spoiled.may_change]
    if 'Traceback (most recent call last)' in out + err:
        return 'fault', f'a traceback: {lines[-1][:200] if lines else out[-200:]}'
    if status in (0, None) and spoiled.must_fail:
        return 'fault', f'it cannot work, and is not refused (status {status})'
    if status is None and not spoiled.may_last and spoiled.arguments[:2] not in LASTING:
        return 'fault', 'does not end'
    if status is not None and status < 0:
        return 'fault', f'ended by signal {-status}: {" ".join(lines[-1:])[:200]}'
    if changed:
        return 'fault', f'a file of the user changed: {changed[0]}'
    if status == 0 and any(line.startswith('samg: error') for line in lines):
        return 'fault', f'status 0 with an error: {lines[-1][:200]}'
    if status == 2 and (not lines or not lines[-1].startswith('samg: ')):
        return 'fault', f'refused without a line that says so: {" ".join(lines[-1:])[:200]}'
    return ('refused' if status == 2 else 'worked'), ''


def _apart(work: Callable[[Path], object], path: Path) -> None:
    """Work in a process of its own: OpenMP's threads, once begun here, hang in every fork."""
    process = multiprocessing.get_context('fork').Process(target=work, args=(path,))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f'the files cannot be made: status {process.exitcode}')


def _spoiled(commands: list[str], seed: int, numbers: range
             ) -> Iterator[tuple[int, str, Spoiled]]:
    """Yield number, command and line."""
    for number in numbers:
        name = commands[number % len(commands)]
        rng = random.Random(f'{name} {seed} {number}')
        yield number, name, spoil(rng.choice(LINES[name]), rng)


def _as_they_are(commands: list[str]) -> Iterator[tuple[int, str, Spoiled]]:
    lines = [(name, line) for name in commands for line in LINES[name]]
    for number, (name, line) in enumerate(lines):
        yield number, name, Spoiled(line.arguments, {}, False)


def main() -> int:
    """Print the counts, and every fault."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [' '.join(path) for path in cli.COMMANDS]
    parser.add_argument('--lines', type=int, default=500, help='over all commands (%(default)s)')
    parser.add_argument('--commands', nargs='+', choices=names, default=names, metavar='COMMAND')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--first', type=int, default=0, help='number of the first line')
    parser.add_argument('--limit', type=float, default=300, metavar='SECONDS')
    parser.add_argument('--show', action='store_true', help='every line and what it says')
    parser.add_argument('--as-they-are', action='store_true',
                        help='every line of command_lines.py once, nothing spoiled')
    args = parser.parse_args()
    for name in command_lines.HEAVY:  # once, not in each process
        __import__(name)
    sys.stdout.reconfigure(errors='backslashreplace')  # type: ignore[union-attr]
    total: Counter[str] = Counter()
    by_command: dict[str, Counter[str]] = {name: Counter() for name in args.commands}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        files = Path(place) / 'files'
        _apart(make_files, files)
        before = contents(files)
        numbered = _as_they_are(args.commands) if args.as_they_are else _spoiled(
            args.commands, args.seed, range(args.first, args.first + args.lines))
        for number, name, spoiled in numbered:
            folder = Path(place) / f'line_{number}'
            shutil.copytree(files, folder, ignore=shutil.ignore_patterns('pipe*'))
            os.mkfifo(folder / 'pipe.mp4')
            started = time.monotonic()
            lasting = spoiled.may_last or spoiled.arguments[:2] in LASTING
            status, out, err = run(spoiled, folder, min(args.limit, LOOKED_AT_S) if lasting
                                   else args.limit)
            outcome, what = judge(spoiled, status, out, err, before, contents(folder))
            shutil.rmtree(folder)
            by_command[name][outcome] += 1
            total[outcome] += 1
            line = shlex.join([*(f'{key}={value}' for key, value in spoiled.environment.items()),
                               'samg', *spoiled.arguments])
            if outcome == 'fault' or args.show:
                print(f'{number} {outcome} ({status}, {time.monotonic() - started:.0f} s): {line}\n'
                      f'    {what or (err.strip().splitlines() or [""])[-1][:300]}', flush=True)
    for name, counts in by_command.items():
        print(f'{name:22}' + ''.join(f'{each} {counts[each]:4}   ' for each in OUTCOMES))
    print(f'{"all":22}' + ''.join(f'{each} {total[each]:4}   ' for each in OUTCOMES)
          + f'{time.monotonic() - began:6.0f} s')
    return int(bool(total['fault']))


if __name__ == '__main__':
    sys.exit(main())
