# SPDX-License-Identifier: Apache-2.0
"""Compiles a network and compares it with torch: in this process, or in one of its own.

Tracing and converting are seconds of Python. In a thread they would hold up the Python of the
frames, which wants the interpreter's lock again after every small operation of torch.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor, nn

from samg_ros.errors import first_line

_LOOKS_S = 0.2
"""How often each process looks whether the other one is still there."""
TOLERANCE = 1e-3
"""Largest difference from torch in float32, as a share of the largest value of an output. Another
order of summation makes some 1e-5; a wrong operator makes much more."""

Network = Callable[..., tuple[Tensor, ...]]


class Engine(Protocol):
    """What compiles networks.

    Attributes:
        name: as in `MaskerSettings.engine`.
        dtype: what networks compute in.
        threads: with how many threads of the CPU.
        identity: what a compiled network depends on beside the network, plain JSON types.
    """

    name: str
    dtype: str
    threads: int
    identity: list[Any]

    def compile(self, network: nn.Module, example: tuple[Tensor, ...]) -> bytes:
        """Return a network compiled for the shapes of an example."""

    def load(self, data: bytes) -> Network:
        """Return a network that `compile` compiled."""


def compile_here(engine: Engine, network: nn.Module,
                 example: tuple[Tensor, ...]) -> tuple[bytes, Network]:
    """Return a network compiled for the shapes of an example, for `load`, and loaded.

    Raises:
        Exception: of torch or the engine, if it cannot be converted.
        ArithmeticError: if it does not give what torch gives.
    """
    data = engine.compile(network.eval(), example)
    found = engine.load(data)
    if engine.dtype == 'float32':
        _compare(found(*example), network(*example))
    return data, found


def compile_elsewhere(engine: Engine, network: nn.Module, example: tuple[Tensor, ...]) -> bytes:
    """Return what `compile_here` does, for `load`, from a process that ends with this one.

    Raises:
        RuntimeError: what was raised there.
        Exception: of pickle, if the network cannot be sent there.
        SystemExit: if the main thread has ended meanwhile.
    """
    task = pickle.dumps((type(engine), engine.dtype, engine.threads, network, example))
    process = subprocess.Popen(  # in a session of its own, as Ctrl-C is for this process
        [sys.executable, '-c', f'from {__name__} import main; main({os.getpid()})'],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True, env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)})
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
        pipe.write(task)  # communicate() sends no more of it after a timeout
    process.stdin = None
    while True:
        try:
            answer, said = process.communicate(timeout=_LOOKS_S)
            break
        except subprocess.TimeoutExpired:
            if not threading.main_thread().is_alive():
                process.kill()
                sys.exit()
    if process.returncode:
        last = said.decode(errors='replace').strip().rpartition('\n')[2]
        raise RuntimeError(last or f'the compiling process ended with {process.returncode}')
    return answer


def main(parent: int) -> NoReturn:
    """Compile what comes on standard input, and write it to standard output.

    Args:
        parent: process that asked for it; this one ends with it.
    """
    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOKS_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    answer = os.dup(1)
    os.dup2(2, 1)  # what libraries print is no part of the answer
    try:
        kind, dtype, threads, network, example = pickle.load(sys.stdin.buffer)
        torch.set_num_threads(threads)
        with torch.no_grad():
            data, _ = compile_here(kind(dtype, threads), network, example)
        with open(answer, 'wb') as file:
            file.write(data)
    except Exception as error:  # noqa: BLE001  # whatever it is, the other process says it
        print(first_line(error)[:200], file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def _compare(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    """Raise ArithmeticError if outputs are not the same to rounding."""
    for ours, theirs in zip(found, expected, strict=True):
        if theirs.dtype == torch.bool:  # a logit of nearly zero may round to either side
            if (ours != theirs).float().mean() > TOLERANCE:
                raise ArithmeticError('its masks differ from those of torch')
            continue
        ours, theirs = ours.double(), theirs.double()
        allowed = TOLERANCE * torch.where(theirs.isfinite(), theirs, 0).abs().max()
        difference = torch.where(ours == theirs, 0, (ours - theirs).abs()).max()  # also infinities
        if not difference <= allowed:
            raise ArithmeticError(f'its result differs from that of torch by {difference:.2g}')
