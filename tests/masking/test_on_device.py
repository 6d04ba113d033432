# SPDX-License-Identifier: Apache-2.0
"""From upload to download: no value goes to the host, batches equal single frames, any size."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from samg_ros.errors import ConfigError
from samg_ros.masking import Masker, MaskerSettings

# What makes a GPU stop and the host wait: a value read, or a size that depends on values.
SYNCHRONISING = {
    'aten::_local_scalar_dense', 'aten::item', 'aten::equal', 'aten::is_nonzero',
    'aten::nonzero', 'aten::nonzero_static', 'aten::masked_select', 'aten::unique_dim',
    'aten::_unique2', 'aten::unique_consecutive', 'aten::repeat_interleave.Tensor',
    'aten::bincount', 'aten::allclose', 'aten::to_sparse'}
COPYING = {'aten::_to_copy', 'aten::copy_'}


class HostTraffic(TorchDispatchMode):
    """Lists operations that would make a GPU wait for the host or the other way round.

    On a CPU nothing moves, so tensors that came from host values (`torch.tensor(...)`, numpy) are
    seen by `lift_fresh`, and boolean indices, which ask how many are true, by their dtype.
    """

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = function._schema.name
        full = f'{name}.{function._overloadname}' if function._overloadname != 'default' else name
        if name in SYNCHRONISING or full in SYNCHRONISING:
            self.found.append(full)
        if name in ('aten::lift_fresh', 'aten::lift_fresh_copy'):
            self.found.append(f'{full}: a tensor made of host values')
        if name == 'aten::index' or name.startswith(('aten::index_put', 'aten::_index_put')):
            self.found += [f'{full} by a mask' for one in args[1]
                           if one is not None and one.dtype == torch.bool]
        if name in COPYING and kwargs.get('device') is not None:
            self.found.append(f'{full} to {kwargs["device"]}')
        return function(*args, **kwargs)


def traffic(masker, frames):
    masker.predict(frames)  # resizing matrices are made on the first frame of a size
    with HostTraffic() as seen:
        masker.predict(frames)
    return seen.found


@pytest.mark.parametrize('name', ['mini', 'pair'])
def test_nothing_goes_to_the_host_between_upload_and_download(name, pair, walker, frames):
    settings = MaskerSettings(engine='torch')  # on a CPU an engine's networks are on the host
    masker = Masker(pair, settings) if name == 'pair' else Masker.load('mini', settings)
    assert traffic(masker.fit(walker), torch.from_numpy(frames[:2])) == []


def test_several_objects_and_references_do_not_either(walker, frames):
    masker = Masker.load('mini', MaskerSettings(
        fit_steps=5, passes=3, min_predicted_iou=0.1, engine='torch'))
    masker.fit({'a': [walker, walker], 'b': walker, 'c': walker.with_points([])})
    assert traffic(masker, torch.from_numpy(frames[:2])) == []


@pytest.mark.parametrize('deed', [
    lambda x: x.max().item(), lambda x: bool((x > 0).any()), lambda x: x[x > 0],
    lambda x: torch.nonzero(x), lambda x: x * torch.tensor([1.0]),
    lambda x: x.masked_select(x > 0), lambda x: x.to('meta')])
def test_the_counter_sees_what_would_wait(deed):
    x = torch.rand(4)
    with HostTraffic() as seen:
        deed(x)
    assert seen.found


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
@pytest.mark.parametrize('graphs', [False, True])
def test_the_gpu_never_waits(walker, frames, graphs):
    masker = Masker.load('mini', MaskerSettings(cuda_graphs=graphs), 'cuda').fit(walker)
    there = torch.from_numpy(frames[:2]).cuda()
    masker.predict(there)
    torch.cuda.set_sync_debug_mode('error')
    try:
        found = masker.predict(there)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    wanted = Masker.load('mini').fit(walker).predict(frames[:2])
    torch.testing.assert_close(found.logits.cpu(), wanted.logits, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize('name', ['masker', 'pair_masker'])
def test_a_batch_of_eight_equals_eight_calls(name, request, frames):
    masker = request.getfixturevalue(name)
    together = masker.predict(frames[:8])
    for index in range(8):
        single = masker.predict(frames[index:index + 1])
        torch.testing.assert_close(together.logits[index:index + 1], single.logits, rtol=1e-4,
                                   atol=1e-4)
        assert torch.equal(together.masks[index:index + 1], single.masks)


@pytest.mark.parametrize('size', [(64, 64), (1080, 1920), (480, 640), (1920, 1080), (120, 37)])
def test_any_frame_size_gives_masks_of_that_size(masker, size):
    frame = np.random.default_rng(0).integers(0, 256, (1, *size, 3), dtype=np.uint8)
    masker.warm_up(*size)
    assert masker(frame).shape == (1, *size)


def test_the_object_is_found_at_other_sizes_than_the_references(masker, walker):
    import cv2
    small = masker(walker.image[None])[0]
    for height, width in ((480, 480), (480, 960)):
        canvas = np.full((height, width, 3), walker.image[0, 0], np.uint8)
        canvas[:, :height] = cv2.resize(walker.image, (height, height))
        mask = masker(canvas[None])[0][:, :height]
        wanted = cv2.resize(small.astype(np.uint8), (height, height)) > 0
        assert (mask & wanted).sum() / (mask | wanted).sum() > 0.5


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_half_precision_masks_nearly_the_same(masker, walker, frames, dtype):
    try:
        half = Masker.load('mini', MaskerSettings(dtype=dtype)).fit(walker)
    except ConfigError as error:
        assert f"dtype '{dtype}'" in str(error)
        pytest.skip(str(error))
    found, wanted = half.predict(frames[:3]), masker.predict(frames[:3])
    assert found.logits.dtype == found.similarity.dtype == torch.float32
    both = (found.masks & wanted.masks).sum() / (found.masks | wanted.masks).sum()
    assert both > 0.9


def test_a_device_that_cannot_is_an_error_that_names_the_type(monkeypatch):
    def refuse(*_):
        raise RuntimeError('no kernel\nand more')
    monkeypatch.setattr(torch.nn.functional, 'linear', refuse)
    with pytest.raises(ConfigError, match=r"dtype 'float16': cpu .*\(no kernel\); use"):
        Masker.load('mini', MaskerSettings(dtype='float16'))
