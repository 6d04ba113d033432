# SPDX-License-Identifier: Apache-2.0
"""The three studies, briefly: what they compare, and that page, CSV and JSON say the same."""

import csv
import json

import numpy as np
import pytest

from samg_ros import cli
from samg_ros.sim.reference import best_view
from samg_ros.studies.annotation import clicked_reference

TINY = ('steps=12', 'random_steps=4', 'update_after=6', 'batch_size=4', 'hidden_dim=8',
        'feature_dim=4', 'convolutions=[[4, 3, 2]]', 'action_repeat=100',
        'observation={"size": 16}')


@pytest.fixture
def study(tmp_path, capsys):
    """Run a study; returns what it printed, and its figures."""

    def run(*arguments):
        out = tmp_path / 'out'
        assert cli.main(['study', *arguments, '--frames', '2', '--out', str(out)]) == 0
        lines = capsys.readouterr().out.splitlines()
        name = arguments[0]
        assert lines[-1] == str(out / f'{name}.html')
        figures = json.loads((out / f'{name}.json').read_text())
        with (out / f'{name}.csv').open(newline='') as file:
            assert len(list(csv.DictReader(file))) == len(figures['records'])
        page = (out / f'{name}.html').read_text()
        assert 'http' not in page.replace('http://www.w3.org', '')
        return lines, figures, page

    return run


def test_ablation_compares_features_on_the_same_frames(study):
    lines, figures, page = study('ablation', '--masks-only', '--setting', 'train',
                                 '--features', 'sam,both')
    assert [(row['features'], row['setting']) for row in figures['records']] == [
        ('sam', 'train'), ('both', 'train')]
    for row in figures['records']:
        assert any(row['features'] in line and f'{row["iou_mean"]:.3f}' in line for line in lines)
        assert f'{row["iou_mean"]:.3f}' in page


def test_ablation_trains_what_it_compares(study, tmp_path):
    sizes = [part for setting in TINY for part in ('--set', setting)]
    options = ['ablation', '--setting', 'train', '--features', 'both', '--source', 'raw,truth',
               *sizes, '--run-dir', str(tmp_path / 'runs'), '--ray', 'none', '--episodes', '1',
               '--max-steps', '2']
    _, figures, page = study(*options)
    policies = [row for row in figures['records'] if row['what'] == 'policy']
    assert [row['source'] for row in policies] == ['raw', 'truth']
    assert [row['policy'] for row in figures['summary']] == ['raw', 'truth']
    assert {path.name for path in (tmp_path / 'runs').iterdir()} == {
        'cartpole_swingup-quick-raw-0', 'cartpole_swingup-quick-truth-0'}
    assert page.count('<img src="data:image/png') == (2 + 3) * 3  # no masks of the raw one


def test_robustness_tries_every_strength_and_nothing_twice_at_zero(study):
    lines, figures, _ = study('robustness', '--masks-only', '--nuisance', 'double,camera',
                              '--strength', '0,1')
    assert [(row['nuisance'], row['strength']) for row in figures['records']] == [
        ('double', 0), ('double', 1), ('camera', 1)]
    zero, *_ = figures['records']
    shown = [line.split() for line in lines if line.startswith(('double', 'camera'))]
    assert [cells[1] for cells in shown] == [f'{zero["iou_mean"]:.3f}'] * 2


def test_annotation_scores_masks_by_number_of_points(study):
    _, figures, _ = study('annotation', '--masks-only', '--setting', 'train', '--points', '0,3')
    assert [row['points'] for row in figures['records']] == [0, 3]


def test_points_are_on_the_object_and_apart_even_when_bodies_are_few():
    step, bodies = best_view('cartpole_swingup')
    points = clicked_reference('cartpole_swingup', 5).points.astype(int)
    assert len(np.unique(points, axis=0)) == 5
    assert all(step.mask[y, x] for x, y in points)
    assert len({int(bodies[y, x]) for x, y in points[:2]}) == 2
    assert len(clicked_reference('cartpole_swingup', 0).points) == 0


@pytest.mark.parametrize(('arguments', 'message'), [
    (['ablation', '--features', 'smell'], "features 'smell' are not known"),
    (['robustness', '--nuisance', 'fog'], "no nuisance is called 'fog'"),
    (['robustness', '--strength', '2'], 'expected a number from 0 to 1'),
    (['annotation', '--source', 'raw'], 'leave out --source'),
    (['annotation', '/none'], "there is no checkpoint '/none'"),
    (['annotation', '--masks-only', '--weights', '/none'], 'weights /none: no such file'),
    (['ablation', '--task', 'walker_fly'], "no task is called 'walker_fly'"),
])
def test_a_wrong_argument_is_one_line_and_status_2(arguments, message, capsys):
    assert cli.main(['study', *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1
