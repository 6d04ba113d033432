# SPDX-License-Identifier: Apache-2.0
"""`samg bench masking`: the floor is what it says, and a row holds what was measured."""

import json

import pytest
import torch

from samg_ros import cli
from samg_ros.masking.bench import floor


def counted(method, name, calls):
    def call(*arguments):
        calls.append(name)
        return method(*arguments)
    return call


def test_the_floor_is_two_encoders_once_and_the_decoder_three_times(pair, monkeypatch):
    calls = []
    for owner, name in ((pair.encoder, 'features'), (pair.segmenter, 'embed'),
                        (pair.segmenter, 'decode')):
        monkeypatch.setattr(owner, name, counted(getattr(owner, name), name, calls))
    logits, predicted_iou = floor(pair.eval(), 1, torch.device('cpu'))()
    assert logits.shape == (1, 3, 256, 256) and predicted_iou.shape == (1, 3)
    assert calls == ['features', 'embed', 'decode', 'decode', 'decode']


def test_the_command_prints_and_writes_its_rows(tmp_path, capsys):
    path = tmp_path / 'rows.json'
    assert cli.main(['bench', 'masking', '--models', 'mini', '--batches', '2', '--turns', '2',
                     '--size', '48', '64', '--json', str(path)]) == 0
    (row,) = json.loads(path.read_text())
    assert row['model'] == 'mini' and row['batch'] == 2 and not row['random_weights']
    assert row['frames_per_s'] == pytest.approx(2000 / row['median_ms'])
    assert 'frames of 48 x 64' in capsys.readouterr().out


def test_engines_are_compared_in_turns_with_their_masks(tmp_path, capsys):
    path = tmp_path / 'rows.json'
    assert cli.main(['bench', 'masking', '--models', 'mini', '--batches', '1', '--turns', '3',
                     '--engines', 'torch', 'auto', '--json', str(path)]) == 0
    first, second = json.loads(path.read_text())
    assert first['engine'] == 'torch' and first['speedup'] == first['mean_iou'] == 1
    assert second['least_iou'] >= 0.98 and second['speedup'] > 0
    assert 'threads' in capsys.readouterr().out


def test_weights_for_several_models_are_refused(capsys):
    assert cli.main(['bench', 'masking', '--models', 'mini', 'mini', '--weights', 'x']) == 2
    assert '--weights' in capsys.readouterr().err
