# SPDX-License-Identifier: Apache-2.0
"""Recorded sequences and what cameras do to pictures, as `samg eval masks` scores them."""

import json
import shutil

import cv2
import numpy as np
import pytest

from samg_ros import cli
from samg_ros.errors import ConfigError
from samg_ros.evaluation.mask_quality.degradations import (
    degraded,
    parse_degradations,
    recolour,
)
from samg_ros.evaluation.mask_quality.sequences import load_sequence

GREY = np.full((40, 60, 3), 100, np.uint8)


@pytest.fixture
def sequence(tmp_path):
    for name in ('frames', 'masks'):
        (tmp_path / 'disc' / name).mkdir(parents=True)
    row, column = np.mgrid[:60, :80]
    for index in range(4):
        image = np.random.default_rng(index).integers(60, 120, (60, 80, 3), dtype=np.uint8)
        mask = (row - 30) ** 2 + (column - 20 - 10 * index) ** 2 < 150
        image[mask] = (20, 60, 230)
        cv2.imwrite(str(tmp_path / 'disc/frames' / f'{index}.png'), image)
        cv2.imwrite(str(tmp_path / 'disc/masks' / f'{index}.png'), mask * np.uint8(7))
    return tmp_path / 'disc'


def test_both_protocols_never_score_a_frame_with_itself_as_reference(sequence):
    loaded = load_sequence(sequence)
    assert loaded.pairs('first') == [(0, 1), (0, 2), (0, 3)]
    assert loaded.pairs('other') == [(2, 0), (3, 1), (0, 2), (1, 3)]


def test_the_command_scores_a_sequence_as_it_is_and_degraded(sequence, tmp_path):
    figures = tmp_path / 'figures.json'
    assert cli.main(['eval', 'masks', '--sequence', str(sequence), '--degrade',
                     'jpeg:90,noise:4+blur:0.5', '--recolour', '0.2',
                     '--json', str(figures)]) == 0
    rows = json.loads(figures.read_text())
    assert [row['setting'] for row in rows] == [
        f'{protocol}{label}' for protocol in ('first', 'other')
        for label in ('', ' recolour:0.2', ' jpeg:90', ' noise:4+blur:0.5')]
    assert rows[0]['iou_mean'] > 0.8
    assert {row['task'] for row in rows} == {'disc'}
    assert all(row['sequence'] == str(sequence) and 'rollouts' not in row for row in rows)


def test_hidden_objects_are_looked_for_in_the_other_sequences(sequence, tmp_path):
    other = tmp_path / 'other'
    shutil.copytree(sequence, other)
    for path in (other / 'frames').iterdir():
        cv2.imwrite(str(path), np.random.default_rng(9).integers(60, 120, (50, 70, 3)))
        cv2.imwrite(str(other / 'masks' / path.name), np.eye(50, 70, dtype=np.uint8))
    figures = tmp_path / 'figures.json'
    assert cli.main(['eval', 'masks', '--sequence', str(sequence), '--sequence', str(other),
                     '--hide-object', '--temporal', 'prior', '--json', str(figures)]) == 0
    gone, _ = json.loads(figures.read_text())
    assert (gone['task'], gone['setting'], gone['frames']) == ('disc', 'first gone', 4)
    assert gone['share_empty'] == 0 and gone['share_of_inventions'] in (0, 0.25, 0.5, 0.75, 1)


def test_a_hidden_object_needs_other_sequences(sequence, capsys):
    assert cli.main(['eval', 'masks', '--sequence', str(sequence), '--hide-object']) == 2
    assert 'give several' in capsys.readouterr().err


@pytest.mark.parametrize('option', [
    ['--setting', 'train'], ['--frames', '5'], ['--every', '4'], ['--nuisance', 'light=0.3'],
    ['--size', '84'], ['--clicks', '0'], ['--policy', 'walker_walk']])
def test_options_of_rendered_frames_are_refused_beside_a_sequence(sequence, option, capsys):
    assert cli.main(['eval', 'masks', '--sequence', str(sequence), *option]) == 2
    assert f'{option[0]} means nothing to recorded sequences' in capsys.readouterr().err


@pytest.mark.parametrize(('change', 'said'), [
    (lambda folder: (folder / 'masks/1.png').unlink(), 'cannot read'),
    (lambda folder: (folder / 'masks/1.png').write_bytes(b'x'), '1.png: .* not a readable image'),
    (lambda folder: cv2.imwrite(str(folder / 'masks/1.png'), np.zeros((60, 80), np.uint8)),
     'is empty'),
    (lambda folder: cv2.imwrite(str(folder / 'masks/1.png'), np.ones((6, 8), np.uint8)),
     '8 x 6 pixels')])
def test_a_sequence_that_is_not_whole_is_refused_by_name(sequence, change, said):
    change(sequence)
    with pytest.raises(ConfigError, match=said):
        load_sequence(sequence)


def test_each_degradation_does_what_its_strength_says():
    noisy, bright, warm = (degraded([GREY], parse_degradations(text)[0], 0)[0].astype(float)
                           for text in ('noise:8', 'gamma:0.5', 'white_balance:0.06'))
    assert noisy.std() == pytest.approx(8, rel=0.1)
    assert bright.mean() == pytest.approx(255 * (100 / 255) ** 0.5, abs=0.6)
    assert warm[0, 0].tolist() == [106, 100, 94]
    edge = np.repeat(np.array([0, 255], np.uint8), 30)[None, :, None].repeat(40, 0).repeat(3, 2)
    blurred = degraded([edge], parse_degradations('blur:1.5')[0], 0)[0]
    assert 80 < blurred[20, 29, 0] < 127
    assert np.array_equal(*(degraded([GREY], parse_degradations('noise:8')[0], 3)[0]
                            for _ in range(2)))


@pytest.mark.parametrize('text', ['fog:1', 'jpeg:0', 'jpeg', 'noise:nan', 'gamma:-1'])
def test_an_unknown_or_impossible_degradation_is_refused(text):
    with pytest.raises(ConfigError):
        parse_degradations(text)


def test_a_recoloured_object_keeps_its_colour_through_an_episode():
    truth = np.zeros((4, 40, 60), bool)
    truth[:, 10:20, 10:20] = True
    found = recolour(np.stack([GREY] * 4), truth, np.array([0, 0, 1, 1]), 0.4, 0)
    colours = found[:, 12, 12].tolist()
    assert colours[0] == colours[1] != colours[2] == colours[3]
    assert all(60 <= value <= 140 for colour in colours for value in colour)
    assert (found[~truth] == 100).all()
