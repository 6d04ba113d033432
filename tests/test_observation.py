# SPDX-License-Identifier: Apache-2.0
"""What the policy sees is one thing, wherever the frames come from."""

import json

import cv2
import numpy as np
import pytest

from samg_ros.errors import ConfigError, InvalidInputError
from samg_ros.observation import ObservationSpec, Observer


@pytest.fixture
def frames():
    return np.random.default_rng(0).integers(0, 256, (6, 84, 96, 3), dtype=np.uint8)


def test_spec_survives_json():
    spec = ObservationSpec(
        crop=(4, 2, 80, 70), size=48, frame_stack=2, source='truth', fill=(1, 2, 3),
        proprioception=('slider', 'hinge'),
    )
    assert ObservationSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert ObservationSpec.from_dict(ObservationSpec().to_dict()) == ObservationSpec()


@pytest.mark.parametrize(
    'values',
    [
        {'size': 4},
        {'size': 48.0},
        {'frame_stack': 0},
        {'source': 'masks'},
        {'fill': [0, 0, 256]},
        {'fill': [0, 0]},
        {'crop': [0, 0, 0, 10]},
        {'crop': [-1, 0, 10, 10]},
        {'proprioception': 'hinge'},
        {'colour': 'red'},
    ],
)
def test_unusable_spec_names_the_field(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        ObservationSpec.from_dict(values)


def test_same_frames_give_the_same_bits(frames):
    spec = ObservationSpec(size=48)
    first, second = Observer(spec), Observer(spec)
    for observer in (first, second):
        observer.reset(frames[5])
    for i, frame in enumerate(frames):
        see = 'reset' if i in (0, 3) else 'push'
        a = getattr(first, see)(frame)
        b = getattr(second, see)(np.array(frame))
        assert a['pixels'].tobytes() == b['pixels'].tobytes()
        assert a['pixels'].shape == spec.pixels_shape
        assert a['pixels'].dtype == np.uint8


def test_stack_is_oldest_first_and_starts_with_copies(frames):
    observer = Observer(ObservationSpec(size=84, crop=(0, 0, 84, 84)))
    planes = [frame[:, :84].transpose(2, 0, 1) for frame in frames]
    start = observer.reset(frames[0])['pixels']
    np.testing.assert_array_equal(start, np.concatenate([planes[0]] * 3))
    np.testing.assert_array_equal(
        observer.push(frames[1])['pixels'], np.concatenate([planes[0], planes[0], planes[1]])
    )
    observer.push(frames[2])
    np.testing.assert_array_equal(
        observer.push(frames[3])['pixels'], np.concatenate(planes[1:4])
    )


def test_an_observation_stays_as_it_was(frames):
    observer = Observer(ObservationSpec(size=32))
    given = observer.reset(frames[0])
    before = given['pixels'].copy()
    given_next = observer.push(frames[1])
    given_next['pixels'][:] = 0
    np.testing.assert_array_equal(given['pixels'], before)
    assert observer.push(frames[2])['pixels'][3:6].any()


@pytest.mark.parametrize(('size', 'method'), [(40, cv2.INTER_AREA), (120, cv2.INTER_LINEAR)])
def test_resizing_averages_when_it_shrinks_and_interpolates_when_it_grows(frames, size, method):
    spec = ObservationSpec(crop=(8, 4, 72, 76), size=size, frame_stack=1)
    crop = np.ascontiguousarray(frames[0][4:80, 8:80])
    expected = cv2.resize(crop, (size, size), interpolation=method).transpose(2, 0, 1)
    np.testing.assert_array_equal(Observer(spec).reset(frames[0])['pixels'], expected)


def test_frames_that_do_not_fit_are_refused(frames):
    observer = Observer(ObservationSpec(crop=(20, 0, 80, 80)))
    with pytest.raises(InvalidInputError, match='reaches outside'):
        observer.reset(frames[0])
    observer = Observer(ObservationSpec())
    with pytest.raises(InvalidInputError, match='call reset'):
        observer.push(frames[0])
    with pytest.raises(InvalidInputError, match='float64'):
        observer.reset(frames[0] / 255)
    with pytest.raises(InvalidInputError, match='uint8 RGB'):
        observer.reset(frames[0, :, :, 0])


def test_joints_come_in_the_order_of_the_spec(frames):
    spec = ObservationSpec(proprioception=('b', 'a'))
    picked = spec.select_joints(['a', 'x', 'b'], [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(picked, np.array([3, 1], np.float32))
    observation = Observer(spec).reset(frames[0], picked)
    np.testing.assert_array_equal(observation['proprioception'], [3, 1])
    assert observation['proprioception'].dtype == np.float32
    assert ObservationSpec().select_joints(['a'], [1.0]) is None


def test_missing_joints_are_named(frames):
    spec = ObservationSpec(proprioception=('hinge',))
    with pytest.raises(InvalidInputError, match="'hinge'"):
        spec.select_joints(['slider'], [0.0])
    with pytest.raises(InvalidInputError, match='2 names but 1 positions'):
        spec.select_joints(['hinge', 'slider'], [0.0])
    with pytest.raises(InvalidInputError, match='hinge'):
        Observer(spec).reset(frames[0])
    with pytest.raises(InvalidInputError, match='1 joints, got 2'):
        Observer(spec).reset(frames[0], [0.0, 1.0])
