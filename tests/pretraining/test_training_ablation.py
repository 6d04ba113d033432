# SPDX-License-Identifier: Apache-2.0
"""benchmarks/mini_training_ablation.py for two steps of two references on three scenes."""

import json

import numpy as np
import pytest
from mini_training_ablation import DEGRADATIONS, VARIANTS, main
from safetensors.torch import load_file

from samg_ros.pretraining.dataset import (
    ABSENT_FRAMES,
    BACKGROUND_SIZE,
    FRAME_SIZE,
    FRAMES_PER_SCENE,
    shard_paths,
)
from samg_ros.sim.procedural.rooms import render_room
from samg_ros.sim.procedural.scenes import render_scene


@pytest.fixture
def command(tmp_path):
    rng = np.random.default_rng(0)
    scenes = [render_scene(rng, FRAMES_PER_SCENE, FRAME_SIZE, ABSENT_FRAMES) for _ in range(3)]
    shards = {'scenes': {'images': np.stack([one.images for one in scenes]),
                         'labels': np.stack([one.labels for one in scenes])},
              'backgrounds': {'images': render_room(rng, 3, BACKGROUND_SIZE)}}
    for kind, shard in shards.items():
        path, = shard_paths(tmp_path / 'data', kind, 1)
        path.parent.mkdir(exist_ok=True)
        np.savez(path, **shard)
    return [str(tmp_path / 'run'), '--data', str(tmp_path / 'data'), '--scenes', '1',
            '--painted', '3', '--steps', '2', '--references', '2', '--calibration-batches', '2',
            '--task', 'cartpole_swingup', '--frames', '2']


def test_variants_are_trained_compared_and_left_alone_once_finished(command, tmp_path, capsys):
    main([*command, '--variants', 'random_trunk,no_noise'])
    lines = capsys.readouterr().out.splitlines()[-4:]
    assert lines[0].split(' | ')[2:] == ['other colours', *DEGRADATIONS.split(',')[:-1],
                                         DEGRADATIONS.split(',')[-1] + ' |']
    assert [line.split(' | ')[0] for line in lines[2:]] == ['| random_trunk', '| no_noise']
    run = tmp_path / 'run'
    assert (run / 'table.md').read_text().splitlines() == lines
    scores = json.loads((run / 'no_noise' / 'scores.json').read_text())
    iou = scores['as they are']['tasks']['cartpole_swingup']
    assert 0 <= iou <= 1 and f'| {iou:.3f} / – |' in lines[3]
    random, shipped = (load_file(run / name / 'mini.safetensors')
                       for name in ('random_trunk', 'no_noise'))
    assert not np.allclose(random['trunk.stem.weight'], shipped['trunk.stem.weight'])

    before = {path: path.stat().st_mtime_ns for path in run.glob('*/*')}
    main([*command, '--variants', 'random_trunk,no_noise'])
    assert {path: path.stat().st_mtime_ns for path in run.glob('*/*')} == before
    with pytest.raises(SystemExit, match='has variants with steps 2, not 3; choose another'):
        main([*command, '--steps', '3', '--variants', 'no_noise'])


def test_what_cannot_be_compared_is_named_before_any_training(command, tmp_path):
    with pytest.raises(SystemExit, match="no variant 'new_trunk' with --start random"):
        main([*command, '--start', 'random', '--variants', 'new_trunk'])
    with pytest.raises(SystemExit, match="no variant 'no_snow'.*baseline"):
        main([*command, '--variants', 'no_snow'])
    assert not (tmp_path / 'run').exists()


def test_each_variant_differs_from_the_baseline_in_at_most_one_setting():
    assert all(len(changes) <= 1 for changes in VARIANTS.values())
