# SPDX-License-Identifier: Apache-2.0
"""Masks of a compiled masker are those of torch; its cache and its failures harm nobody."""

import copy
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import pytest
import torch

from samg_ros.errors import ConfigError, MissingDependencyError
from samg_ros.masking import Masker, MaskerSettings, Reference
from samg_ros.masking.engines import cache, choice, compiled, openvino_cpu
from samg_ros.masking.engines.comparison import iou
from samg_ros.masking.engines.library import is_installed

needs_openvino = pytest.mark.skipif(not is_installed('openvino'), reason='no OpenVINO')
needs_onnxruntime = pytest.mark.skipif(not is_installed('onnxruntime'), reason='no ONNX Runtime')
ENGINES = [pytest.param('openvino', marks=needs_openvino),
           pytest.param('onnxruntime', marks=needs_onnxruntime)]
TORCH, OPENVINO = MaskerSettings(engine='torch'), MaskerSettings(engine='openvino')
MEAN_IOU, LEAST_IOU = 0.999, 0.98  # acceptance of issue 15


def assert_same(ours, theirs):
    found = iou(ours, theirs)
    assert found.mean() >= MEAN_IOU and found.min() >= LEAST_IOU


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """An empty cache folder, and no network in memory."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setattr(compiled, '_SHARED', type(compiled._SHARED)())
    return tmp_path / 'samg_ros'


@pytest.fixture(scope='module')
def torch_masker(walker):
    return Masker.load('mini', TORCH).fit(walker)


@pytest.fixture(scope='module', params=ENGINES)
def fast_masker(request, walker):
    return Masker.load('mini', MaskerSettings(engine=request.param)).fit(walker)


@pytest.mark.parametrize('count', [1, 3, 20])
def test_masks_and_prompts_are_those_of_torch(fast_masker, torch_masker, frames, count):
    ours, theirs = (masker.predict(frames[:count]) for masker in (fast_masker, torch_masker))
    assert_same(ours.masks.numpy(), theirs.masks.numpy())
    assert torch.equal(ours.prompts[0].points, theirs.prompts[0].points)
    assert fast_masker.engine == fast_masker.settings.engine


def test_a_mask_that_the_model_doubts_is_empty_also_from_one_network(walker, frames):
    masker = Masker.load('mini').fit(walker)
    scores = masker.predict(frames[:4]).predicted_iou[:, 0]
    masker.adjust(min_predicted_iou=float(scores.median()))
    kept = masker(frames[:4]).any(axis=(1, 2))
    assert (kept == (scores >= scores.median()).numpy()).all() and not kept.all()


@needs_openvino
def test_masks_of_photographs_are_those_of_torch(shared_data):
    folder = shared_data / 'real' / 'cup'
    pictures = [cv2.imread(str(path))[..., ::-1].copy()
                for path in sorted(folder.glob('frames/*.jpg'))[:4]]
    mask = cv2.imread(str(folder / 'masks' / 'cup_000.png'), cv2.IMREAD_GRAYSCALE) > 0
    reference = Reference(pictures[0], mask)
    ours, theirs = (Masker.load('mini', settings).fit(reference) for settings in (OPENVINO, TORCH))
    for picture in pictures:
        assert_same(ours(picture[None]), theirs(picture[None]))


@pytest.mark.parametrize('engine', ENGINES)
def test_masks_of_a_pair_are_those_of_torch(random_pair, walker, frames, engine):
    ours, theirs = (Masker(copy.deepcopy(random_pair), settings).fit(walker)
                    for settings in (MaskerSettings(engine=engine), TORCH))
    found, expected = ours.predict(frames[:3]), theirs.predict(frames[:3])
    assert ours.engine == engine
    torch.testing.assert_close(found.similarity, expected.similarity, atol=1e-4, rtol=1e-4)
    assert_same(found.masks.numpy(), expected.masks.numpy())


@pytest.mark.parametrize('engine', ENGINES)
def test_the_same_frame_gives_the_same_bits(walker, frames, engine):
    ours, again = (Masker.load('mini', MaskerSettings(engine=engine)).fit(walker)
                   .predict(frames[:2]) for _ in range(2))
    assert torch.equal(ours.logits, again.logits)


def test_threads_do_not_disturb_each_other(fast_masker, frames):
    masker = fast_masker
    alone = [masker.predict(frame[None]).logits for frame in frames[:6]]
    found = [[None] * 6 for _ in range(3)]

    def mask(results):
        for index, frame in enumerate(frames[:6]):
            results[index] = masker.predict(frame[None]).logits

    threads = [threading.Thread(target=mask, args=(results,)) for results in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(ours, expected) for results in found
               for ours, expected in zip(results, alone, strict=True))


@needs_openvino
def test_auto_takes_openvino_on_a_cpu_and_says_so(walker):
    masker = Masker.load('mini')
    assert masker.engine == masker.describe()['engine'] == 'openvino'
    assert 'engine' not in masker.describe()['settings']


@needs_openvino
def test_why_auto_cannot_have_openvino_is_said(monkeypatch):
    def refused(dtype, threads):
        raise RuntimeError('no such instruction\nand more')

    monkeypatch.setattr(choice, 'OpenVinoEngine', refused)
    masker = Masker.load('mini')
    assert masker.describe()['engine'] == 'torch; openvino cannot be used (no such instruction)'


@needs_openvino
def test_a_second_start_loads_what_the_first_compiled(fresh, walker, frames, monkeypatch):
    first = Masker.load('mini', OPENVINO).fit(walker)(frames[:1])
    assert list(fresh.glob('openvino-*.compiled'))
    monkeypatch.setattr(compiled, '_SHARED', type(compiled._SHARED)())
    monkeypatch.setattr(openvino_cpu.OpenVinoEngine, 'compile', None)
    assert (Masker.load('mini', OPENVINO).fit(walker)(frames[:1]) == first).all()


@needs_openvino
@pytest.mark.parametrize('damage', [
    lambda data: data[:-1], lambda data: b'', lambda data: data[:500] + b'?' + data[501:]])
def test_a_damaged_cache_file_is_compiled_anew(fresh, walker, frames, monkeypatch, caplog, damage):
    first = Masker.load('mini', OPENVINO).fit(walker)(frames[:1])
    files = {path: path.read_bytes() for path in fresh.glob('*.compiled')}
    for path, data in files.items():
        path.write_bytes(damage(data))
    monkeypatch.setattr(compiled, '_SHARED', type(compiled._SHARED)())
    with caplog.at_level(logging.WARNING):
        again = Masker.load('mini', OPENVINO).fit(walker)(frames[:1])
    assert (again == first).all()
    assert caplog.text.count('is damaged; the network is compiled anew') == len(files)
    assert all(cache.read(path.name) is not None for path in files)


def test_a_file_that_others_can_write_is_not_read(fresh, caplog):
    cache.write('network.compiled', b'code')
    assert cache.read('network.compiled') == b'code'
    (fresh / 'network.compiled').chmod(0o666)
    assert cache.read('network.compiled') is None
    assert 'another user owns it or can write it' in caplog.text


def test_of_a_full_cache_what_was_unused_for_longest_is_deleted(fresh, monkeypatch):
    monkeypatch.setattr(cache, 'KEPT_BYTES', 3000)
    for age, name in enumerate(['new', 'middle', 'old']):
        cache.write(f'{name}.compiled', bytes(1000))
        os.utime(fresh / f'{name}.compiled', (10**9 - age, 10**9 - age))
    cache.write('newest.compiled', bytes(1000))
    assert sorted(path.stem for path in fresh.iterdir()) == ['new', 'newest']


@needs_openvino
@pytest.mark.parametrize('place', ['/proc/nowhere', '/dev/null'])
def test_without_a_cache_folder_it_works(fresh, walker, frames, monkeypatch, torch_masker, place):
    monkeypatch.setenv('XDG_CACHE_HOME', place)
    assert_same(Masker.load('mini', OPENVINO).fit(walker)(frames[:1]), torch_masker(frames[:1]))


@needs_openvino
def test_what_cannot_be_compiled_runs_in_torch_and_says_why(fresh, walker, frames, caplog,
                                                             torch_masker):
    masker = Masker.load('mini', OPENVINO)
    decode = masker._model.decode

    def not_traceable(*arguments):
        if torch.jit.is_tracing():
            raise RuntimeError('this cannot be traced')
        return decode(*arguments)

    masker._model.decode = not_traceable
    assert_same(masker.fit(walker)(frames[:2]), torch_masker(frames[:2]))
    assert 'decoder in torch (this cannot be traced)' in masker.engine
    assert 'its decoder cannot be compiled by openvino; torch runs it' in caplog.text


@needs_openvino
def test_a_wrong_result_of_the_engine_is_not_used(fresh, walker, frames, monkeypatch, torch_masker):
    load = openvino_cpu.OpenVinoEngine.load

    def wrong(engine, data):
        network = load(engine, data)
        return lambda *tensors: tuple(one + 1 for one in network(*tensors))

    monkeypatch.setattr(openvino_cpu.OpenVinoEngine, 'load', wrong)
    masker = Masker.load('mini', OPENVINO).fit(walker)
    assert (masker(frames[:1]) == torch_masker(frames[:1])).all()
    assert 'differs from that of torch' in masker.engine


@needs_openvino
def test_half_precision_is_that_of_the_engine_or_an_error(walker, frames, torch_masker):
    settings = MaskerSettings(engine='openvino', dtype='bfloat16')
    try:
        masker = Masker.load('mini', settings).fit(walker)
    except ConfigError as error:
        assert 'OpenVINO does not compute in it on this CPU' in str(error)
    else:
        assert iou(masker(frames), torch_masker(frames)).mean() > 0.95


@pytest.mark.parametrize('engine', ['openvino', 'onnxruntime'])
def test_an_engine_that_is_not_installed_is_one_line_with_the_pip_command(monkeypatch, engine):
    monkeypatch.setitem(sys.modules, engine, None)
    openvino_cpu.openvino.cache_clear()
    openvino_cpu._core.cache_clear()
    with pytest.raises(MissingDependencyError) as caught:
        Masker.load('mini', MaskerSettings(engine=engine))
    assert '\n' not in str(caught.value) and f'`pip install {engine}`' in str(caught.value)
    assert engine == 'onnxruntime' or Masker.load('mini').engine == 'torch'


@needs_onnxruntime
def test_onnx_runtime_does_not_compute_in_half_precision():
    with pytest.raises(ConfigError, match='in float32 on a CPU'):
        Masker.load('mini', MaskerSettings(engine='onnxruntime', dtype='float16'))


def test_make_test_engine_torch_hides_openvino_from_every_process():
    hidden = str(Path(__file__).parent / 'without_openvino')
    path = os.pathsep.join([hidden, *sys.path])
    found = subprocess.run(
        [sys.executable, '-c', 'from samg_ros.masking import Masker\n'
         "print(Masker.load('mini').engine)"], capture_output=True, text=True, check=True,
        env={**os.environ, 'PYTHONPATH': path})
    assert found.stdout == 'torch\n'


@needs_openvino
def test_no_usage_statistics_are_sent():
    code = ('import sys\nfrom samg_ros.masking.engines.openvino_cpu import openvino\n'
            "openvino().convert_model\nprint(sys.modules['openvino_telemetry'])")
    found = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True,
                           env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)})
    assert found.stdout == 'None\n'
