# SPDX-License-Identifier: Apache-2.0
import json
import re

import numpy as np
import pytest

from samg_ros.cli import main
from samg_ros.evaluation.episode_files import save_episodes
from samg_ros.evaluation.episodes import EpisodeResults, View
from samg_ros.masking import Reference
from samg_ros.rl.training.checkpoint import CHECKPOINT_NAME, load_checkpoint, save_checkpoint
from samg_ros.rl.training.learner import Learner


@pytest.fixture
def runs(tmp_path, small):
    """Folder of three runs: one with an evaluation, one with trials, one just begun."""
    image = np.full((16, 16, 3), 90, np.uint8)
    mask = np.zeros((16, 16), bool)
    mask[4:9, 4:9] = True
    for name in ('evaluated', 'tried', 'begun'):
        learner = Learner(small(), [-1.0], [1.0], tmp_path / name)
        learner.save()
        learner.close()
        (tmp_path / name / 'metrics.csv').write_text(
            'step,frames,episode,episode_return\n10,20,1,5.0\n20,40,2,7.0\n')
    checkpoint = load_checkpoint(tmp_path / 'tried')
    object.__setattr__(checkpoint, 'reference', Reference(image, mask))
    save_checkpoint(tmp_path / 'tried' / CHECKPOINT_NAME, checkpoint)
    results = EpisodeResults('video_hard', (100.0, 300.0), ((0.5, 0.7), (0.6, 0.6)),
                             (View(image, mask, image),))
    (tmp_path / 'evaluated' / 'evaluation.json').write_text(json.dumps(
        {'results': {'train': EpisodeResults('train', (40.0, 60.0)).to_dict()}}))
    save_episodes(tmp_path / 'tried' / 'trials.npz', [results], {})
    return tmp_path


def test_runs_stand_side_by_side(runs, tmp_path, capsys):
    assert main(['report', str(runs), '--out', str(tmp_path / 'page')]) == 0
    shown = capsys.readouterr().out
    assert re.search(r'evaluated +train +50.0 ± 10.0', shown)
    assert re.search(r'tried +video_hard +200.0 ± 100.0', shown)
    page = (tmp_path / 'page' / 'runs.html').read_text()
    assert 'tried: the reference' in page and 'Not evaluated yet' in page and 'begun' in page
    assert 'http://' not in page.replace('http://www.w3.org', '')
    figures = json.loads((tmp_path / 'page' / 'runs.json').read_text())
    assert [one['training_return'] for one in figures['summary']] == [6.0] * 3
    tried = next(one for one in figures['records'] if one['run'] == 'tried')
    assert tried['mean_iou'] == pytest.approx(0.6) and tried['mean_return'] == 200


def test_a_damaged_run_is_left_out_and_named(runs, tmp_path, capsys):
    (runs / 'tried' / CHECKPOINT_NAME).write_bytes(b'PK')
    (runs / 'evaluated' / 'evaluation.json').write_text('[]')
    assert main(['report', str(runs), '--out', str(tmp_path / 'page')]) == 0
    errors = capsys.readouterr().err
    assert 'tried' in errors and 'evaluation.json' in errors
    assert 'cut short or damaged' in (tmp_path / 'page' / 'runs.html').read_text()


def test_a_folder_without_runs_is_an_error(tmp_path, capsys):
    assert main(['report', str(tmp_path)]) == 2
    assert 'no run is there' in capsys.readouterr().err
