# SPDX-License-Identifier: Apache-2.0
"""Odd files for every loader: each must be read, or refused in one line, and soon.

    python benchmarks/file_fuzz.py --files 2000
    python benchmarks/file_fuzz.py --files 100 --kinds checkpoint bag --seed 7

A good file of each kind is written by the package itself; then bytes are changed, cut, doubled or
put in, numbers and words of texts are replaced, and members of archives are exchanged. A loader may
return, or raise an error of the package with one line; any other error, a crash, memory of more
than `MOST_MEMORY` or more than `LONGEST_S` seconds is a fault, and is printed with its seed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from file_kinds import KINDS, Kind

from samg_ros.errors import SamgError

LONGEST_S = 60
OURS = 77
"""Exit status of a process whose generator is at fault, not a loader."""
GRACE_S = 15
"""A library that waits in the kernel sees no alarm: its process is ended so much later."""
MOST_MEMORY = 6 * 2**30
"""Bytes that a loader may add to what the process had before."""
_WORDS = (b'nan', b'-1', b'1e999', b'0', b'null', b'true', b'[]', b'{}', b'""', b'"a"', b'~',
          b'99999999999999999999', b'!!python/object/apply:os.getcwd []', b'\xff\xfe', b'\x00',
          b'\x1b[2J', b'&a [*a]', b'../../../../etc/passwd', b'x' * 5000)
_TOKEN = re.compile(rb'-?\d+(?:\.\d+)?|"[^"]*"|true|false|null|[A-Za-z_]{3,}')
OUTCOMES = ('read', 'refused', 'fault')


class Fault(NamedTuple):
    """A file that a loader did not refuse as it should."""

    kind: str
    number: int
    what: str


def spoil(data: bytes, rng: random.Random) -> bytes:
    """Return the content of a file with something wrong in it."""
    way = rng.randrange(9)
    if way == 0:
        return data[:rng.randrange(len(data) + 1)]
    if way == 1:
        return b''
    if way == 2:
        return rng.randbytes(rng.choice((1, 10, 1000, 100_000)))
    if way == 3:
        return data + data[:rng.randrange(len(data) + 1)]
    if way == 4 and len(data) > 20:
        start, end = sorted(rng.randrange(len(data)) for _ in range(2))
        return data[:start] + data[end:]
    if way == 5 and (tokens := list(_TOKEN.finditer(data[:100_000]))):
        for token in sorted(rng.sample(tokens, min(len(tokens), rng.randint(1, 2))),
                            key=lambda found: -found.start()):
            data = data[:token.start()] + rng.choice(_WORDS) + data[token.end():]
        return data
    if way == 6 and b'\n' in data[:100_000]:
        lines = data.split(b'\n')
        place = rng.randrange(len(lines))
        return b'\n'.join(lines[:place] + lines[place:place + 1] * 2 + lines[place:])
    changed = bytearray(data)
    # The beginning of a file says most about it.
    most = len(changed) if way == 7 else min(len(changed), 200)
    for _ in range(rng.randint(1, 8)):
        if changed:
            changed[rng.randrange(most)] = rng.choice((0, 1, 0x7f, 0x80, 0xff, rng.randrange(256)))
    return bytes(changed)


def spoil_archive(data: bytes, path: Path, rng: random.Random) -> bytes:
    """Return a zip file one of whose members is spoiled, with right checksums."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
        kind = old.infolist()[0].compress_type
    name = rng.choice(list(members))
    way = rng.randrange(4)
    if way == 0:
        del members[name]
    elif way == 1:
        members[name] = members[rng.choice(list(members))]
    else:
        members[name] = spoil(members[name], rng)
    with zipfile.ZipFile(path, 'w', kind if rng.random() < 0.8 else zipfile.ZIP_DEFLATED) as new:
        for each, content in members.items():
            new.writestr(each, content)
    return path.read_bytes()


def make_odd(kind: Kind, good: Path, folder: Path, seed: str) -> Path:
    """Copy a good file or folder, and spoil one file of it."""
    rng = random.Random(seed)
    target = folder / good.name
    if good.is_dir():
        shutil.copytree(good, target)
        victim = rng.choice(sorted(path for path in target.rglob('*') if path.is_file()))
    else:
        shutil.copy(good, target)
        victim = target
    if rng.random() < 0.02:
        victim.unlink()
        (os.mkfifo if rng.random() < 0.5 else os.mkdir)(victim)
        return target
    data = victim.read_bytes()
    if zipfile.is_zipfile(victim) and rng.random() < 0.6:
        spoil_archive(data, victim, rng)
    else:
        victim.write_bytes(spoil(data, rng))
    return target


def attempt(load: Callable[[Path], Any], path: Path) -> tuple[str, str]:
    """Load a file; returns one of OUTCOMES and what happened."""
    def too_long(*_: object) -> None:
        raise TimeoutError(f'{LONGEST_S} s were not enough')

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(LONGEST_S)
    try:
        load(path)
    except SamgError as error:
        lines = str(error).count('\n')
        return ('fault', f'{lines + 1} lines: {error}') if lines or not str(error) \
            else ('refused', str(error))
    except BaseException as error:  # noqa: BLE001  whatever comes out is a fault
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f'{Path(last.filename).name}:{last.lineno}'
        return 'fault', f'{type(error).__name__}: {error} ({place})'
    finally:
        signal.alarm(0)
    return 'read', ''


def fuzz_kind(kind: Kind, files: int, seed: int, first: int = 0
              ) -> Iterator[tuple[int, str, str]]:
    """Try the odd files of a kind from the first on; yields number, outcome and what happened."""
    with tempfile.TemporaryDirectory() as folder:
        good = kind.make(Path(folder))
        outcome, what = attempt(kind.load, good)
        if outcome != 'read':
            raise RuntimeError(f'the good file of kind {kind.name} is not read: {what}')
        for number in range(first, files):
            with tempfile.TemporaryDirectory(dir=folder) as odd:
                path = make_odd(kind, good, Path(odd), f'{kind.name} {seed} {number}')
                outcome, what = attempt(kind.load, path)
            yield number, outcome, what[:300]


def fuzz_in_child(kind: Kind, files: int, seed: int) -> tuple[Counter[str], list[Fault]]:
    """As `fuzz_kind`, in a process of its own, which a crash ends and a hang, after which comes
    another one with the next file; returns counts and faults.
    """
    counts: Counter[str] = Counter()
    faults: list[Fault] = []
    tried = 0
    while tried < files:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.close(reader)
            _answer(kind, files, seed, tried, writer)
        os.close(writer)
        for number, outcome, what in _answers(reader):
            tried = number + 1
            counts[outcome] += 1
            if outcome == 'fault':
                faults.append(Fault(kind.name, number, what))
        os.close(reader)
        if tried < files:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) == OURS:
            raise RuntimeError(f'{kind.name}: the generator failed')
        if tried < files:
            counts['fault'] += 1
            faults.append(Fault(kind.name, tried, f'the process crashed or hung ({status})'))
            tried += 1
    return counts, faults


def _answer(kind: Kind, files: int, seed: int, first: int, writer: int) -> None:
    """Write what `fuzz_kind` yields, a line of JSON each, and end the process."""
    used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_MEMORY,) * 2)
    errors = os.dup(2)
    sys.stderr = open(os.devnull, 'w')  # noqa: SIM115  libraries complain there
    os.dup2(sys.stderr.fileno(), 2)
    try:
        for each in fuzz_kind(kind, files, seed, first):
            os.write(writer, f'{json.dumps(each)}\n'.encode())
    except BaseException:  # noqa: BLE001
        os.write(errors, traceback.format_exc().encode())
        os._exit(OURS)
    os._exit(0)


def _answers(reader: int) -> Iterator[tuple[int, str, str]]:
    """Yield what comes through a pipe, until its end or for too long nothing has come."""
    waiting = b''
    while select.select([reader], [], [], LONGEST_S + GRACE_S)[0]:
        new = os.read(reader, 2**16)
        if not new:
            return
        *lines, waiting = (waiting + new).split(b'\n')
        yield from (tuple(json.loads(line)) for line in lines)


def main() -> int:
    """Print the counts, and every fault."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--files', type=int, default=2000, help='over all kinds (%(default)s)')
    parser.add_argument('--kinds', nargs='+', choices=KINDS, default=list(KINDS))
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    total: Counter[str] = Counter()
    found = []
    began = time.monotonic()
    for index, name in enumerate(args.kinds):
        files = args.files // len(args.kinds) + (index < args.files % len(args.kinds))
        started = time.monotonic()
        counts, faults = fuzz_in_child(KINDS[name], files, args.seed)
        total += counts
        found += faults
        print(f'{name:16}' + ''.join(f'{each} {counts[each]:5}   ' for each in OUTCOMES)
              + f'{time.monotonic() - started:6.0f} s', flush=True)
        for fault in faults:
            print(f'    file {fault.number}: {fault.what}', flush=True)
    print(f'{"all":16}' + ''.join(f'{each} {total[each]:5}   ' for each in OUTCOMES)
          + f'{time.monotonic() - began:6.0f} s')
    return int(bool(found))


if __name__ == '__main__':
    sys.exit(main())
