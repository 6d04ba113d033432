# SPDX-License-Identifier: Apache-2.0
"""A masker that does not wait for its engine: torch masks until the networks are compiled."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from samg_ros.masking import Masker, MaskerSettings
from samg_ros.masking.engines import compiled
from samg_ros.masking.engines.comparison import iou
from samg_ros.masking.engines.library import is_installed
from samg_ros.masking.models import load_model

ENGINES = [pytest.param(name, marks=pytest.mark.skipif(not is_installed(name), reason=f'no {name}'))
           for name in ('openvino', 'onnxruntime')]
START_S = 300.0
"""Within which a process has compiled, on a machine that may be busy otherwise."""
END_S = 30.0
MAIN = """
import time
import numpy as np
from samg_ros.masking import Masker, Reference
from samg_ros.masking.models import load_model
mask = np.zeros((32, 32), bool)
mask[8:24, 8:24] = True
picture = np.where(mask[..., None], np.uint8(200), np.uint8(20)).repeat(3, axis=2)
masker = Masker(load_model('mini'), wait_for_engine=False).fit(Reference(picture, mask))
masker(picture[None])
print(masker.engine, flush=True)
"""


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """An empty cache folder, and no network in memory."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setattr(compiled, '_SHARED', type(compiled._SHARED)())


@pytest.fixture
def gate(monkeypatch):
    """Keeps networks from being compiled until it is set."""
    gate, compile_elsewhere = threading.Event(), compiled.compile_elsewhere

    def late(*arguments):
        gate.wait()
        return compile_elsewhere(*arguments)

    monkeypatch.setattr(compiled, 'compile_elsewhere', late)
    yield gate
    gate.set()


def until(condition, limit_s=START_S):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def live_masker(engine, **settings):
    return Masker(load_model('mini'), MaskerSettings(engine=engine, **settings), 'cpu', 'mini',
                  None, wait_for_engine=False)


@pytest.mark.parametrize('engine', ENGINES)
def test_torch_masks_until_the_engine_has_compiled_and_it_is_said(fresh, gate, walker, frames,
                                                                 engine):
    masker = live_masker(engine).fit(walker)
    slow = Masker.load('mini', MaskerSettings(engine='torch')).fit(walker)
    larger = frames[:1].repeat(2, axis=1).repeat(2, axis=2)
    for shown in (frames[:1], larger):
        assert torch.equal(masker.predict(shown).logits, slow.predict(shown).logits)
        assert masker.engine.startswith(f'{engine}; torch until')
        assert masker.describe()['engine'] == masker.engine
    gate.set()
    until(lambda: masker.engine == engine)
    for shown in (frames[:1], larger):
        found, expected = masker.predict(shown), slow.predict(shown)
        assert masker.engine == engine  # it was there already
        assert not torch.equal(found.logits, expected.logits)
        assert iou(found.masks.numpy(), expected.masks.numpy()).min() > 0.98


@pytest.mark.parametrize('engine', ENGINES[:1])
def test_of_very_many_sizes_no_more_than_some_are_compiled(fresh, gate, walker, frames, engine):
    masker = live_masker(engine, second_look=False).fit(walker)
    for side in range(40, 40 + 2 * compiled.FINDS):
        masker(frames[:1, :side])
    networks = masker._frame_model._networks
    assert sum(call[0] == 'all' for call in networks.waiting) == compiled.FINDS
    assert len(networks.waiting) == compiled.FINDS + 2  # encoders and decoder do for all others
    assert sum(thread.name == 'compiler' for thread in threading.enumerate()) == 1
    networks.tasks.clear()


@pytest.mark.parametrize('engine', ENGINES[:1])
def test_what_cannot_be_compiled_stays_in_torch_and_says_why(fresh, walker, frames, engine):
    masker = live_masker(engine)
    masker._model.decode = lambda *arguments: type(masker._model).decode(masker._model, *arguments)
    masker.fit(walker)(frames[:1])
    until(lambda: 'until' not in masker.engine)
    assert 'all in torch (' in masker.engine and 'pickle' in masker.engine
    masker(frames[:1])


@pytest.mark.parametrize('engine', ENGINES[:1])
def test_one_that_waits_is_never_run_by_torch_beside_one_that_does_not(fresh, gate, walker, frames,
                                                                       engine):
    live_masker(engine).fit(walker)(frames[:1])
    first = Masker.load('mini', MaskerSettings(engine=engine)).fit(walker)
    gate.set()
    logits = first.predict(frames[:1]).logits
    assert torch.equal(logits, first.predict(frames[:1]).logits)


def compilers(parent):
    """Processes that compile for another one."""
    found = []
    for folder in Path('/proc').iterdir():
        if folder.name.isdecimal():
            try:
                command = (folder / 'cmdline').read_bytes()
            except OSError:
                continue
            if f'main({parent})'.encode() in command and folder.name != str(os.getpid()):
                found.append(int(folder.name))
    return found


@pytest.mark.parametrize('engine', ENGINES[:1])
@pytest.mark.parametrize('ending', ['', signal.SIGTERM, signal.SIGKILL])
def test_compiling_ends_with_the_process(tmp_path, engine, ending):
    process = subprocess.Popen(
        [sys.executable, '-c', MAIN + ('time.sleep(600)' if ending else '')],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, 'XDG_CACHE_HOME': str(tmp_path),
             'PYTHONPATH': os.pathsep.join(sys.path)})
    try:
        assert 'torch until' in process.stdout.readline()
        if ending:
            until(lambda: compilers(process.pid))
            process.send_signal(ending)
        assert process.wait(END_S) == -ending if ending else process.wait(END_S) == 0
        until(lambda: not compilers(process.pid), END_S)
        assert not process.stderr.read()
    finally:
        process.kill()
