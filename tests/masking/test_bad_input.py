# SPDX-License-Identifier: Apache-2.0
"""A thousand malformed arguments: each is refused with an error that names the argument."""

import inspect

import numpy as np
import pytest
import torch

import samg_ros.masking
from samg_ros.errors import SamgError
from samg_ros.masking import Masker, MaskerSettings, Reference, apply_mask
from samg_ros.masking.models import load_model

INPUTS = 1000
OTHER_THINGS = [None, 7, 2.5, 'frames', b'x', object(), {'a': 1}, {1}, [[1, 2], [3]]]
# Public, but nothing can be wrong with them: no arguments, or made by the masker alone.
WITHOUT_ARGUMENTS = {'Masker.describe', 'MaskerSettings.to_dict', 'Prediction'}


def pick(rng, items):
    return items[int(rng.integers(len(items)))]


def picture(rng, *shape):
    return rng.integers(0, 256, shape, dtype=np.uint8)


def wrong_picture(rng, lead):
    """Something that is no (*lead, H, W, 3) uint8."""
    height, width = rng.integers(16, 40, 2).tolist()
    right = picture(rng, *lead, height, width, 3)
    if rng.random() < 0.15:
        return pick(rng, OTHER_THINGS)
    wrong = pick(rng, [
        right.astype(pick(rng, [np.float32, np.float64, np.int64, np.int8, bool, np.uint16])),
        np.full(right.shape, np.nan), right[..., :pick(rng, [0, 1, 2])],
        np.concatenate([right, right[..., :1]], axis=-1), right[..., 0], right[None], right[0],
        right[..., :0, :, :], right[..., :0, :], right[..., :15, :, :], right[..., :3, :],
        picture(rng, *lead, 16, 300, 3), right.astype(str), right.astype(object),
        np.moveaxis(right, -1, -3)])
    if lead and wrong.dtype.kind in 'uifb' and wrong.dtype != np.uint16 and rng.random() < 0.3:
        return torch.from_numpy(wrong)
    return wrong


def wrong_mask(rng, height=32, width=32):
    if rng.random() < 0.15:
        return pick(rng, OTHER_THINGS)
    right = np.zeros((height, width), bool)
    right[4:9, 5:20] = True
    return pick(rng, [np.zeros_like(right), np.ones_like(right), right[1:], right[:, :-1],
                      right[None], right[..., None], right.astype(np.uint8), right[:0],
                      right.astype(float), np.where(right, 1.0, np.nan), right.astype(object)])


def wrong_points(rng):
    """No (K, 2) finite pixels of a 32 x 32 image; neither None nor empty, which are none."""
    right = rng.uniform(0, 31, (int(rng.integers(1, 5)), 2))
    spoilt = right.copy()
    spoilt.flat[rng.integers(spoilt.size)] = pick(rng, [np.nan, np.inf, -np.inf, -1, 31.5, 1e9])
    return pick(rng, [spoilt, spoilt.tolist(), right.ravel(), right[None], right[:, :1],
                      np.concatenate([right, right], axis=1), right.astype(complex),
                      right.astype(str), [[1, 2], [3]], [['a', 'b']], 'points', 7, {'x': 1},
                      np.zeros((0, 3)), right > 3])


WRONG_SETTINGS = {
    'features': ['dino', (), ('clip',), ('dino', 'dino'), None, 3, [['dino']], (1,), {'sam': 1}],
    'grid_size': [0, -1, 7, 1000, 12.5, 'big', True, np.nan, [64]],
    'passes': [0, 4, -1, 1.0, '1', True, np.nan, [1], np.arange(3)],
    'fit_weights': [1, 'yes', np.ones(2)],
    'fit_steps': [0, -5, 1.5, '10', None, True, 10**9, np.inf],
    'second_look': [1, 'yes'],
    'similarity_prompt': [1, True, 'no', np.zeros(2)],
    'combine_references': ['min', None, 1, ['max'], np.array(['max', 'mean'])],
    'min_predicted_iou': [-0.1, 1.1, np.nan, np.inf, '0.5', None, True, [0.5]],
    'dtype': ['float8', 'half', None, np.float32, torch.float16, 16],
    'engine': ['tvm', None, 1, True],
    'cuda_graphs': [None, 0, 'on'],
    'seed': [-1, 0.5, None, 'x', 2**70]}


def wrong_setting(rng):
    name = pick(rng, sorted(WRONG_SETTINGS))
    return name, pick(rng, WRONG_SETTINGS[name])


class World:
    """What is right, so that one argument alone is wrong."""

    def __init__(self):
        rng = np.random.default_rng(1)
        mask = np.zeros((32, 32), bool)
        mask[8:20, 6:25] = True
        self.fields = {'image': picture(rng, 32, 32, 3), 'mask': mask, 'parts': (mask,),
                       'points': np.array([[3.0, 4.0]]), 'source': 'a test'}
        self.reference = Reference(**self.fields)
        self.model = load_model('mini')
        self.masker = Masker(self.model, MaskerSettings(fit_weights=False)).fit(
            {'a': self.reference, 'b': [self.reference, self.reference]})


@pytest.fixture(scope='module')
def world():
    return World()


# For every public function: (rng, world) -> what is called, and a word that its error must hold.

def make_reference(rng, world):
    wrong = {'image': lambda: wrong_picture(rng, ()), 'mask': lambda: wrong_mask(rng),
             'parts': lambda: pick(rng, [(wrong_mask(rng),), 5, 'parts', world.fields['mask'],
                                         (world.fields['mask'], wrong_mask(rng))]),
             'points': lambda: wrong_points(rng), 'source': lambda: pick(rng, [None, 3, b'x'])}
    name = pick(rng, list(wrong))
    value = wrong[name]()
    return lambda: Reference(**{**world.fields, name: value}), name


def load_reference(rng, world):
    path = pick(rng, [None, 3, b'x', 'no/such/folder', '', 'a\0b', ['x'], '/dev/null', __file__,
                      'x' * 5000])
    return lambda: Reference.load(path), ('reference', 'path')


def save_reference(rng, world):
    folder = pick(rng, [None, 3, b'x', 'a\0b', ['x'], '/dev/null', f'{__file__}/x', 'x' * 5000])
    return lambda: world.reference.save(folder), ('folder', 'cannot write')


def reference_with_points(rng, world):
    points = wrong_points(rng)
    return lambda: world.reference.with_points(points), 'points'


def make_settings(rng, world):
    name, value = wrong_setting(rng)
    return lambda: MaskerSettings(**{name: value}), name


def settings_from_dict(rng, world):
    name, value = wrong_setting(rng)
    return pick(rng, [(lambda: MaskerSettings.from_dict({name: value}), name),
                      (lambda: MaskerSettings.from_dict({'colour': 1}), 'colour'),
                      (lambda: MaskerSettings.from_dict(pick(rng, [3, None, [1]])), 'settings')])


DEVICES = ['gpu', 'cuda:99', '', 3.5, None, 'cpu:x', object()]
WEIGHTS = [3, 2.5, ['x'], b'x', '/no/such/file.safetensors', __file__, '']
MODELS = [None, 3, 'maxi', '', 'mini+mini', ['mini'], 'dinov2-b+mini']


def make_masker(rng, world):
    wrong = {'model': pick(rng, [None, 'mini', 3, torch.nn.Linear(1, 1)]),
             'settings': pick(rng, [3, 'x', {'passes': 1}, ()]), 'device': pick(rng, DEVICES),
             'name': pick(rng, [None, 3, b'x']), 'weights': pick(rng, WEIGHTS[:4])}
    name = pick(rng, list(wrong))
    return lambda: Masker(**{'model': world.model, name: wrong[name]}), name


def load_masker(rng, world):
    wrong = {'model': pick(rng, MODELS), 'settings': pick(rng, [3, 'x', {'passes': 1}, ()]),
             'weights': pick(rng, WEIGHTS)}
    name = pick(rng, list(wrong))
    return lambda: Masker.load(**{name: wrong[name]}), name


def describe_masker(rng, world):
    right = {'model': 'mini', 'weights': None, 'settings': {}}
    setting, value = wrong_setting(rng)
    less = {name: right[name] for name in rng.permutation(list(right))[:2]}
    return pick(rng, [
        (lambda: Masker.from_description(pick(rng, [*OTHER_THINGS, less])), 'description'),
        (lambda: Masker.from_description({**right, 'settings': pick(rng, [3, None, [1], {'x': 1}])}
                                         ), ('description', 'settings')),
        (lambda: Masker.from_description({**right, 'settings': {setting: value}}), setting),
        (lambda: Masker.from_description({**right, 'model': pick(rng, MODELS)}), 'model'),
        (lambda: Masker.from_description({**right, 'weights': pick(rng, WEIGHTS)}), 'weights')])


def fit(rng, world):
    good = world.reference
    wrong = pick(rng, [None, 3, 'path', '', [], (), {}, [None], [good, 3], {'a': []}, {3: good},
                       {'a': good, 'b': None}, {'a': 'text'}, good.image, object(),
                       {str(index): good for index in range(256)}])
    return lambda: world.masker.fit(wrong), 'reference'


def on_a_reference(function, *right):
    def case(rng, world):
        wrong = {'name': pick(rng, [None, 'c', 3, ['a'], b'a']),
                 'reference': pick(rng, [5, -1, None, 0.0, True, 'a', [0]])}
        name = pick(rng, list(wrong))
        arguments = {'name': 'a', 'reference': 0, name: wrong[name]}
        return lambda: function(world.masker, *right, **arguments), name
    return case


def add_points(rng, world):
    if rng.random() < 0.3:
        return on_a_reference(Masker.add_points, [[1, 2]])(rng, world)
    if rng.random() < 0.3:
        frame = wrong_picture(rng, ())
        return lambda: world.masker.add_points([[1, 2]], 'a', frame=frame), 'frame'
    points = wrong_points(rng)
    return lambda: world.masker.add_points(points, 'a'), 'points'


def capture(rng, world):
    frame, points = wrong_picture(rng, ()), wrong_points(rng)
    right = world.fields['image'], world.fields['points']
    return pick(rng, [(lambda: world.masker.capture(frame, right[1]), 'frame'),
                      (lambda: world.masker.capture(right[0], points), 'points')])


def adjust(rng, world):
    if rng.random() < 0.3:
        fixed = pick(rng, ['features', 'grid_size', 'fit_steps', 'dtype', 'seed', 'colour'])
        return lambda: world.masker.adjust(**{fixed: 1}), fixed
    name = pick(rng, ['passes', 'min_predicted_iou', 'combine_references'])
    value = pick(rng, WRONG_SETTINGS[name])
    return lambda: world.masker.adjust(**{name: value}), name


def ask(function):
    def case(rng, world):
        frames = wrong_picture(rng, (2,))
        return lambda: function(world.masker, frames), 'frames'
    return case


def warm_up(rng, world):
    right = {'height': 32, 'width': 32, 'count': 1}
    name = pick(rng, list(right))
    value = pick(rng, [0, -3, 2.5, None, 'x', True, np.nan, [32]] + [3, 1000] * (name != 'count'))
    return lambda: world.masker.warm_up(**{**right, name: value}), name


def mask_frames(rng, world):
    frames, masks = picture(rng, 2, 20, 30, 3), rng.random((2, 20, 30)) < 0.5
    fills = [None, 3, (1, 2), (1, 2, 3, 4), (0, 0, 256), (-1, 0, 0), (0.5, 0, 0), 'red',
             (np.nan, 0, 0), ('a', 'b', 'c'), [[1, 2, 3]], ([1], 2, 3)]
    wrong_frames = pick(rng, [*OTHER_THINGS, frames[..., :2], frames.astype(float), frames[:1],
                              frames[0, 0, 0], torch.from_numpy(frames), frames[..., 0]])
    wrong_masks = pick(rng, [*OTHER_THINGS, masks[:, 1:], masks.astype(np.uint8), masks[..., None],
                             torch.from_numpy(masks), masks.astype(float)])
    return pick(rng, [(lambda: apply_mask(wrong_frames, masks), 'frames'),
                      (lambda: apply_mask(frames, wrong_masks), 'masks'),
                      (lambda: apply_mask(frames, masks, pick(rng, fills)), 'fill')])


CASES = {
    'Masker': make_masker, 'Masker.load': load_masker, 'Masker.from_description': describe_masker,
    'Masker.fit': fit, 'Masker.add_points': add_points, 'Masker.capture': capture,
    'Masker.adjust': adjust,
    'Masker.clear_points': on_a_reference(Masker.clear_points),
    'Masker.__call__': ask(Masker.__call__), 'Masker.predict': ask(Masker.predict),
    'Masker.warm_up': warm_up, 'MaskerSettings': make_settings,
    'MaskerSettings.from_dict': settings_from_dict, 'Reference': make_reference,
    'Reference.load': load_reference, 'Reference.save': save_reference,
    'Reference.with_points': reference_with_points, 'apply_mask': mask_frames}


def public_functions():
    """Names of everything that can be called from outside."""
    found = set()
    for name in samg_ros.masking.__all__:
        item = getattr(samg_ros.masking, name)
        found.add(name)
        if inspect.isclass(item):
            found |= {f'{name}.{method}' for method, value in vars(item).items()
                      if (method == '__call__' or not method.startswith('_'))
                      and isinstance(value, (classmethod, staticmethod, type(public_functions)))}
    return found


def test_no_public_function_is_left_out():
    assert public_functions() == set(CASES) | WITHOUT_ARGUMENTS


@pytest.mark.parametrize('function', CASES)
def test_malformed_arguments_are_refused_by_name(function, world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng([7, list(CASES).index(function)])
    for _ in range(-(-INPUTS // len(CASES))):
        call, words = CASES[function](rng, world)
        with pytest.raises(SamgError) as caught:
            call()
        words = words if isinstance(words, tuple) else (words,)
        assert any(word in str(caught.value) for word in words), (words, str(caught.value))


def test_what_is_valid_but_not_contiguous_gives_the_same(world):
    rng = np.random.default_rng(2)
    wide = picture(rng, 1, 40, 80, 3)
    views = [wide[:, :, ::2], wide[:, ::-1, :40], wide[:, :, :40, ::-1],
             np.asfortranarray(wide[:, :, :40])]
    for view in views:
        assert not view.flags.c_contiguous
        straight = np.ascontiguousarray(view)
        np.testing.assert_array_equal(world.masker(view), world.masker(straight))
        masks = world.masker(straight)
        np.testing.assert_array_equal(apply_mask(view, masks), apply_mask(straight, masks))
    tensor = torch.from_numpy(wide).permute(0, 2, 1, 3)
    assert torch.equal(world.masker(tensor), world.masker(tensor.contiguous()))
    fields = world.fields
    turned = Reference(np.asfortranarray(fields['image']), np.asfortranarray(fields['mask']),
                       points=fields['points'][::-1])
    straight = Reference(fields['image'], fields['mask'], points=fields['points'])
    masker = Masker(world.model, MaskerSettings(fit_weights=False))
    ours = masker.fit(turned)(wide)
    np.testing.assert_array_equal(ours, masker.fit(straight)(wide))
