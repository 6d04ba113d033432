# SPDX-License-Identifier: Apache-2.0
"""Scenes, batches and training of `mini`: seeded, labelled, resumable."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from samg_ros.errors import CheckpointError
from samg_ros.masking.geometry import Geometry
from samg_ros.masking.models.mini import Mini, load_mini
from samg_ros.pretraining.batches import BatchSource, composite
from samg_ros.pretraining.dataset import DatasetSize, load_backgrounds, shard_paths
from samg_ros.pretraining.losses import mask_losses, true_iou
from samg_ros.pretraining.train import MiniConfig, MiniTrainer, learning_rate
from samg_ros.sim.procedural.bodies import FIRST_DISTRACTOR, SECOND_BODY
from samg_ros.sim.procedural.rooms import render_room
from samg_ros.sim.procedural.scenes import render_scene
from samg_ros.sim.visual.backgrounds import ProceduralVideo

CONFIG = MiniConfig(steps=4, references=2, targets=2, warmup=1, checkpoint_every=2)
GEOMETRY = Geometry(84, 84, Mini.image_size, Mini.mask_size, Mini.grid_size, torch.device('cpu'))


@pytest.fixture(scope='module')
def source():
    rng = np.random.default_rng(0)
    scenes = [render_scene(rng, 4) for _ in range(3)]
    return BatchSource(np.stack([s.images for s in scenes]), np.stack([s.labels for s in scenes]),
                       render_room(rng, 4), absent_share=0.0)


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


def test_a_video_is_the_same_in_any_order_and_moves():
    video, again = ProceduralVideo(7), ProceduralVideo(7)
    late, early = video.frame(40), video.frame(0)
    np.testing.assert_array_equal(again.frame(0), early)
    np.testing.assert_array_equal(again.frame(40), late)
    assert np.abs(late.astype(int) - early).mean() > 2


def test_compositing_never_touches_kept_pixels_but_for_photometry(source):
    image, labels = source._images[0, 0], source._labels[0, 0]
    kept = labels < FIRST_DISTRACTOR
    rng = np.random.default_rng(0)
    shifts = []
    for _ in range(20):
        out = composite(rng, image, labels, kept, source._backgrounds, 0.0).astype(int)
        shifts.append(np.abs(out - image)[~kept].mean() - np.abs(out - image)[kept].mean())
    assert np.mean(shifts) > 15


def test_a_batch_has_labels_only_on_the_object(source):
    batch = source.draw(np.random.default_rng(1), 4, 3)
    assert batch.references.shape == (4, 84, 84, 3) and batch.targets.shape == (4, 3, 84, 84, 3)
    assert (batch.reference_labels < FIRST_DISTRACTOR).all()
    assert (batch.reference_labels > 0).any(axis=(1, 2)).all()
    for labels, points in zip(batch.reference_labels, batch.points, strict=True):
        assert all(labels[y, x] > 0 for x, y in points)


def test_training_resumes_to_the_same_weights(source, tmp_path):
    def run(folder, until):
        folder.mkdir(exist_ok=True)
        trainer = MiniTrainer(CONFIG, folder, 'cpu')
        while trainer.step < until:
            trainer.train_step(source, GEOMETRY)
        trainer.save()
        return trainer.model.state_dict()

    whole = run(tmp_path / 'whole', 4)
    run(tmp_path / 'halves', 2)
    resumed = run(tmp_path / 'halves', 4)
    for key, value in whole.items():
        torch.testing.assert_close(resumed[key], value, rtol=1e-4, atol=1e-5)
    load_mini(tmp_path / 'halves' / 'mini.safetensors')


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
    import cv2
    path, = shard_paths(tmp_path, 'backgrounds', 1)
    np.savez(path, images=np.zeros((6, 112, 112, 3), np.uint8))
    cv2.imwrite(str(tmp_path / 'p.png'), np.full((150, 200, 3), 200, np.uint8))
    pictures = load_backgrounds(tmp_path, 6, [tmp_path / 'p.png'])
    assert len(pictures) == 8 and (pictures[6:] == 200).all()
    assert DatasetSize(scenes=1).backgrounds > 0
