# SPDX-License-Identifier: Apache-2.0
"""Trainings without one thing see the same pictures but for that; a random trunk is a fair one."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from samg_ros.errors import CheckpointError, ConfigError
from samg_ros.masking.models.mini.network import WEIGHTS, Mini
from samg_ros.pretraining.batches import OTHER_COLOURS, BatchSource
from samg_ros.pretraining.dataset import BACKGROUND_SIZE, FRAME_SIZE
from samg_ros.pretraining.faults import FAULTS, camera_picture
from samg_ros.pretraining.pieces import Pictures
from samg_ros.pretraining.start import Start
from samg_ros.pretraining.train import MiniConfig, MiniTrainer
from samg_ros.sim.procedural.rooms import render_room
from samg_ros.sim.procedural.scenes import render_scene


@pytest.fixture(scope='module')
def data():
    rng = np.random.default_rng(0)
    scenes = [render_scene(rng, 5, FRAME_SIZE) for _ in range(3)]
    return (np.stack([s.images for s in scenes]), np.stack([s.labels for s in scenes]),
            Pictures(render_room(rng, 4, BACKGROUND_SIZE),
                     np.zeros((0, BACKGROUND_SIZE, BACKGROUND_SIZE, 4), np.uint8)))


@pytest.mark.parametrize('fault', FAULTS)
def test_a_fault_that_is_left_out_changes_no_later_draw(data, fault):
    image = data[0][0, 0]
    others = [name for name in FAULTS if name != fault]
    changed = []
    for seed in range(30):
        rngs = [np.random.default_rng(seed) for _ in range(3)]
        whole, without, alone = (camera_picture(rng, image, left_out) for rng, left_out
                                 in zip(rngs, ((), (fault,), others), strict=True))
        assert len({rng.random() for rng in rngs}) == 1
        changed.append((not np.array_equal(alone, image), not np.array_equal(whole, without)))
    assert all(0 < share < 0.9 for share in np.mean(changed, axis=0))


def test_without_all_faults_a_picture_stays_as_it_is(data):
    image, rng = data[0][0, 0], np.random.default_rng(1)
    assert all(np.array_equal(camera_picture(rng, image, FAULTS), image) for _ in range(20))


@pytest.mark.parametrize('left_out', [FAULTS, (OTHER_COLOURS,), ('jpeg',)])
def test_batches_without_something_show_the_same_scenes(data, left_out):
    whole, without = (BatchSource(*data).without(names) for names in ((), left_out))
    changed = []
    for seed in range(4):
        one, other = (source.draw(np.random.default_rng(seed), 3, 4) for source in (whole, without))
        changed.append(not np.array_equal(one.targets, other.targets))
        np.testing.assert_array_equal(one.target_labels, other.target_labels)
        np.testing.assert_array_equal(one.points, other.points)
    assert any(changed)


def test_other_colours_are_the_objects_alone(data):
    whole, without = (BatchSource(*data, absent_share=0).without((*FAULTS, *more))
                      for more in ((), (OTHER_COLOURS,)))
    changed = {True: 0, False: 0}
    for seed in range(6):
        one, other = (source.draw(np.random.default_rng(seed), 3, 4, keep_share=1.0)
                      for source in (whole, without))
        for on_object in changed:
            # A pixel of a small picture that a second look sees is up to 12 pixels wide.
            places = [cv2.dilate(labels, np.ones((61, 61))) if not on_object else labels
                      for labels in one.target_labels.reshape(-1, *one.target_labels.shape[2:])]
            where = (np.reshape(places, one.target_labels.shape) > 0) == on_object
            changed[on_object] += np.count_nonzero((one.targets != other.targets)[where])
    assert changed[True] > 0 and changed[False] == 0


def test_an_unknown_name_is_refused():
    with pytest.raises(ConfigError, match="nothing in the training is called 'snow'.*jpeg"):
        MiniConfig(left_out=('jpeg', 'snow'))


def test_a_training_does_not_go_on_with_something_else_left_out(tmp_path):
    config = MiniConfig(left_out=('jpeg',))
    MiniTrainer(config, tmp_path, 'cpu').save()
    MiniTrainer(config, tmp_path, 'cpu')
    with pytest.raises(CheckpointError, match='holds a training with left_out'):
        MiniTrainer(replace(config, left_out=()), tmp_path, 'cpu')


@torch.no_grad()
def test_a_random_trunk_sees_something_and_begins_unconnected(data):
    pictures = data[0][:, 0], data[2].backgrounds
    model = Start(WEIGHTS, random_trunk=True, seed=1).model(*pictures)
    shipped = Start(WEIGHTS).model(*pictures)
    assert model.photo2.weight.abs().max() == model.photo4.weight.abs().max() == 0
    assert shipped.photo4.weight.abs().max() > 0
    torch.testing.assert_close(model.encoder.state_dict(), shipped.encoder.state_dict())
    shown = torch.rand(4, 3, 192, 192) * 2 - 1
    for features in (model, shipped):
        deviation = features.trunk_maps(shown)[1].std(dim=(0, 2, 3))
        assert deviation.min() > 0.01
    again = Start(WEIGHTS, random_trunk=True, seed=1).model(*pictures)
    torch.testing.assert_close(again.trunk.state_dict(), model.trunk.state_dict())


@torch.no_grad()
def test_every_channel_of_a_random_trunk_varies_alike():
    trunk = Mini().trunk
    pictures = torch.rand(8, 3, 96, 96) * 255
    trunk.randomise(3, pictures)
    stem = trunk.stem((pictures - 127) / 128)
    torch.testing.assert_close(stem.std(dim=(0, 2, 3)), torch.ones(32), rtol=0.01, atol=0)
    assert stem.mean(dim=(0, 2, 3)).abs().max() < 0.01
    last = trunk(pictures)[-1]
    assert 0.5 < last.std(dim=(0, 2, 3)).median() < 3
