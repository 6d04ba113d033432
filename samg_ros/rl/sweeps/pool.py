# SPDX-License-Identifier: Apache-2.0
"""Many runs, spread by Ray over the cores and GPUs of this machine or of a cluster.

Each run has a process of its own, pinned to as many cores as are its share, and whatever it prints
goes into log.txt in its folder. A run that fails, or whose process dies, is reported with the last
lines of that log and started again, and then goes on from its checkpoint.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from samg_ros.errors import ConfigError
from samg_ros.interruption import stop_on_signals
from samg_ros.progress import ProgressLine
from samg_ros.rl.sweeps.cluster import LOCAL, NO_RAY, connect

if TYPE_CHECKING:
    from samg_ros.rl.sweeps.runs import Run

LOG_NAME = 'log.txt'
"""Name of what a run printed, in its folder."""

_LAST_LINES = 5
_LOOK_EVERY_S = 2.0


@dataclass(frozen=True)
class Spread:
    """How many runs are carried out.

    Raises:
        ConfigError: if a number is not usable.
    """

    address: str = LOCAL
    """Of a Ray cluster; LOCAL or NO_RAY."""
    cores: int = 2
    """CPU cores of each run."""
    gpus: float = 0.0
    """GPUs of each run; a fraction lets runs share one."""
    retries: int = 1
    """How often a run that failed is started again."""

    def __post_init__(self) -> None:
        for name, least in (('cores', 1), ('gpus', 0), ('retries', 0)):
            if getattr(self, name) < least:
                raise ConfigError(f'{name} must be at least {least}, got {getattr(self, name)}')


class Failure(NamedTuple):
    """A run that failed as often as it was allowed to."""

    run: Run
    attempts: int
    last_lines: str
    """Of its log, or what Ray says of it."""


def carry_out(runs: Sequence[Run], spread: Spread) -> list[Failure]:
    """Carry out runs; those that are finished are left alone.

    Args:
        runs: in folders of their own.
        spread: over what, and how often.

    Returns:
        The runs that failed, in the order in which they gave up.

    Raises:
        MissingDependencyError: if Ray was asked for and is not installed.
        ConfigError: if no machine of the cluster is large enough for a run.
    """
    waiting = deque(run for run in runs if run.scores() is None)
    if len(waiting) < len(runs):
        _say(f'{len(runs) - len(waiting)} of {len(runs)} runs are finished already')
    if not waiting:
        return []
    ended = _one_by_one(waiting) if spread.address == NO_RAY else _over_ray(waiting, spread)
    attempts: dict[Path, int] = {}
    failures, finished = [], len(runs) - len(waiting)
    for run, error in ended:
        if error is None:
            finished += 1
            _say(f'{run.folder.name}: finished ({finished} of {len(runs)})')
            continue
        attempts[run.folder] = attempts.get(run.folder, 0) + 1
        lines = _last_lines(run.folder / LOG_NAME) or error
        again = attempts[run.folder] <= spread.retries
        _say(f'{run.folder.name}: failed{", and is started again" if again else ""}\n{lines}')
        if again:
            waiting.append(run)
        else:
            failures.append(Failure(run, attempts[run.folder], lines))
    return failures


def _one_by_one(waiting: deque[Run]) -> Iterator[tuple[Run, str | None]]:
    """Carry out what waits, in this process; yields each run and its error, if any."""
    while waiting:
        run = waiting.popleft()
        _say(f'{run.folder.name}: started; what it prints is in {run.folder / LOG_NAME}')
        yield run, _logged(run)


def _over_ray(waiting: deque[Run], spread: Spread) -> Iterator[tuple[Run, str | None]]:
    """Carry out what waits, and what is put back meanwhile, each in a process of Ray's."""
    ray = connect(spread.address, spread.cores, spread.gpus)
    work = ray.remote(max_calls=1, max_retries=0)(_work).options(
        num_cpus=spread.cores, num_gpus=spread.gpus)
    under_way: dict[Any, Run] = {}
    line = ProgressLine()
    with ExitStack() as stack:
        stack.callback(ray.shutdown)
        stack.callback(line.close)
        # Ray has put up a handler of its own, which ends this process before Ray's.
        should_stop = stack.enter_context(stop_on_signals())
        while waiting or under_way:
            if should_stop():
                raise KeyboardInterrupt
            while waiting:
                run = waiting.popleft()
                under_way[work.remote(run, spread.cores)] = run
            ended, _ = ray.wait(list(under_way), timeout=_LOOK_EVERY_S)
            line.update(_shares_done(under_way.values()))
            for task in ended:
                line.close()
                run, error = under_way.pop(task), None
                try:
                    error = ray.get(task)
                except ray.exceptions.RayError as died:
                    error = f'its process died: {" ".join(str(died).split())}'
                    _note(run, error)
                yield run, error


def _shares_done(runs: Iterable[Run]) -> str:
    begun = [f'{run.folder.name} {run.share_done:.0%}' for run in runs
             if (run.folder / LOG_NAME).exists()]
    return f'training: {", ".join(begun) or "about to begin"}'


def _work(run: Run, cores: int) -> str | None:
    """Carry out a run in a process that exists for it alone; returns its error."""
    os.environ['OMP_NUM_THREADS'] = str(cores)
    held = _take_cores(cores)
    try:
        import torch

        torch.set_num_threads(cores)
        return _logged(run)
    finally:
        for file in held:
            os.close(file)


def _take_cores(count: int) -> list[int]:
    """Pin this process to cores that no other run has; returns what holds them.

    Everything that counts cores to choose its number of threads then finds its share: torch,
    OpenCV, MuJoCo's software renderer.
    """
    import fcntl

    held, mine = [], []
    for core in sorted(os.sched_getaffinity(0)):
        path = Path(tempfile.gettempdir()) / f'samg-core-{core}.lock'
        with ExitStack() as stack:
            try:
                file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o666)
                stack.callback(os.close, file)
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue  # another run has it; or another user made the file
            stack.pop_all()
        held.append(file)
        mine.append(core)
        if len(mine) == count:
            os.sched_setaffinity(0, mine)
            return held
    # Others have taken more than their share, as two sweeps at once do: the kernel shares them out.
    return held


def _logged(run: Run) -> str | None:
    """Carry out a run with its log as output; returns the error, if there was one."""
    run.folder.mkdir(parents=True, exist_ok=True)
    with (run.folder / LOG_NAME).open('a', buffering=1) as log, \
            redirect_stdout(log), redirect_stderr(log):
        try:
            run.carry_out()
        except Exception as error:  # noqa: BLE001  one run's failure must not end the others
            traceback.print_exc()
            return f'{type(error).__name__}: {error}'
    return None


def _note(run: Run, line: str) -> None:
    run.folder.mkdir(parents=True, exist_ok=True)
    with (run.folder / LOG_NAME).open('a') as log:
        log.write(f'{line}\n')


def _last_lines(path: Path) -> str:
    lines = path.read_text(errors='replace').splitlines() if path.is_file() else []
    return '\n'.join(f'  {line}' for line in lines[-_LAST_LINES:])


def _say(line: str) -> None:
    print(f'{time.strftime("%H:%M:%S")} {line}', file=sys.stderr, flush=True)
